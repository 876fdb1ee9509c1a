// The statistics of an evaluation. All of it is deterministic: resampling draws from a fixed seed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace zaya::eval {

struct Interval {
  double low = 0, high = 0;
};

// Wilson's score interval for `right` of `count` independent trials, 95 % for the default z. [0, 1] where count is 0.
Interval wilson(int64_t right, int64_t count, double z = 1.959963984540054);

// pass@k without bias from n ≥ k samples of which c are right: 1 − C(n − c, k) / C(n, k) (arXiv 2107.03374, eq. 1).
double pass_at_k(int64_t n, int64_t c, int64_t k);

inline constexpr int64_t kResamples = 10000;

// 95 % percentile interval of the mean of `values` (one per item): items are drawn with replacement `resamples` times.
Interval bootstrap_mean(std::span<const double> values, int64_t resamples = kResamples, uint64_t seed = 0);

// The mean of a − b over items that both hold, with its interval, and the two-sided p of "no difference" from the same
// resamples (the smaller share of means at or beyond 0, doubled; never below 1 / resamples).
struct Difference {
  double mean = 0;
  Interval interval;
  double p = 1;
};
Difference paired_bootstrap(std::span<const double> a, std::span<const double> b, int64_t resamples = kResamples,
                            uint64_t seed = 0);

// McNemar's exact test on discordant pairs: `only_a` items were right in a alone, `only_b` in b alone. Two-sided p of
// a fair coin that fell like this or more unevenly.
double mcnemar_exact(int64_t only_a, int64_t only_b);

}  // namespace zaya::eval
