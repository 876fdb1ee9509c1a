#include "ops/packed/coarse.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>

namespace zaya::ops {
namespace {

// For each 8-bit code: the nearest 4-bit code, and the square of what that errs by.
struct Nearest {
  std::array<uint8_t, 256> code{};
  std::array<float, 256> squared{};

  constexpr Nearest() {
    for (int byte = 0; byte < 256; ++byte) {
      const int value = byte < 128 ? byte : byte - 256, magnitude = value < 0 ? -value : value;
      int best = 0;
      for (int i = 1; i < 8; ++i) {
        if (distance(magnitude, i) < distance(magnitude, best)) best = i;
      }
      code[static_cast<size_t>(byte)] = static_cast<uint8_t>(value < 0 ? best + 8 : best);
      const float rounding = static_cast<float>(distance(magnitude, best));
      const float noise = kCoarseNoise * static_cast<float>(kMagnitude4[best]);
      squared[static_cast<size_t>(byte)] = rounding * rounding + noise * noise;
    }
  }
  static constexpr int distance(int magnitude, int i) {
    return magnitude < kMagnitude4[i] ? kMagnitude4[i] - magnitude : magnitude - kMagnitude4[i];
  }
};
constexpr Nearest kNearest;

}  // namespace

void coarsen_block(const std::byte* q8, int64_t cols, std::byte* q4, float* error) {
  float squares[kBlockRows] = {};
  for (int64_t s = 0; s < superblocks_of(cols); ++s) {
    const std::byte* from = q8 + s * superblock_bytes(WeightType::q8);
    std::byte* to = q4 + s * superblock_bytes(WeightType::q4);
    std::memcpy(to, from, static_cast<size_t>(kScaleBytes));
    for (int64_t group = 0; group < kBlockCols / kGroupCols; ++group) {
      float group_squares[kBlockRows] = {};
      for (int64_t half = 0; half < 2; ++half) {  // of a group: 8 columns, one word of q4 or two of q8 per row
        uint8_t bytes[2][kBlockRows][4];
        std::memcpy(bytes, from + kScaleBytes + (group * 2 + half) * 2 * kBlockRows * 4, sizeof bytes);
        uint32_t words[kBlockRows];
        for (int64_t r = 0; r < kBlockRows; ++r) {
          uint32_t word = 0;
          for (int j = 0; j < 8; ++j) {
            const uint8_t code = bytes[j / 4][r][j % 4];
            word |= static_cast<uint32_t>(kNearest.code[code]) << (4 * j);
            group_squares[r] += kNearest.squared[code];
          }
          words[r] = word;
        }
        std::memcpy(to + kScaleBytes + (group * 2 + half) * kBlockRows * 4, words, sizeof words);
      }
      for (int64_t r = 0; r < kBlockRows; ++r) {
        const float scale = decode_scale(static_cast<uint8_t>(from[group * kBlockRows + r]));
        squares[r] += group_squares[r] * scale * scale;
      }
    }
  }
  for (int64_t r = 0; r < kBlockRows; ++r) error[r] = std::sqrt(squares[r]);
}

}  // namespace zaya::ops
