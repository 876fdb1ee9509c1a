#include "text/reasoning_parser.h"

#include <gtest/gtest.h>

namespace zaya::text {
namespace {

struct Split {
  std::string reasoning;
  std::string answer;
  friend bool operator==(const Split&, const Split&) = default;
  friend void PrintTo(const Split& split, std::ostream* out) {
    *out << "reasoning \"" << split.reasoning << "\", answer \"" << split.answer << "\"";
  }
};

// Pushes `text` in pieces of `step` bytes.
Split parse(std::string_view text, bool starts_inside, size_t step) {
  ReasoningParser parser("<think>", "</think>", starts_inside);
  Split split;
  const auto take = [&](const std::vector<ReasoningParser::Piece>& pieces) {
    for (size_t i = 0; i < pieces.size(); ++i) {
      EXPECT_FALSE(pieces[i].text.empty());
      EXPECT_TRUE(i == 0 || pieces[i].reasoning != pieces[i - 1].reasoning);
      (pieces[i].reasoning ? split.reasoning : split.answer) += pieces[i].text;
    }
  };
  for (size_t i = 0; i < text.size(); i += step) take(parser.push(text.substr(i, step)));
  take(parser.finish());
  return split;
}

struct Case {
  std::string text;
  bool starts_inside;
  Split expected;
};

TEST(ReasoningParser, SplitsHoweverTheTextArrives) {
  const Case cases[] = {
      {"", false, {"", ""}},
      {"", true, {"", ""}},
      {"just an answer", false, {"", "just an answer"}},
      {"<think>why</think>because", false, {"why", "because"}},
      {"why</think>because", true, {"why", "because"}},
      {"\nwhy\n</think>\n\nbecause", true, {"\nwhy\n", "\n\nbecause"}},
      {"before <think>why</think> after", false, {"why", "before  after"}},
      {"never closed", true, {"never closed", ""}},
      {"<think>never closed", false, {"never closed", ""}},
      {"</think>", true, {"", ""}},
      {"</think>at once", true, {"", "at once"}},
      // A model that repeats the prompt's tag.
      {"<think>why</think>x", true, {"why", "x"}},
      {"\n <think>\nwhy</think>x", true, {"\n \nwhy", "x"}},
      {"so <think> is a tag</think>x", true, {"so <think> is a tag", "x"}},
      // After the block all is answer.
      {"a</think>b<think>c</think>d", true, {"a", "b<think>c</think>d"}},
      {"<think>a</think>b<think>c", false, {"a", "b<think>c"}},
      // Outside, a closing tag is text.
      {"a</think>b", false, {"", "a</think>b"}},
      // Nearly tags.
      {"a < b <thin <<think>x<</think>y", false, {"x<", "a < b <thin <y"}},
      {"a</thin</think>b", true, {"a</thin", "b"}},
      {"a</think", true, {"a</think", ""}},
      {"<think", false, {"", "<think"}},
      {"<", true, {"<", ""}},
      {"<thi", true, {"<thi", ""}},
      {"\u00e9\u20ac</think>\U0001F600", true, {"\u00e9\u20ac", "\U0001F600"}},
  };
  for (const Case& c : cases) {
    for (size_t step = 1; step <= c.text.size() + 1; ++step) {
      EXPECT_EQ(parse(c.text, c.starts_inside, step), c.expected) << "\"" << c.text << "\" by " << step;
    }
  }
}

TEST(ReasoningParser, HoldsBackOnlyWhatMayBeATag) {
  ReasoningParser parser("<think>", "</think>", true);
  EXPECT_TRUE(parser.inside());
  auto pieces = parser.push("\n");
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].text, "\n");
  pieces = parser.push("well </th");
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].text, "well ");
  EXPECT_TRUE(parser.inside());
  pieces = parser.push("e end");
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].text, "</the end");
  pieces = parser.push("x</think>yes");
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_TRUE(pieces[0].reasoning);
  EXPECT_EQ(pieces[0].text, "x");
  EXPECT_FALSE(pieces[1].reasoning);
  EXPECT_EQ(pieces[1].text, "yes");
  EXPECT_FALSE(parser.inside());
  EXPECT_TRUE(parser.finish().empty());
}

TEST(ReasoningParser, InsideFollowsTheTags) {
  ReasoningParser parser("<think>", "</think>", false);
  EXPECT_FALSE(parser.inside());
  parser.push("<think>");
  EXPECT_TRUE(parser.inside());
  parser.push("</think>");
  EXPECT_FALSE(parser.inside());
}

TEST(ReasoningParser, EmptyTagsNeverMatch) {
  ReasoningParser open_only("<t>", "", true);
  EXPECT_EQ(open_only.push("a").size(), 1u);
  EXPECT_TRUE(open_only.inside());
  ReasoningParser close_only("", "</t>", true);
  const auto pieces = close_only.push("a</t>b");
  EXPECT_EQ(pieces.size(), 2u);
  EXPECT_FALSE(close_only.inside());
  ReasoningParser neither("", "", false);
  EXPECT_EQ(neither.push("abc").size(), 1u);
  EXPECT_FALSE(neither.inside());
}

}  // namespace
}  // namespace zaya::text
