// Problems as one JSON object: how they travel between programs (zaya gym, zaya eval, tools/gym/*.py).
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "gym/gym.h"

namespace zaya::gym {

// {"environment": …, "seed": …, "difficulty": …, "split": "train", "prompt": …, "answer": …, "trace": …} on one line.
std::string problem_json(const Problem& problem);

// "environment", "prompt" and "answer" must be there and be strings; the rest may be left out; other keys are ignored.
Result<Problem> parse_problem(std::string_view json);

}  // namespace zaya::gym
