// Problem files in the forms in which they circulate, and in forms in which they do not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "eval/items.h"
#include "eval/judge.h"

namespace zaya::eval {
namespace {

using testing::HasSubstr;

ItemSet parsed(const std::string& content, bool csv = false, int64_t limit = 0) {
  Result<ItemSet> set = parse_items(content, "file", csv, limit);
  EXPECT_TRUE(set.ok()) << set.status().to_string();
  return set.ok() ? std::move(*set) : ItemSet{};
}

TEST(Readers, TakeProblemsWithAnswersInAllSpellings) {
  const ItemSet set =
      parsed(R"({"ID": "2024-I-1", "Problem": "p1", "Solution": "so \\boxed{7}", "Answer": 33})"
             "\n"
             R"({"question": "p2", "answer": "070"})"
             "\n"
             R"({"problem_idx": 5, "problem": "p3", "answer": "\\frac{1}{2}", "problem_type": ["Algebra"]})"
             "\n"
             R"({"problem": "p4", "solution": "thus \\boxed{\\sqrt{2}}.", "subject": "Geometry", "unique_id": "t/4"})"
             "\n"
             R"({"question": "p5", "answer": "2 + 2 = 4\n#### 4"})"
             "\n"
             R"({"messages": [{"role": "user", "content": "p6"}], "answer": "x"})"
             "\n");
  ASSERT_EQ(set.items.size(), 6u);
  EXPECT_EQ(set.items[0].id, "file/2024-I-1");
  EXPECT_EQ(set.items[0].expected, "33");
  EXPECT_EQ(set.items[1].id, "file/2");
  EXPECT_TRUE(is_right(set.items[1], "", "70")) << "leading zeros do not count";
  EXPECT_TRUE(is_right(set.items[2], "", "0.5"));
  EXPECT_FALSE(is_right(set.items[2], "", std::nullopt));
  EXPECT_EQ(set.items[3].expected, "\\sqrt{2}");
  EXPECT_EQ(set.items[3].group, "Geometry");
  EXPECT_EQ(set.items[4].expected, "4");
  EXPECT_EQ(set.items[5].prompt, "p6");
  EXPECT_TRUE(set.notes.empty());
}

TEST(Readers, TakeImoAnswerBenchAsCsv) {
  const ItemSet set = parsed(
      "\xEF\xBB\xBFProblem ID,Problem,Short Answer,Category,Subcategory,Source\r\n"
      "imo-bench-1,\"Find $x$, such that\nx = \"\"3\"\"\",$3$,Algebra,Equation,none\r\n"
      "imo-bench-2,Another,\"(1, 2)\",Geometry,,\n",
      true);
  ASSERT_EQ(set.items.size(), 2u);
  EXPECT_EQ(set.items[0].id, "file/imo-bench-1");
  EXPECT_EQ(set.items[0].prompt, "Find $x$, such that\nx = \"3\"");
  EXPECT_EQ(set.items[0].group, "Algebra");
  EXPECT_TRUE(is_right(set.items[0], "", "3"));
  EXPECT_TRUE(is_right(set.items[1], "", "(1,2)"));
}

TEST(Readers, DrawGpqasOrderFromTheQuestion) {
  std::set<std::string> letters;
  for (int i = 0; i < 40; ++i) {
    const std::string line = R"({"Record ID": "r)" + std::to_string(i) + R"(", "Question": "Which, )" +
                             std::to_string(i) +
                             R"(?", "Correct Answer": "right", "Incorrect Answer 1": "w1", "Incorrect Answer 2": "w2",
                             "Incorrect Answer 3": "w3", "High-level domain": "Physics"})";
    std::string flat = line;
    for (char& c : flat) c = c == '\n' ? ' ' : c;
    const ItemSet set = parsed(flat), again = parsed(flat);
    ASSERT_EQ(set.items.size(), 1u);
    const Item& item = set.items[0];
    EXPECT_EQ(item.judge, Judge::option);
    EXPECT_EQ(item.group, "Physics");
    EXPECT_EQ(item.prompt, again.items[0].prompt);
    EXPECT_THAT(item.prompt, HasSubstr("(" + item.expected + ") right"));
    EXPECT_TRUE(is_right(item, "", item.expected));
    letters.insert(item.expected);
  }
  EXPECT_EQ(letters.size(), 4u);
}

TEST(Readers, TakeChoicesByLetterPlaceOrText) {
  const ItemSet set =
      parsed(R"({"question": "q1", "choices": ["w", "x", "y", "z"], "answer": "C"})"
             "\n"
             R"({"question": "q2", "options": ["w", "x", "y", "z"], "answer": 1})"
             "\n"
             R"({"question": "q3", "choices": {"text": ["w", "x"], "label": ["A", "B"]}, "answerKey": "B"})"
             "\n"
             R"({"question": "q4", "choices": ["w", "x", "y"], "answer": "w"})"
             "\n");
  ASSERT_EQ(set.items.size(), 4u);
  EXPECT_EQ(set.items[0].expected, "C");
  EXPECT_EQ(set.items[1].expected, "B");
  EXPECT_EQ(set.items[2].expected, "B");
  EXPECT_EQ(set.items[3].expected, "A");
}

TEST(Readers, TakeLiveCodeBench) {
  const ItemSet set = parsed(
      R"({"question_title": "A", "question_content": "Print twice.", "question_id": "1873_A", "starter_code": "",)"
      R"( "difficulty": "easy", "public_test_cases": "[{\"input\": \"2\\n\", \"output\": \"4\\n\", \"testtype\": \"stdin\"}]",)"
      R"( "private_test_cases": "eJxrYJmaAgAEQAF/", "metadata": "{}"})"
      "\n"
      R"({"question_content": "Add.", "question_id": "3", "starter_code": "class Solution:\n    def addUp(self, a: int, b: int) -> int:\n        ",)"
      R"( "public_test_cases": [{"input": "1\n2", "output": "3", "testtype": "functional"}],)"
      R"( "private_test_cases": "[{\"input\": \"4\\n5\", \"output\": \"9\", \"testtype\": \"functional\"}]", "metadata": "{\"func_name\": \"addUp\"}"})"
      "\n");
  ASSERT_EQ(set.items.size(), 2u);
  EXPECT_EQ(set.items[0].judge, Judge::code);
  EXPECT_EQ(set.items[0].tests->size(), 1u);
  EXPECT_EQ(set.items[0].group, "easy");
  ASSERT_EQ(set.notes.size(), 1u);
  EXPECT_THAT(set.notes[0], HasSubstr("packed"));
  EXPECT_EQ(set.items[1].function, "addUp");
  EXPECT_EQ(set.items[1].tests->size(), 2u);
  EXPECT_THAT(set.items[1].prompt, HasSubstr("class Solution"));
}

TEST(Readers, SayWhatTheyDoNotUnderstand) {
  const ItemSet set = parsed(
      "{\"problem\": \"p\", \"answer\": 1}\nnot json\n[1]\n{\"problem\": \"p\"}\n{\"answer\": 3}\n"
      "{\"question\": \"q\", \"choices\": [\"one\"], \"answer\": 0}\n"
      "{\"question\": \"q\", \"choices\": [\"a\", \"b\"], \"answer\": \"E\"}\n"
      "{\"question_content\": \"c\", \"public_test_cases\": \"[]\"}\n"
      "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"u\"}]}\n");
  EXPECT_EQ(set.items.size(), 1u);
  ASSERT_EQ(set.notes.size(), 6u) << "five lines by name, then a count";
  EXPECT_THAT(set.notes[0], HasSubstr("line 2 is no JSON"));
  EXPECT_THAT(set.notes[5], HasSubstr("3 more"));
  const Result<ItemSet> nothing = parse_items("{\"text\": \"a\"}\n", "file");
  ASSERT_FALSE(nothing.ok());
  EXPECT_EQ(nothing.status().code(), Code::malformed);
  EXPECT_THAT(nothing.status().message(), HasSubstr("line 1 has no problem"));
  EXPECT_FALSE(parse_items("", "file").ok());
  EXPECT_FALSE(parse_items("[1, 2", "file").ok());
  EXPECT_EQ(parsed("[{\"problem\": \"p\", \"answer\": 1}, {\"problem\": \"q\", \"answer\": 1}]", false, 1).items.size(),
            1u);
  EXPECT_EQ(read_items("/nonexistent/x.jsonl").status().code(), Code::not_found);
}

// Damaged files end in notes or an error, never otherwise.
TEST(Readers, SurviveDamage) {
  const std::string whole =
      R"({"question_content": "c", "public_test_cases": "[{\"input\": \"1\", \"output\": \"2\"}]", "starter_code": "def f(a"})"
      "\n"
      R"({"Question": "q", "Correct Answer": "a", "Incorrect Answer 1": "b", "Incorrect Answer 2": "c", "Incorrect Answer 3": "d"})"
      "\n" +
      std::string(R"({"problem": "p", "answer": [1, {"a": null}], "choices": {"text": 3}})") + "\n" +
      std::string(20000, '[') + "\n";
  std::mt19937 random(1);
  for (int trial = 0; trial < 300; ++trial) {
    std::string damaged = whole;
    for (int i = 0; i < 1 + trial % 8; ++i) damaged[random() % damaged.size()] = static_cast<char>(random() % 256);
    damaged.resize(random() % damaged.size() + 1);
    for (bool csv : {false, true}) {
      const Result<ItemSet> set = parse_items(damaged, "file", csv);
      EXPECT_TRUE(set.ok() || set.status().code() == Code::malformed);
    }
  }
}

TEST(GymItems, AreHeldOutDifferentAndNamed) {
  const Result<ItemSet> set = gym_items({.environments = {"addition"}, .difficulties = {0, 1, 900}, .count = 12});
  ASSERT_TRUE(set.ok()) << set.status().to_string();
  std::set<std::string> prompts, ids;
  for (const Item& item : set->items) {
    EXPECT_EQ(gym::split_of(item.prompt), gym::Split::held_out);
    EXPECT_EQ(item.judge, Judge::gym);
    EXPECT_TRUE(is_right(item, gym::assistant_text(*item.problem), item.expected));
    EXPECT_FALSE(is_right(item, "\\boxed{nothing}", "nothing"));
    EXPECT_TRUE(prompts.insert(item.group + item.prompt).second);
    EXPECT_TRUE(ids.insert(item.id).second);
  }
  EXPECT_LE(set->items.size(), 24u) << "difficulties beyond the last useful one are left out";
  EXPECT_GE(set->items.size(), 13u);
  EXPECT_EQ(gym_items({.environments = {"nothing"}, .difficulties = {0}}).status().code(), Code::not_found);
  EXPECT_FALSE(gym_items({.environments = {"addition"}, .difficulties = {}}).ok());

  ItemSet both = *set;
  append_items(both, *set);
  std::set<std::string> all;
  for (const Item& item : both.items) EXPECT_TRUE(all.insert(item.id).second);
  EXPECT_NE(both.digest(), set->digest());
}

}  // namespace
}  // namespace zaya::eval
