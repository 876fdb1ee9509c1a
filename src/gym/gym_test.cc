// Every environment against the promises of gym.h; teachers against independent solvers in solvers_test.cc.
#include "gym/gym.h"

#include <gtest/gtest.h>

#include <climits>
#include <map>
#include <set>
#include <string>
#include <unordered_map>

#include "gym/answer_text.h"
#include "gym/problem_json.h"
#include "gym/rng.h"

namespace zaya::gym {
namespace {

std::string without_spaces(std::string text) {
  std::erase(text, ' ');
  return text;
}

std::string where(const Problem& p) {
  return p.environment + " seed " + std::to_string(p.seed) + " difficulty " + std::to_string(p.difficulty) + "\n" +
         p.prompt + "\n" + p.trace + "\n-> " + p.answer;
}

template <typename Visit>
void for_problems(uint64_t seeds, Visit visit) {
  for (const Environment* environment : environments()) {
    for (int difficulty = 0; difficulty <= environment->max_useful_difficulty(); ++difficulty) {
      for (uint64_t seed = 0; seed < seeds; ++seed) {
        for (const Split split : {Split::train, Split::held_out}) {
          visit(*environment, make_problem(*environment, split, seed, difficulty));
        }
      }
    }
  }
}

TEST(Gym, HasManyEnvironmentsWithTheirOwnNames) {
  std::set<std::string_view> names;
  for (const Environment* environment : environments()) {
    EXPECT_TRUE(names.insert(environment->name()).second) << environment->name();
    EXPECT_EQ(find_environment(environment->name()), environment);
    EXPECT_FALSE(environment->summary().empty());
    EXPECT_FALSE(environment->growth().empty());
    EXPECT_GE(environment->max_useful_difficulty(), 4) << environment->name();
  }
  EXPECT_GE(names.size(), 18u);
  EXPECT_EQ(find_environment("no such thing"), nullptr);
}

TEST(Gym, TheTeacherIsRightAndItsTraceEndsInTheAnswer) {
  for_problems(40, [](const Environment&, const Problem& p) {
    ASSERT_TRUE(verify_answer(p, assistant_text(p))) << where(p);
    ASSERT_TRUE(verify_answer(p, p.answer)) << where(p);
    ASSERT_TRUE(verify_answer(p, "So we have it.\nAnswer: " + p.answer + "\n")) << where(p);
    ASSERT_FALSE(p.trace.empty()) << where(p);
    ASSERT_NE(p.trace.back(), '\n');
    const std::string last = p.trace.substr(p.trace.rfind('\n') + 1);
    const std::string line = without_spaces(last);
    std::string shown = without_spaces(p.answer);
    if (p.environment == "mini_sudoku") {  // "23: 124 3" names the cell and its digit
      shown = std::string(1, shown.at(static_cast<size_t>((last.at(0) - '1') * 4 + last.at(1) - '1')));
      ASSERT_EQ(last.substr(last.size() - 1), shown) << where(p);
    } else if (p.environment == "division") {  // "… 16-14=2 12": remainder, quotient
      const auto numbers = integers_in(last, false), answer = integers_in(p.answer, false);
      ASSERT_EQ(numbers.at(numbers.size() - 1), answer.at(0)) << where(p);
      ASSERT_EQ(numbers.at(numbers.size() - 2), answer.at(1)) << where(p);
    } else if (p.environment == "subtraction") {  // "0123" for -123
      ASSERT_EQ(integers_in(last, false).back(), std::abs(*parse_integer(p.answer))) << where(p);
    } else {
      if (p.environment == "calendar" && p.answer.find(' ') != std::string::npos) {  // "May 4+31=35"
        ASSERT_TRUE(last.starts_with(p.answer.substr(0, p.answer.find(' ')))) << where(p);
        shown = p.answer.substr(p.answer.find(' ') + 1);
      }
      ASSERT_NE(line.find(shown), std::string::npos) << where(p);
    }
  });
}

// Another number, another word, another order: whatever the answer is, these are not it.
TEST(Gym, WrongAnswersAreRefused) {
  int64_t tried = 0;
  for_problems(25, [&](const Environment& environment, const Problem& p) {
    std::vector<std::string> wrong = {"",       " ",   "?",         "I do not know", p.answer + " or so",
                                      p.prompt, "nan", "\\boxed{}", "1e3x"};
    if (const auto number = parse_integer(p.answer)) {
      for (const int64_t off : {-10, -1, 1, 10}) wrong.push_back(std::to_string(*number + off));
      if (*number != 0) wrong.push_back(p.answer + "0");
      if (*number != 0) wrong.push_back(std::to_string(-*number));
    }
    // The answer to another problem is wrong unless it says the same.
    for (uint64_t other = 1; other <= 6; ++other) {
      const Problem q = make_problem(environment, p.split, p.seed + other, p.difficulty);
      const bool free_form =
          p.environment == "countdown" || p.environment == "shortest_path" || p.environment == "set_operations";
      if (!free_form && q.answer != p.answer) wrong.push_back(q.answer);
    }
    std::string changed = p.answer;  // one character replaced by its neighbour
    char& c = changed[changed.size() / 2];
    const bool letter_of_a_name = (c >= 'a' && c <= 'z');
    if ((c >= '0' && c <= '8') || (c >= 'A' && c < 'Z') || letter_of_a_name) {
      ++c;
      wrong.push_back(changed);
    }
    if (p.answer != "0") wrong.push_back(p.answer + p.answer);
    for (const std::string& answer : wrong) {
      if (p.environment == "set_operations" && answer == p.answer + p.answer) continue;            // twice the same set
      if (p.environment == "shortest_path" && p.answer.size() > 2 && answer == changed) continue;  // may be another way
      ASSERT_FALSE(environment.verify(p, answer)) << where(p) << "\naccepted: " << answer;
      ++tried;
    }
  });
  EXPECT_GT(tried, 50000);
}

TEST(Gym, SplitsNeverMeetAndBothAreLargeEnough) {
  for (const Environment* environment : environments()) {
    for (int difficulty = 0; difficulty <= environment->max_useful_difficulty(); ++difficulty) {
      std::set<std::string> train, held_out;
      for (uint64_t seed = 0; seed < 250; ++seed) {
        const Problem a = make_problem(*environment, Split::train, seed, difficulty);
        const Problem b = make_problem(*environment, Split::held_out, seed, difficulty);
        ASSERT_EQ(split_of(a.prompt), Split::train);
        ASSERT_EQ(split_of(b.prompt), Split::held_out);
        ASSERT_NE(b.prompt.back(), '\n') << environment->name();  // the marked prompt of too small an environment
        train.insert(a.prompt);
        held_out.insert(b.prompt);
      }
      for (const std::string& prompt : held_out) ASSERT_EQ(train.count(prompt), 0u) << prompt;
      EXPECT_GE(train.size(), 40u) << environment->name() << " " << difficulty;
      EXPECT_GE(held_out.size(), 8u) << environment->name() << " " << difficulty;
    }
  }
}

TEST(Gym, AnySeedAndDifficultyIsSafe) {
  for (const Environment* environment : environments()) {
    for (const int difficulty : {INT_MIN, -1, 0, 1000, INT_MAX}) {
      for (const uint64_t seed : {uint64_t{0}, UINT64_MAX, UINT64_MAX / 2}) {
        const Problem p = make_problem(*environment, Split::held_out, seed, difficulty);
        EXPECT_TRUE(verify_answer(p, p.answer)) << where(p);
        EXPECT_LT(p.prompt.size() + p.trace.size(), 4000u) << where(p);
      }
    }
    const Problem beyond = make_problem(*environment, Split::train, 5, 1000);
    const Problem largest = make_problem(*environment, Split::train, 5, environment->max_useful_difficulty());
    EXPECT_EQ(beyond.prompt, largest.prompt) << "nothing grows beyond max_useful_difficulty";
  }
}

// One hash per environment over its first 50 problems of each split. A change here makes measurements incomparable with
// older ones: it must be meant.
TEST(Gym, ProblemsAreTheSameForEver) {
  const std::map<std::string_view, uint64_t> golden = {
#include "gym/testdata/golden.inc"
  };
  std::map<std::string, std::string> text;
  for_problems(50, [&](const Environment&, const Problem& p) {
    text[p.environment] += p.prompt + '\0' + p.answer + '\0' + p.trace + '\0';
  });
  for (const auto& [name, all] : text) {
    const auto found = golden.find(name);
    EXPECT_TRUE(found != golden.end() && found->second == hash64(all))
        << "{\"" << name << "\", " << hash64(all) << "u},";
  }
  EXPECT_EQ(golden.size(), text.size());
}

TEST(Gym, FindsTheFinalAnswer) {
  EXPECT_EQ(final_answer("<think>\n\\boxed{7}</think>\n\nIt is \\boxed{8}."), "8");
  EXPECT_EQ(final_answer("\\boxed{{1, 2}}"), "{1, 2}");
  EXPECT_EQ(final_answer("\\boxed{1} then \\boxed{2"), "\\boxed{1} then \\boxed{2");  // never closed
  EXPECT_EQ(final_answer("Answer: 12.\nmore"), "12");
  EXPECT_EQ(final_answer("The answer is 12"), "12");
  EXPECT_EQ(final_answer("line\n 12 \n\n"), "12");
  EXPECT_EQ(final_answer(""), "");
  const Problem p = make_problem(*find_environment("addition"), Split::train, 1, 0);
  EXPECT_FALSE(verify_answer(p, "<think>\n" + p.answer + "\n</think>\n\n"));
}

TEST(Gym, AcceptsTheFormsThatPeopleUse) {
  const auto accepts = [](const char* environment, const char* prompt, const char* answer, const char* given) {
    return find_environment(environment)
        ->verify({.environment = environment, .prompt = prompt, .answer = answer}, given);
  };
  EXPECT_TRUE(accepts("addition", "", "1234", "1,234"));
  EXPECT_TRUE(accepts("addition", "", "1234", "$1000+234 = 1234$"));
  EXPECT_FALSE(accepts("addition", "", "1234", "12,34"));
  EXPECT_TRUE(accepts("linear_equation", "", "-3", "x = -3."));
  EXPECT_TRUE(accepts("division", "", "12 r 0", "12"));
  EXPECT_TRUE(accepts("division", "", "12 r 3", "12 remainder 3"));
  EXPECT_TRUE(accepts("prime_factors", "", "2*2*5", "2^2 \\times 5"));
  EXPECT_FALSE(accepts("prime_factors", "", "2*2*5", "4*5"));
  EXPECT_TRUE(accepts("base_conversion", "", "1F", "0x1f"));
  EXPECT_TRUE(accepts("calendar", "", "March 5", "5th of March"));
  EXPECT_TRUE(accepts("calendar", "", "August 12", "12 Aug"));
  EXPECT_TRUE(accepts("calendar", "", "Wednesday", "wed"));
  EXPECT_TRUE(accepts("calendar", "", "23", "23 days"));
  EXPECT_FALSE(accepts("calendar", "", "March 5", "May 5"));
  EXPECT_TRUE(accepts("knights_knaves", "", "A knight, B knave", "B is a knave, and A is a knight."));
  EXPECT_FALSE(accepts("knights_knaves", "", "A knight, B knave", "A knight"));
  EXPECT_TRUE(accepts("set_operations", "", "{4, 1}", "1, 4"));
  EXPECT_TRUE(accepts("set_operations", "", "{}", "{}"));
  EXPECT_FALSE(accepts("set_operations", "", "{4}", "{}"));
  const char* graph = "Edges: AB, BC, AD, DC. Shortest path from A to C, like ABC?";
  EXPECT_TRUE(accepts("shortest_path", graph, "ABC", "A -> D -> C"));
  EXPECT_FALSE(accepts("shortest_path", graph, "ABC", "AC"));
  const char* countdown = "Make 25 from 5, 4, 1, each once, with + - * /.";
  EXPECT_TRUE(accepts("countdown", countdown, "(4+1)*5", "5 \u00d7 (1 + 4) = 25"));
  EXPECT_FALSE(accepts("countdown", countdown, "(4+1)*5", "5*5"));
  EXPECT_FALSE(accepts("countdown", countdown, "(4+1)*5", "5*4+1"));
  EXPECT_FALSE(accepts("countdown", countdown, "(4+1)*5", "(4+1)*5/0"));
  EXPECT_TRUE(accepts("countdown", countdown, "(4+1)*5", "-5 * (-1 - 4)"));
  EXPECT_TRUE(accepts("countdown", "Make 24 from 8, 8, 3, 3, each once", "", "8/(3-8/3)"));  // through a fraction
}

TEST(Gym, HostileAnswersAreRefusedInBoundedWork) {
  std::vector<std::string> hostile = {std::string(100000, '('),
                                      std::string(3000, '('),
                                      std::string(4000, '9'),
                                      std::string(3000, '-') + "1",
                                      std::string(4000, '{'),
                                      std::string("1\0002", 3),
                                      "\\boxed{" + std::string(9000, '1') + "}",
                                      "2^2^2^2^20^20",
                                      "\xff\xfe\xf0",
                                      std::string(2000, '-') + "1",
                                      "9223372036854775808",
                                      "-9223372036854775809"};
  for_problems(1, [&](const Environment& environment, const Problem& p) {
    for (const std::string& text : hostile) {
      EXPECT_FALSE(verify_answer(p, text)) << where(p);
      EXPECT_FALSE(environment.verify(p, text)) << where(p);
      // A problem from a file may be as bad as an answer.
      Problem damaged = p;
      damaged.prompt = text;
      (void)environment.verify(damaged, p.answer);
      damaged.answer = text;
      (void)environment.verify(damaged, text);
    }
  });
}

TEST(Gym, ProblemsTravelAsJson) {
  for_problems(2, [](const Environment&, const Problem& p) {
    const auto back = parse_problem(problem_json(p));
    ASSERT_TRUE(back.ok()) << back.status().message();
    EXPECT_EQ(back->environment, p.environment);
    EXPECT_EQ(back->seed, p.seed);
    EXPECT_EQ(back->difficulty, p.difficulty);
    EXPECT_EQ(back->split, p.split);
    EXPECT_EQ(back->prompt, p.prompt);
    EXPECT_EQ(back->answer, p.answer);
    EXPECT_EQ(back->trace, p.trace);
  });
  for (const char* bad : {"", "[]", "{}", "{\"environment\": \"addition\", \"prompt\": 3, \"answer\": \"\"}",
                          "{\"environment\": \"a\", \"prompt\": \"\", \"answer\": \"\", \"seed\": -1}",
                          "{\"environment\": \"a\", \"prompt\": \"\", \"answer\": \"\", \"difficulty\": 1e99}",
                          "{\"environment\": \"a\", \"prompt\": \"\", \"answer\": \"\", \"split\": \"test\"}"}) {
    EXPECT_FALSE(parse_problem(bad).ok()) << bad;
  }
  const Problem other{.environment = "another/task", .prompt = "?", .answer = "Yes "};
  EXPECT_TRUE(verify_answer(other, "\\boxed{yes}"));
  EXPECT_FALSE(verify_answer(other, "\\boxed{no}"));
}

TEST(Rng, IsTheSameEverywhere) {
  Rng rng(0);
  EXPECT_EQ(rng.next(), 0xe220a8397b1dcdafu);  // the first output of SplitMix64 from state 0
  EXPECT_EQ(hash64(""), mix64(0xcbf29ce484222325u));
  std::map<uint64_t, int> counts;
  for (int i = 0; i < 6000; ++i) ++counts[rng.below(6)];
  for (const auto& [value, count] : counts) EXPECT_NEAR(count, 1000, 150) << value;
  EXPECT_EQ(rng.below(0), 0u);
  EXPECT_EQ(rng.between(5, 4), 5);
}

}  // namespace
}  // namespace zaya::gym
