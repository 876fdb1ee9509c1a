// Packing: complete examples into batches of at most so many tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace zaya::train {

// Best fit decreasing: the longest example first, each into the fullest batch that still has room for it. Returns the
// indices of each batch. No example is longer than `capacity`. O(n log n).
std::vector<std::vector<size_t>> pack(std::span<const int64_t> lengths, int64_t capacity);

}  // namespace zaya::train
