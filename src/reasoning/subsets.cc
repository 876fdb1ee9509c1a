#include "reasoning/subsets.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace zaya::reasoning {
namespace {

// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
uint64_t splitmix(uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

// A number below `bound`, at most 2^31, from 64 random bits; the bias, bound / 2^32, is beyond measuring for
// populations. The standard library's distributions differ between implementations, and a run must not.
int64_t below(uint64_t bits, int64_t bound) {
  return static_cast<int64_t>(((bits >> 32) * static_cast<uint64_t>(bound)) >> 32);
}

constexpr uint64_t kDraws = 0x64726177;  // keeps draws apart from the seeds of generations

// Orders members[from, …) of the subsets named by `group`, which agree before `from`.
void order_group(std::vector<std::vector<int64_t>>& subsets, std::vector<int64_t> group, size_t from,
                 std::vector<int64_t>& order) {
  while (!group.empty()) {
    std::map<int64_t, int64_t> holders;
    for (int64_t i : group) {
      const auto& subset = subsets[static_cast<size_t>(i)];
      for (size_t k = from; k < subset.size(); ++k) ++holders[subset[k]];
    }
    if (holders.empty()) {  // all ordered: equal subsets
      order.insert(order.end(), group.begin(), group.end());
      return;
    }
    // Ties to the lower index, so that the order is a function of the draws.
    const int64_t first = std::max_element(holders.begin(), holders.end(), [](const auto& a, const auto& b) {
                            return a.second < b.second;
                          })->first;
    std::vector<int64_t> with, without;
    for (int64_t i : group) {
      auto& subset = subsets[static_cast<size_t>(i)];
      const auto found = std::find(subset.begin() + static_cast<std::ptrdiff_t>(from), subset.end(), first);
      if (found == subset.end()) {
        without.push_back(i);
      } else {
        std::rotate(subset.begin() + static_cast<std::ptrdiff_t>(from), found, found + 1);
        with.push_back(i);
      }
    }
    order_group(subsets, std::move(with), from + 1, order);  // as deep as a subset is long
    group = std::move(without);
  }
}

}  // namespace

uint64_t mix(uint64_t seed, uint64_t a, uint64_t b, uint64_t c) {
  return splitmix(splitmix(splitmix(splitmix(seed) ^ a) ^ b) ^ c);
}

std::vector<std::vector<int64_t>> draw_subsets(uint64_t seed, int64_t round, int64_t count, int64_t population,
                                               int64_t size) {
  std::vector<std::vector<int64_t>> subsets(static_cast<size_t>(count));
  std::vector<int64_t> pool(static_cast<size_t>(population));
  for (int64_t i = 0; i < count; ++i) {
    // The first `size` steps of a Fisher-Yates shuffle.
    std::iota(pool.begin(), pool.end(), 0);
    const uint64_t stream = mix(seed, kDraws, static_cast<uint64_t>(round), static_cast<uint64_t>(i));
    for (int64_t k = 0; k < size; ++k) {
      const int64_t other = k + below(mix(stream, static_cast<uint64_t>(k)), population - k);
      std::swap(pool[static_cast<size_t>(k)], pool[static_cast<size_t>(other)]);
    }
    subsets[static_cast<size_t>(i)].assign(pool.begin(), pool.begin() + size);
  }
  return subsets;
}

std::vector<int64_t> order_for_sharing(std::vector<std::vector<int64_t>>& subsets) {
  std::vector<int64_t> group(subsets.size()), order;
  std::iota(group.begin(), group.end(), 0);
  order_group(subsets, std::move(group), 0, order);
  return order;
}

int64_t distinct_prefix_tails(const std::vector<std::vector<int64_t>>& subsets) {
  std::vector<std::vector<int64_t>> sorted = subsets;
  std::sort(sorted.begin(), sorted.end());
  int64_t nodes = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    size_t shared = 0;  // with the one before it: in sorted order nobody earlier shares more
    if (i > 0) {
      const auto& before = sorted[i - 1];
      while (shared < before.size() && shared < sorted[i].size() && before[shared] == sorted[i][shared]) ++shared;
    }
    nodes += static_cast<int64_t>(sorted[i].size() - shared);
  }
  return nodes;
}

}  // namespace zaya::reasoning
