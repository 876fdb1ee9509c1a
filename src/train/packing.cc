#include "train/packing.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace zaya::train {

std::vector<std::vector<size_t>> pack(std::span<const int64_t> lengths, int64_t capacity) {
  std::vector<size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return lengths[a] > lengths[b]; });
  std::vector<std::vector<size_t>> batches;
  std::multimap<int64_t, size_t> room;  // what is left in each batch
  for (const size_t index : order) {
    const auto found = room.lower_bound(lengths[index]);
    if (found == room.end()) {
      room.emplace(capacity - lengths[index], batches.size());
      batches.push_back({index});
      continue;
    }
    const auto [left, batch] = *found;
    room.erase(found);
    room.emplace(left - lengths[index], batch);
    batches[batch].push_back(index);
  }
  return batches;
}

}  // namespace zaya::train
