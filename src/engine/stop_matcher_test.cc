#include "engine/stop_matcher.h"

#include <gtest/gtest.h>

namespace zaya::engine {
namespace {

// Everything that comes out of a matcher fed byte by byte.
std::string run(StopMatcher& matcher, const std::string& text) {
  std::string out;
  for (char c : text) out += matcher.push(std::string(1, c));
  return out + matcher.finish();
}

TEST(StopMatcher, PassesTextWithoutStops) {
  StopMatcher none({}), other({"END"});
  EXPECT_EQ(run(none, "hello"), "hello");
  EXPECT_EQ(run(other, "hello EN and E"), "hello EN and E");
  EXPECT_FALSE(other.matched());
}

TEST(StopMatcher, CutsBeforeTheStopString) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(run(matcher, "abcENEND and more"), "abcEN");
  EXPECT_EQ(matcher.match(), "END");
  EXPECT_EQ(matcher.push("later"), "");
}

TEST(StopMatcher, TheEarliestOfSeveralWins) {
  StopMatcher matcher({"yz", "xyz", "z"});
  EXPECT_EQ(matcher.push("wxyz"), "w");
  EXPECT_EQ(matcher.match(), "xyz");
}

TEST(StopMatcher, HoldsBackOnlyWhatMayBecomeAStop) {
  StopMatcher matcher({"aab"});
  EXPECT_EQ(matcher.push("xaa"), "x");
  EXPECT_EQ(matcher.push("a"), "a");  // "aaa": the last two may still begin "aab"
  EXPECT_EQ(matcher.push("c"), "aac");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, EmptyStopsAreIgnored) {
  StopMatcher matcher({""});
  EXPECT_EQ(run(matcher, "text"), "text");
}

}  // namespace
}  // namespace zaya::engine
