#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace zaya::eval {
namespace {

TEST(Wilson, GivesThePublishedValues) {
  // Newcombe 1998, table I: 81 of 263 and 1 of 29.
  const Interval many = wilson(81, 263);
  EXPECT_NEAR(many.low, 0.2553, 5e-5);
  EXPECT_NEAR(many.high, 0.3662, 5e-5);
  const Interval few = wilson(1, 29);
  EXPECT_NEAR(few.low, 0.0061, 5e-5);
  EXPECT_NEAR(few.high, 0.1718, 5e-5);
  EXPECT_EQ(wilson(0, 20).low, 0);
  EXPECT_EQ(wilson(20, 20).high, 1);
  EXPECT_EQ(wilson(0, 0).high, 1);
}

// Over every subset of k of n samples of which c are right.
double pass_by_counting(int n, int c, int k) {
  double subsets = 0, passed = 0;
  for (unsigned mask = 0; mask < (1u << n); ++mask) {
    if (__builtin_popcount(mask) != k) continue;
    subsets += 1;
    passed += (mask & ((1u << c) - 1)) != 0 ? 1 : 0;
  }
  return passed / subsets;
}

TEST(PassAtK, AgreesWithCountingAllSubsets) {
  for (int n = 1; n <= 9; ++n) {
    for (int c = 0; c <= n; ++c) {
      for (int k = 1; k <= n; ++k) EXPECT_NEAR(pass_at_k(n, c, k), pass_by_counting(n, c, k), 1e-12) << n << c << k;
    }
  }
  EXPECT_NEAR(pass_at_k(100000, 50000, 1), 0.5, 1e-9);
}

TEST(McNemar, IsTheExactBinomialTest) {
  EXPECT_DOUBLE_EQ(mcnemar_exact(0, 0), 1);
  EXPECT_DOUBLE_EQ(mcnemar_exact(5, 5), 1);
  EXPECT_NEAR(mcnemar_exact(0, 5), 2.0 / 32, 1e-12);
  EXPECT_NEAR(mcnemar_exact(1, 7), 2 * (1.0 + 8) / 256, 1e-12);
  EXPECT_EQ(mcnemar_exact(3, 11), mcnemar_exact(11, 3));
  EXPECT_LT(mcnemar_exact(4000, 5000), 1e-20);
}

TEST(Bootstrap, IsDeterministicAndCoversTheMean) {
  std::mt19937 random(3);
  int covered = 0;
  for (int trial = 0; trial < 100; ++trial) {
    std::vector<double> values(60);
    for (double& value : values) value = (random() % 10) < 3 ? 1 : 0;
    const Interval interval = bootstrap_mean(values, 1000);
    covered += interval.low <= 0.3 && 0.3 <= interval.high;
    if (trial > 0) continue;
    const Interval again = bootstrap_mean(values, 1000), other = bootstrap_mean(values, 1000, 5);
    EXPECT_EQ(interval.low, again.low);
    EXPECT_EQ(interval.high, again.high);
    EXPECT_TRUE(other.low != interval.low || other.high != interval.high) << "a seed changes the draws";
    // Close to the normal approximation.
    EXPECT_NEAR(interval.high - interval.low, 2 * 1.96 * std::sqrt(0.3 * 0.7 / 60), 0.06);
  }
  EXPECT_GE(covered, 87);  // 95 expected; 87 is less likely than one in 1,000
}

TEST(PairedBootstrap, TellsADifferenceFromNone) {
  std::vector<double> a(40), b(40);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = i % 2 == 0 ? 0.25 : 0.5;
    b[i] = a[i] + (i % 4 == 0 ? 0.25 : 0.0);
  }
  const Difference gain = paired_bootstrap(b, a, 2000);
  EXPECT_NEAR(gain.mean, 0.0625, 1e-12);
  EXPECT_GT(gain.interval.low, 0);
  EXPECT_LT(gain.p, 0.01);
  const Difference none = paired_bootstrap(a, a, 2000);
  EXPECT_EQ(none.mean, 0);
  EXPECT_EQ(none.p, 1);
  EXPECT_EQ(paired_bootstrap({}, {}).p, 1);
}

}  // namespace
}  // namespace zaya::eval
