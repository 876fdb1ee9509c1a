// Tasks whose answers a program can check, made without end from (environment, seed, difficulty): the material on which
// small models are trained and measured. docs/gym.md shows an example of each.
//
// Everything here is deterministic on every machine (rng.h), holds no state, and may be called from many threads.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace zaya::gym {

class Rng;

// Two halves that share no problem, whatever the seeds: see split_of.
enum class Split { train, held_out };
const char* name_of(Split split);  // "train", "held_out"
std::optional<Split> parse_split(std::string_view name);

struct Problem {
  std::string environment;  // "addition", …
  uint64_t seed = 0;
  int difficulty = 0;  // as asked for; below 0 counts as 0, above max_useful_difficulty() nothing grows
  Split split = Split::train;
  std::string prompt;  // the user's message, complete: says what form the answer has
  std::string answer;  // canonical; others may be right as well, verify() says
  std::string trace;   // a correct solution step by step, lines without a newline at the end; stops before the answer
};

// What an environment makes of random numbers.
struct Draft {
  std::string prompt, answer, trace;
};

class Environment {
 public:
  virtual ~Environment() = default;
  virtual std::string_view name() const = 0;
  virtual std::string_view summary() const = 0;            // one line
  virtual std::string_view growth() const = 0;             // what grows with difficulty
  virtual int max_useful_difficulty() const = 0;           // beyond it, nothing grows
  virtual Draft draw(Rng& rng, int difficulty) const = 0;  // difficulty in 0 … max_useful_difficulty()
  // Whether `final_answer` (what stood in the box, see final_answer()) is right. Both arguments may come from outside:
  // any text is safe, work is bounded. Uses the problem's prompt and answer only.
  virtual bool verify(const Problem& problem, std::string_view final_answer) const = 0;
};

std::span<const Environment* const> environments();          // in the order of docs/gym.md, easiest kinds first
const Environment* find_environment(std::string_view name);  // null when there is none

// A problem's split is decided by a hash of its prompt alone: 1 in 8 is held out.
Split split_of(std::string_view prompt);

// The problem of (environment, seed, difficulty) in that split: the draw is repeated until it falls there, so that not
// only seeds but problems never meet. Equal arguments give equal problems, for ever (gym_test.cc holds hashes).
Problem make_problem(const Environment& environment, Split split, uint64_t seed, int difficulty);

// What the assistant says in ZAYA1's chat form: <think>, the trace, </think>, the boxed answer.
std::string assistant_text(const Problem& problem);

// The part of an answer that counts: what follows the last </think>, and there the last \boxed{…}, else what stands
// behind the last "answer:" or "answer is", else the last line that is not empty. A view into `whole`.
std::string_view final_answer(std::string_view whole);

// Whether a model's whole answer is right. An environment that is not ours (another library's task): whether the final
// answer equals problem.answer up to case and white space.
bool verify_answer(const Problem& problem, std::string_view whole_answer);

}  // namespace zaya::gym
