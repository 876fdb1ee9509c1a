#include "reasoning/answers.h"

#include <gtest/gtest.h>

#include "reasoning/expression.h"

namespace zaya::reasoning {
namespace {

std::string extracted(std::string_view text, AnswerKind kind = AnswerKind::automatic) {
  return extract_answer(text, kind).value_or("(none)");
}

TEST(Extract, FindsWhatIsMarked) {
  EXPECT_EQ(extracted("so \\boxed{42}."), "42");
  EXPECT_EQ(extracted("first \\boxed{1}, no: \\boxed{\\frac{1}{2}}"), "\\frac{1}{2}");
  EXPECT_EQ(extracted("\\boxed{\\{1,2\\}}"), "\\{1,2\\}") << "escaped braces do not count";
  EXPECT_EQ(extracted("\\boxed 7 is it"), "7");
  EXPECT_EQ(extracted("\\fbox{3}"), "3");
  EXPECT_EQ(extracted("\\boxed{5} and then \\boxed{unfinished"), "5");
  EXPECT_EQ(extracted("x <answer> 12 </answer> y"), "12");
  EXPECT_EQ(extracted("<answer>12"), "12") << "cut before the tag closed";
  EXPECT_EQ(extracted("The answer is 4042."), "4042");
  EXPECT_EQ(extracted("The answer is 3 remainder 2."), "3 remainder 2");
  EXPECT_EQ(extracted("**Final answer:** $x = 3$\nThat was fun."), "$x = 3$");
  EXPECT_EQ(extracted("Yes."), "Yes.");
  EXPECT_EQ(extracted("We get\n$$x^2$$\nas was to be shown, and more\n"), "x^2");
  EXPECT_EQ(extracted("no idea\nat all\n"), "(none)");
  EXPECT_EQ(extracted(""), "(none)");
  EXPECT_EQ(extracted("\\boxed{}"), "\\boxed{}") << "an empty box says nothing; the line stands for itself";
}

TEST(Extract, KnowsKinds) {
  EXPECT_EQ(extracted("I think A is wrong, so (C).", AnswerKind::option), "C");
  EXPECT_EQ(extracted("The answer is B", AnswerKind::option), "B");
  EXPECT_EQ(extracted("\\boxed{\\text{(D)}}", AnswerKind::option), "D");
  EXPECT_EQ(extracted("A good question", AnswerKind::option), "(none)");
  EXPECT_EQ(extracted("```python\nprint(1)\n```\nthen\n```\nx = 2\n```", AnswerKind::code), "x = 2");
  EXPECT_EQ(extracted("no code", AnswerKind::code), "(none)");
  EXPECT_EQ(extracted("there are 3 cats and -1,234.5 dogs", AnswerKind::number), "-1,234.5");
  EXPECT_EQ(extracted("  all of it \n", AnswerKind::text), "all of it");
  EXPECT_EQ(extracted("plain", AnswerKind::boxed), "(none)");
  AnswerKind kind;
  EXPECT_TRUE(parse_name("option", kind).ok());
  EXPECT_EQ(kind, AnswerKind::option);
  EXPECT_EQ(parse_name("nonsense", kind).code(), Code::invalid_argument);
}

struct Pair {
  const char *a, *b;
};

TEST(Same, HoldsForEqualAnswers) {
  for (const auto& [a, b] : {
           Pair{"42", "42.0"},
           {"1/2", "0.5"},
           {"\\frac{1}{2}", "0.5"},
           {"\\frac12", "\\dfrac{2}{4}"},
           {"-\\frac{3}{4}", "\\frac{-3}{4}"},
           {"1,234,567", "1234567"},
           {"3\\frac{1}{2}", "7/2"},
           {"\\sqrt{8}", "2\\sqrt{2}"},
           {"\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt 3}"},
           {"2^{10}", "1024"},
           {"5!", "120"},
           {"\\binom{5}{2}", "10"},
           {"\\sqrt[3]{-8}", "-2"},
           {"2\\pi", "2π"},
           {"\\frac{\\pi}{4}", "0.25\\pi"},
           {"\\log_2 8", "3"},
           {"\\sin^2 x + \\cos^2 x", "1"},
           {"(x+1)^2", "x^2+2x+1"},
           {"x(x+1)", "x^2 + x"},
           {"x = 5", "5"},
           {"f(x) = 2x", "2x"},
           {"$\\left( 1, 2 \\right)$", "(1,2)"},
           {"[0, 1)", "[0,1.0)"},
           {"(-\\infty, 3]", "x \\le 3"},
           {"1 < x \\leq 2", "(1, 2]"},
           {"x > 2", "(2, \\infty)"},
           {"\\{1, 2, 3\\}", "\\{3,2,1\\}"},
           {"1, 2", "2, 1"},
           {"x=1 \\text{ or } x=2", "\\{1,2\\}"},
           {"\\pm 3", "\\{3, -3\\}"},
           {"(-\\infty,0) \\cup (1,2)", "(1,2) ∪ (-∞, 0)"},
           {"90^\\circ", "90"},
           {"50\\%", "50"},
           {"\\$12", "12"},
           {"12 \\text{ cm}", "12"},
           {"12 apples", "12"},
           {"\\text{Evelyn}", "evelyn"},
           {"(B)", "B"},
           {"Yes.", "yes"},
           {"\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}"},
           {"\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "(1,2)"},
           {"x \\in [1,2]", "[1,2]"},
           {"e^{2}", "e^2"},
           {"a_1 + a_2", "a_2 + a_1"},
           {"3 remainder 2", "3 remainder 2."},
           {"123456789012345678901234567890", "123456789012345678901234567890"},
           {"def f():\n    return 1  \n", "def f():\n    return 1"},
       }) {
    EXPECT_TRUE(same_answer(a, b)) << a << " and " << b;
    EXPECT_TRUE(same_answer(b, a)) << b << " and " << a;
    EXPECT_TRUE(same_answer(a, a)) << a;
  }
}

TEST(Same, FailsForDifferentAnswers) {
  for (const auto& [a, b] : {
           Pair{"42", "43"},
           {"1/3", "0.333"},
           {"\\sqrt{2}", "1.414"},
           {"2\\pi", "6.28"},
           {"x+1", "x-1"},
           {"x^2", "y^2"},
           {"(1,2)", "(2,1)"},
           {"(0,1)", "[0,1]"},
           {"x > 2", "x \\ge 2"},
           {"\\{1,2\\}", "\\{1,2,3\\}"},
           {"(1,2)", "\\{1,2\\}"},
           {"\\pm 3", "3"},
           {"B", "C"},
           {"yes", "no"},
           {"3 remainder 2", "3 remainder 1"},
           {"3 remainder 2", "2 remainder 3"},
           {"123456789012345678901234567890", "123456789012345678901234567891"},
           {"10_2", "10"},
           {"", "0"},
           {"\\infty", "-\\infty"},
           {"1e400", "1e401"},
           {"0", "1e-9"},
       }) {
    EXPECT_FALSE(same_answer(a, b)) << a << " and " << b;
    EXPECT_FALSE(same_answer(b, a)) << b << " and " << a;
  }
}

TEST(Same, IsBoundedForHostileText) {
  const std::string deep(3000, '('), powers = [] {
    std::string text = "2";
    for (int i = 0; i < 900; ++i) text += "^2";
    return text;
  }();
  std::string sets = "\\{";
  for (int i = 0; i < 900; ++i) sets += "\\{" + std::to_string(i % 7) + "\\},";
  sets += "\\}";
  std::string binomials;
  for (int i = 0; i < 300; ++i) binomials += "\\binom{";
  for (const std::string& text : {deep, powers, sets, binomials, std::string(100000, '\\'), std::string(5000, '|'),
                                  std::string(4000, '<'), std::string(3990, '{') + "1,1"}) {
    EXPECT_FALSE(same_answer(text, "17"));
    (void)same_answer(text, text + "1");
    for (AnswerKind kind : {AnswerKind::automatic, AnswerKind::option, AnswerKind::code, AnswerKind::number}) {
      (void)extract_answer(text, kind);
    }
  }
}

TEST(Votes, CountClasses) {
  const std::vector<Vote> votes = {
      {0, "1/2", false}, {1, "3", true}, {2, "0.5", false}, {3, "3.0", false}, {4, "7", true}};
  const std::vector<VoteClass> classes = count_votes(votes);
  ASSERT_EQ(classes.size(), 3u);
  EXPECT_EQ(classes[0].answer, "3") << "a tie goes to more finished traces";
  EXPECT_EQ(classes[0].candidates, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(classes[1].answer, "1/2");
  EXPECT_FALSE(vote_is_decided(classes, 0)) << "a tie is none";
  EXPECT_FALSE(vote_is_decided({}, 0));
  const std::vector<VoteClass> clear = {{.answer = "1", .candidates = {0, 1, 2, 3}},
                                        {.answer = "2", .candidates = {4}}};
  EXPECT_TRUE(vote_is_decided(clear, 2));
  EXPECT_FALSE(vote_is_decided(clear, 3));
}

}  // namespace
}  // namespace zaya::reasoning
