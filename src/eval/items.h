// What an evaluation asks: problems with a way to judge answers, from the gym or from files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "gym/gym.h"

namespace zaya::eval {

enum class Judge {
  answer,  // equal to `expected` (reasoning/answers.h)
  option,  // the letter `expected`
  gym,     // the environment's own verifier
  code,    // passes all `tests` in the sandbox
};
const char* name_of(Judge judge);

struct CodeTest {
  std::string input, output;
  bool functional = false;  // input: one JSON argument a line, of `function`; else standard input and output
};

struct Item {
  std::string id;     // unique in its set, stable between runs
  std::string group;  // what tables break down by; may be empty
  std::string prompt;
  Judge judge = Judge::answer;
  std::string expected;
  std::shared_ptr<const gym::Problem> problem;         // gym
  std::shared_ptr<const std::vector<CodeTest>> tests;  // code
  std::string function;                                // code: of functional tests
};

struct ItemSet {
  std::vector<Item> items;
  std::vector<std::string> notes;  // what was not understood, left out or assumed; for people

  // Changes with any id, prompt or expected answer.
  std::string digest() const;
};

struct GymChoice {
  std::vector<std::string> environments;  // empty = all
  std::vector<int> difficulties;
  int64_t count = 20;  // problems of each environment and difficulty
  gym::Split split = gym::Split::held_out;
  uint64_t first_seed = 0;
};

// Problems that differ: a seed that repeats an earlier prompt is passed over, and a note says where an easy task has
// fewer than `count`. A difficulty beyond an environment's last useful one is left out. Ids are
// "gym/ENVIRONMENT/dD/sSEED", groups "ENVIRONMENT dD".
// Errors: not_found (an environment's name), invalid_argument (no difficulty, a count below 1).
Result<ItemSet> gym_items(const GymChoice& choice);

// A file of JSON lines, one JSON array, or CSV with a heading (by its suffix), in the forms in which these circulate
// (names of fields are read without regard to case, blanks and underscores; docs/eval.md lists them):
//   problem + answer                          AIME, HMMT, MATH, GSM8K, IMO-AnswerBench (Short Answer)
//   question + choices + answer, or GPQA's Correct Answer and Incorrect Answer 1-3 (their order is drawn by the
//                                             question, the same each time)
//   question_content + public_test_cases      LiveCodeBench
// Lines that are none of these are left out with a note. `limit`: items at most, 0 = all.
// Errors: io_error, not_found; malformed when no line at all is understood, with the first reason.
Result<ItemSet> read_items(const std::filesystem::path& path, int64_t limit = 0);

// The same for what stands in memory (tests, fuzzing). `name` begins the ids.
Result<ItemSet> parse_items(std::string_view content, const std::string& name, bool csv = false, int64_t limit = 0);

// Joins sets; ids that meet get a number behind them.
void append_items(ItemSet& set, ItemSet more);

}  // namespace zaya::eval
