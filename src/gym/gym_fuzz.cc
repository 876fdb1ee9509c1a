// Answers come from models and problems from files: verifying must end, whatever they hold, and what it accepts must
// not depend on space around it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "gym/gym.h"
#include "gym/problem_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace zaya::gym;
  if (size < 3) return 0;
  const auto all = environments();
  const Environment& environment = *all[data[0] % all.size()];
  const std::string_view text(reinterpret_cast<const char*>(data) + 3, size - 3);
  Problem problem = make_problem(environment, Split::train, data[1], data[2] % 8);
  if (!environment.verify(problem, problem.answer)) std::abort();
  const bool right = verify_answer(problem, text);
  const std::string boxed = "Hm.\n\\boxed{" + std::string(final_answer(text)) + "}";
  if (right && final_answer(boxed) == final_answer(text) && !verify_answer(problem, boxed)) std::abort();
  (void)environment.verify(problem, text);
  // The prompt and the answer of a problem may be hostile as well.
  const size_t half = text.find('\n');
  problem.prompt = std::string(text.substr(0, half));
  problem.answer = std::string(half == std::string_view::npos ? text : text.substr(half + 1));
  (void)environment.verify(problem, text);
  (void)environment.verify(problem, problem.answer);
  if (const auto parsed = parse_problem(text); parsed.ok()) (void)verify_answer(*parsed, text);
  return 0;
}
