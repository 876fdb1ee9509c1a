#include "engine/prefill_share.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace zaya::engine {

std::vector<int64_t> share_prefill(std::span<const PrefillClaim> claims, int64_t budget) {
  std::vector<size_t> order(claims.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto longest_passed_over = std::max_element(
      order.begin(), order.end(), [&](size_t a, size_t b) { return claims[a].passed_over < claims[b].passed_over; });
  const size_t first = longest_passed_over != order.end() && claims[*longest_passed_over].passed_over >= kMostPassedOver
                           ? *longest_passed_over
                           : claims.size();
  const auto key = [&](size_t i) {
    const PrefillClaim& claim = claims[i];
    if (i == first) return std::tuple(0, int64_t{0}, i);
    if (claim.remaining <= budget / 4) return std::tuple(1, claim.remaining, i);
    return std::tuple(2, claim.last_served, i);
  };
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return key(a) < key(b); });
  std::vector<int64_t> shares(claims.size(), 0);
  for (size_t i : order) {
    shares[i] = std::min(claims[i].remaining, budget);
    budget -= shares[i];
  }
  return shares;
}

}  // namespace zaya::engine
