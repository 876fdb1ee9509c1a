#include "ops/packed/coarse.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

namespace zaya::ops {
namespace {

// Where a code lies: `bits` bits of the byte at `byte`, and what is left of its three in the byte at `next`.
struct Place {
  int64_t byte = 0, next = 0;
  int shift = 0, bits = 3;
};

constexpr Place place(int64_t c) {
  const int64_t half = c / (kBlockCols / 2), four = c % (kBlockCols / 2) / 4;
  const int64_t base = half * kCoarseSuperblock / 2 + c % 4;
  if (four < 6) return {.byte = base + four / 2 * 64, .next = 0, .shift = static_cast<int>(four % 2 * 3), .bits = 3};
  if (four == 6) return {.byte = base, .next = base + 64, .shift = 6, .bits = 2};
  return {.byte = base + 64, .next = base + 128, .shift = 7, .bits = 1};
}

// Of the first row's codes of a superblock; the next rows' are four bytes further each.
constexpr std::array<Place, kBlockCols> kPlaces = [] {
  std::array<Place, kBlockCols> places;
  for (int64_t c = 0; c < kBlockCols; ++c) places[static_cast<size_t>(c)] = place(c);
  return places;
}();

// A row of a q8 matrix, with its factor.
void unpack_row(const Matrix& w, int64_t r, float* out) {
  const std::byte* block = w.data + r / kBlockRows * block_bytes(w.type, w.cols);
  const int64_t lane = r % kBlockRows;
  for (int64_t c = 0; c < w.cols; c += kGroupCols) {
    const std::byte* super = block + c / kBlockCols * superblock_bytes(w.type);
    const int64_t group = c % kBlockCols / kGroupCols;
    const float scale = decode_scale(static_cast<uint8_t>(super[group * kBlockRows + lane])) * w.row_scale[r];
    const std::byte* codes = super + kScaleBytes + (group * 4 * kBlockRows + lane) * 4;
    for (int64_t i = 0; i < std::min(kGroupCols, w.cols - c); ++i) {
      out[c + i] = static_cast<float>(static_cast<int8_t>(codes[i / 4 * kBlockRows * 4 + i % 4])) * scale;
    }
  }
}

// Halfway between two magnitudes.
constexpr float between(int i) { return static_cast<float>(kMagnitude3[i] + kMagnitude3[i + 1]) / 2; }
constexpr float step(int i) { return static_cast<float>(kMagnitude3[i + 1] - kMagnitude3[i]); }

// The nearest of the magnitudes.
inline int nearest(float m) { return (m > between(0) ? 1 : 0) + (m > between(1) ? 1 : 0) + (m > between(2) ? 1 : 0); }

// Sums over a row's nearest magnitudes at one scale: of their products with the weights' magnitudes, and of their
// squares. Lane by lane, so that the compiler may take vectors.
struct Fit {
  double product = 0, length = 0;
};
constexpr size_t kFitLanes = 16;
Fit fit(const std::vector<float>& weights, float inverse) {
  float products[kFitLanes] = {}, lengths[kFitLanes] = {};
  for (size_t c = 0; c < weights.size(); c += kFitLanes) {
    for (size_t lane = 0; lane < kFitLanes; ++lane) {
      const float w = std::fabs(weights[c + lane]), m = w * inverse;
      const float level = static_cast<float>(kMagnitude3[0]) + (m > between(0) ? step(0) : 0.0f) +
                          (m > between(1) ? step(1) : 0.0f) + (m > between(2) ? step(2) : 0.0f);
      products[lane] += w * level;
      lengths[lane] += level * level;
    }
  }
  Fit sums;
  for (size_t lane = 0; lane < kFitLanes; ++lane) sums.product += products[lane], sums.length += lengths[lane];
  return sums;
}

}  // namespace

int coarse_code(const std::byte* block, int64_t r, int64_t c) {
  const Place& at = kPlaces[static_cast<size_t>(c % kBlockCols)];
  const std::byte* super = block + c / kBlockCols * kCoarseSuperblock + r * 4;
  int code = std::to_integer<int>(super[at.byte]) >> at.shift;
  if (at.bits == 2) code = (code & 3) | std::to_integer<int>(super[at.next]) >> 6 << 2;
  if (at.bits == 1) code = (code & 1) | std::to_integer<int>(super[at.next]) >> 6 << 1;
  return code & 7;
}

void coarse_columns(const Matrix& exact, float* column_scale) {
  constexpr int64_t kMost = 4096;
  const int64_t step = std::max<int64_t>(1, exact.rows / kMost);
  std::vector<double> squares(static_cast<size_t>(exact.cols));
  std::vector<float> row(squares.size());
  int64_t count = 0;
  for (int64_t r = 0; r < exact.rows; r += step, ++count) {
    unpack_row(exact, r, row.data());
    for (size_t c = 0; c < row.size(); ++c) squares[c] += static_cast<double>(row[c]) * row[c];
  }
  for (size_t c = 0; c < row.size(); ++c) {
    const double mean = squares[c] / static_cast<double>(count);
    column_scale[c] = mean > 0 ? static_cast<float>(std::sqrt(mean)) : 1.0f;
  }
}

void coarsen_block(const Matrix& exact, int64_t first, const float* column_scale, std::byte* out, float* row_scale,
                   float* error) {
  std::memset(out, 0, static_cast<size_t>(coarse_block_bytes(exact.cols)));
  const int64_t rows = std::min(kBlockRows, exact.rows - first);
  // To whole superblocks; what lies past the last column weighs nothing in the fit, and meets activations of zero.
  std::vector<float> weights(static_cast<size_t>(superblocks_of(exact.cols) * kBlockCols));
  const auto padding = static_cast<double>(static_cast<int64_t>(weights.size()) - exact.cols);
  for (int64_t r = 0; r < rows; ++r) {
    unpack_row(exact, first + r, weights.data());
    double squares = 0;
    for (int64_t c = 0; c < exact.cols; ++c) {
      float& w = weights[static_cast<size_t>(c)];
      w /= column_scale[c];
      squares += static_cast<double>(w) * w;
    }
    // From the scale that suits a normal row: the best one for the nearest codes, twice.
    constexpr double kNormalReach = 2.15;  // the greatest of the best four magnitudes, in deviations
    double scale = std::sqrt(squares / static_cast<double>(exact.cols)) * kNormalReach / kMagnitude3[3];
    float inverse = 0;
    Fit sums;
    for (int round = 0; round < 3; ++round) {
      inverse = scale > 0 ? static_cast<float>(1 / scale) : 0;
      sums = fit(weights, inverse);
      sums.length -= padding * kMagnitude3[0] * kMagnitude3[0];
      scale = sums.product / sums.length;
    }
    for (int64_t c = 0; c < exact.cols; ++c) {
      const float w = weights[static_cast<size_t>(c)];
      const int code = nearest(std::fabs(w) * inverse) + (w < 0 ? 4 : 0);
      const Place& at = kPlaces[static_cast<size_t>(c % kBlockCols)];
      std::byte* super = out + c / kBlockCols * kCoarseSuperblock + r * 4;
      super[at.byte] |= static_cast<std::byte>(code << at.shift & 0xff);
      if (at.bits < 3) super[at.next] |= static_cast<std::byte>(code >> at.bits << 6);
    }
    row_scale[r] = static_cast<float>(scale);
    const double errors = std::max(0.0, squares - scale * sums.product), noise = kCoarseNoise * scale;
    error[r] = static_cast<float>(std::sqrt(errors + noise * noise * sums.length));
  }
}

}  // namespace zaya::ops
