#include "engine/prefill_share.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace zaya::engine {
namespace {

using Shares = std::vector<int64_t>;

TEST(PrefillShare, ShortFirstThenInTurn) {
  EXPECT_EQ(share_prefill({}, 100), Shares{});
  const PrefillClaim claims[] = {{1000, 0, 7}, {1000, 0, 3}, {20, 0, 9}, {10, 0, 8}};
  EXPECT_EQ(share_prefill(claims, 100), (Shares{0, 70, 20, 10}));
  EXPECT_EQ(share_prefill(claims, 16), (Shares{0, 16, 0, 0})) << "nothing is short beside so small a budget";
  EXPECT_EQ(share_prefill(claims, 5000), (Shares{1000, 1000, 20, 10}));
}

TEST(PrefillShare, OneThatWaitedLongGoesFirstAndOnlyOne) {
  const PrefillClaim claims[] = {{1000, 4, 1}, {1000, 6, 2}, {20, 0, 9}};
  EXPECT_EQ(share_prefill(claims, 100), (Shares{0, 100, 0}));
}

// A crowd of short prompts, new ones at each step, and long ones that never end: everybody is served within a bound.
TEST(PrefillShare, NobodyStarves) {
  std::vector<PrefillClaim> claims(40, {25, 0, 0});
  for (size_t i = 0; i < 3; ++i) claims[i].remaining = 100000;
  std::vector<int64_t> served(3, 0);
  int64_t longest_wait = 0;
  for (int64_t step = 1; step <= 500; ++step) {
    const Shares shares = share_prefill(claims, 100);
    for (size_t i = 0; i < claims.size(); ++i) {
      claims[i].passed_over = shares[i] > 0 ? 0 : claims[i].passed_over + 1;
      if (shares[i] > 0) claims[i].last_served = step;
      longest_wait = std::max(longest_wait, claims[i].passed_over);
      if (i < 3) served[i] += shares[i];
    }
  }
  EXPECT_LE(longest_wait, kMostPassedOver + 2 * static_cast<int64_t>(claims.size()));
  for (int64_t tokens : served) EXPECT_GT(tokens, 100);
}

}  // namespace
}  // namespace zaya::engine
