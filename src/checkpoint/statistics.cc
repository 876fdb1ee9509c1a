#include "checkpoint/statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace zaya::checkpoint {
namespace {

// Values converted at a time: the buffer stays in the first-level cache.
constexpr int64_t block = 2048;
// Independent sums, so that the compiler may use vectors without reordering one sum.
constexpr int64_t lanes = 16;

struct Lanes {
  std::array<float, lanes> min, max, squares;
  std::array<uint32_t, lanes> nan{}, inf{};
};

// Sums of at most `block` / `lanes` = 128 squares stay in FP32; the caller adds blocks up in double.
void accumulate(const float* values, Lanes& sums) {
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const auto i = static_cast<size_t>(lane);
    const float value = values[lane];
    const uint32_t magnitude = std::bit_cast<uint32_t>(value) & 0x7fffffffu;
    const bool finite = magnitude < 0x7f800000u;
    sums.nan[i] += magnitude > 0x7f800000u;
    sums.inf[i] += magnitude == 0x7f800000u;
    const float low = finite ? value : std::numeric_limits<float>::infinity();
    const float high = finite ? value : -std::numeric_limits<float>::infinity();
    const float counted = finite ? value : 0.0f;
    sums.min[i] = low < sums.min[i] ? low : sums.min[i];
    sums.max[i] = high > sums.max[i] ? high : sums.max[i];
    sums.squares[i] += counted * counted;
  }
}

}  // namespace

double Statistics::rms() const { return finite() > 0 ? std::sqrt(sum_of_squares / static_cast<double>(finite())) : 0; }

void Statistics::add(const Statistics& other) {
  count += other.count;
  nan += other.nan;
  inf += other.inf;
  min = std::min(min, other.min);
  max = std::max(max, other.max);
  sum_of_squares += other.sum_of_squares;
}

Statistics measure(DType dtype, std::span<const std::byte> data) {
  Statistics total;
  const auto element = static_cast<int64_t>(dtype_size(dtype));
  if (element == 0) return total;
  total.count = static_cast<int64_t>(data.size()) / element;
  std::array<float, block> values;
  for (int64_t first = 0; first < total.count; first += block) {
    const int64_t count = std::min(block, total.count - first);
    convert_to_f32(dtype, data.data() + first * element, count, values.data());
    Lanes sums;
    sums.min.fill(std::numeric_limits<float>::infinity());
    sums.max.fill(-std::numeric_limits<float>::infinity());
    sums.squares.fill(0);
    const int64_t whole = count / lanes * lanes;
    for (int64_t i = 0; i < whole; i += lanes) accumulate(values.data() + i, sums);
    for (size_t i = 0; i < lanes; ++i) {
      total.min = std::min(total.min, sums.min[i]);
      total.max = std::max(total.max, sums.max[i]);
      total.nan += sums.nan[i];
      total.inf += sums.inf[i];
      total.sum_of_squares += static_cast<double>(sums.squares[i]);
    }
    for (int64_t i = whole; i < count; ++i) {
      const float value = values[static_cast<size_t>(i)];
      total.nan += std::isnan(value);
      total.inf += std::isinf(value);
      if (!std::isfinite(value)) continue;
      total.min = std::min(total.min, value);
      total.max = std::max(total.max, value);
      total.sum_of_squares += static_cast<double>(value) * static_cast<double>(value);
    }
  }
  return total;
}

}  // namespace zaya::checkpoint
