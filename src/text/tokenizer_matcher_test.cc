#include "text/tokenizer_matcher.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace zaya::text {
namespace {

// Tries every pattern at every place.
std::optional<StringMatcher::Match> find_slowly(const std::map<std::string, int32_t>& patterns, std::string_view text,
                                                size_t from) {
  for (size_t start = from; start < text.size(); ++start) {
    std::optional<StringMatcher::Match> best;
    for (const auto& [pattern, value] : patterns) {
      if (!text.substr(start).starts_with(pattern)) continue;
      if (!best || start + pattern.size() > best->end) best = {start, start + pattern.size(), value};
    }
    if (best) return best;
  }
  return std::nullopt;
}

TEST(StringMatcher, FindsTheLeftmostLongest) {
  std::mt19937 random(3);
  for (int round = 0; round < 500; ++round) {
    const unsigned letters = 1 + static_cast<unsigned>(round % 3);
    const auto word = [&](size_t longest) {
      std::string made(1 + random() % longest, 'a');
      for (char& c : made) c = static_cast<char>('a' + random() % letters);
      return made;
    };
    StringMatcher matcher;
    std::map<std::string, int32_t> patterns;
    for (int i = 0; i < 1 + round % 12; ++i) {
      const std::string pattern = word(8);
      EXPECT_EQ(matcher.add(pattern, i), patterns.emplace(pattern, i).second);
    }
    matcher.build();
    const std::string text = word(60) + (round % 2 == 0 ? "-" + word(30) : "");
    size_t from = 0;
    for (;;) {
      const auto expected = find_slowly(patterns, text, from);
      const auto found = matcher.find(text, from);
      ASSERT_EQ(found.has_value(), expected.has_value()) << text << " from " << from;
      if (!found) break;
      ASSERT_EQ(found->start, expected->start) << text << " from " << from;
      ASSERT_EQ(found->end, expected->end) << text << " from " << from;
      ASSERT_EQ(found->value, expected->value);
      from = found->end;
    }
  }
}

TEST(StringMatcher, EmptyFindsNothing) {
  StringMatcher matcher;
  matcher.build();
  EXPECT_TRUE(matcher.empty());
  EXPECT_FALSE(matcher.find("abc", 0));
  EXPECT_FALSE(matcher.add("", 0));
}

TEST(StringMatcher, LongHopelessPrefixesTakeLinearTime) {
  StringMatcher matcher;
  EXPECT_TRUE(matcher.add(std::string(100'000, 'a') + "b", 0));
  matcher.build();
  // 10^11 steps if each place were tried on its own.
  EXPECT_FALSE(matcher.find(std::string(1'000'000, 'a'), 0));
}

}  // namespace
}  // namespace zaya::text
