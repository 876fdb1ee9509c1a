#include "eval/statistics.h"

#include <algorithm>
#include <cmath>

#include "reasoning/subsets.h"

namespace zaya::eval {
namespace {

double mean_of(std::span<const double> values) {
  double sum = 0;
  for (double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

// Means of resampled values, ascending.
std::vector<double> resampled_means(std::span<const double> values, int64_t resamples, uint64_t seed) {
  std::vector<double> means(static_cast<size_t>(std::max<int64_t>(resamples, 1)));
  const size_t size = values.size();
  uint64_t counter = 0;
  for (double& mean : means) {
    double sum = 0;
    for (size_t i = 0; i < size; ++i) {
      // 53 bits decide: their rounding is nothing beside the sizes of sets.
      const double unit = static_cast<double>(reasoning::mix(seed, 0x626f6f74, counter++) >> 11) * 0x1p-53;
      sum += values[static_cast<size_t>(unit * static_cast<double>(size))];
    }
    mean = sum / static_cast<double>(size);
  }
  std::sort(means.begin(), means.end());
  return means;
}

Interval percentiles(const std::vector<double>& means) {
  const auto at = [&](double share) {
    return means[static_cast<size_t>(std::lround(share * static_cast<double>(means.size() - 1)))];
  };
  return {at(0.025), at(0.975)};
}

}  // namespace

Interval wilson(int64_t right, int64_t count, double z) {
  if (count <= 0) return {0, 1};
  const double n = static_cast<double>(count), p = static_cast<double>(right) / n;
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n);
  // At the ends the formula gives 0 and 1 up to rounding.
  return {right <= 0 ? 0 : std::max(0.0, centre - half), right >= count ? 1 : std::min(1.0, centre + half)};
}

double pass_at_k(int64_t n, int64_t c, int64_t k) {
  if (n - c < k) return 1;
  double none = 1;
  for (int64_t i = n - c + 1; i <= n; ++i) none *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - none;
}

Interval bootstrap_mean(std::span<const double> values, int64_t resamples, uint64_t seed) {
  if (values.empty()) return {0, 1};
  return percentiles(resampled_means(values, resamples, seed));
}

Difference paired_bootstrap(std::span<const double> a, std::span<const double> b, int64_t resamples, uint64_t seed) {
  std::vector<double> differences(std::min(a.size(), b.size()));
  for (size_t i = 0; i < differences.size(); ++i) differences[i] = a[i] - b[i];
  if (differences.empty()) return {.mean = 0, .interval = {-1, 1}, .p = 1};
  const std::vector<double> means = resampled_means(differences, resamples, seed);
  const double count = static_cast<double>(means.size());
  const auto below = std::upper_bound(means.begin(), means.end(), 1e-12) - means.begin();
  const auto above = means.end() - std::lower_bound(means.begin(), means.end(), -1e-12);
  const double share = static_cast<double>(std::min(below, above)) / count;
  return {.mean = mean_of(differences), .interval = percentiles(means), .p = std::clamp(2 * share, 1 / count, 1.0)};
}

double mcnemar_exact(int64_t only_a, int64_t only_b) {
  const int64_t n = only_a + only_b, low = std::min(only_a, only_b);
  if (n == 0) return 1;
  // The binomial tail through logarithms: n may be thousands.
  const auto log_factorial = [](int64_t x) { return std::lgamma(static_cast<double>(x) + 1); };
  double tail = 0;
  for (int64_t i = 0; i <= low; ++i) {
    tail +=
        std::exp(log_factorial(n) - log_factorial(i) - log_factorial(n - i) - static_cast<double>(n) * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

}  // namespace zaya::eval
