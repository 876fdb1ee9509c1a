#include "ops/packed/codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

namespace zaya::ops {
namespace {

constexpr int kGroupsPerSuper = static_cast<int>(kBlockCols / kGroupCols);

uint32_t word_at(const std::byte* bytes, int64_t index) {
  uint32_t word;
  std::memcpy(&word, bytes + index * 4, 4);
  return word;
}

void store_word_at(std::byte* bytes, int64_t index, uint32_t word) { std::memcpy(bytes + index * 4, &word, 4); }

constexpr std::array<float, 16> make_values4() {
  std::array<float, 16> values{};
  for (int code = 0; code < 16; ++code) values[static_cast<size_t>(code)] = static_cast<float>(table4(code));
  return values;
}
constexpr std::array<float, 16> kValues4 = make_values4();

// Where one magnitude of the 4-bit table gives way to the next.
constexpr float threshold4(int i) { return 0.5f * static_cast<float>(kMagnitude4[i] + kMagnitude4[i + 1]); }

// The 4-bit code nearest to v.
uint32_t code4(float v) {
  uint32_t code = 0;
  for (int i = 0; i < 7; ++i) code += std::fabs(v) > threshold4(i) ? 1 : 0;
  return v < 0 ? code + 8 : code;
}

// The integer nearest to v within ±127. Adding 1.5·2^23 leaves it in the low bits of the sum.
constexpr float kRound = 12582912.0f;
inline float round8(float v) { return (std::min(127.0f, std::max(-127.0f, v)) + kRound) - kRound; }

// Σ importance · (w − stored)² of one group at scale s. Loops without branches over arrays, so that they are
// vectorised.
template <bool Four>
float group_error(const float* w, const float* importance, float s) {
  const float inverse = 1.0f / s;
  float error[kGroupCols];
  for (int64_t i = 0; i < kGroupCols; ++i) {
    float value;
    if constexpr (Four) {
      const float v = std::fabs(w[i]) * inverse;
      value = static_cast<float>(kMagnitude4[0]);
      for (int m = 0; m < 7; ++m) {
        value += v > threshold4(m) ? static_cast<float>(kMagnitude4[m + 1] - kMagnitude4[m]) : 0.0f;
      }
      value = std::fabs(w[i]) - value * s;
    } else {
      value = w[i] - round8(w[i] * inverse) * s;
    }
    error[i] = importance[i] * value * value;
  }
  for (int64_t width = kGroupCols / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) error[i] += error[i + width];
  }
  return error[0];
}

// The scale code with the least error: around the one that maps the group's greatest magnitude to 127. A 4-bit group
// may gain by clipping its greatest weight, or by stretching it past the last table value; an 8-bit one hardly.
template <bool Four>
uint8_t best_scale(const float* w, const float* importance, float row_factor) {
  float greatest = 0;
  for (int64_t i = 0; i < kGroupCols; ++i) greatest = std::max(greatest, std::fabs(w[i]));
  if (greatest == 0 || row_factor == 0) return 0;
  const float wanted = greatest / 127.0f / row_factor;
  // The scale's bits are a float's: its upper byte and a bit more, from 2^−15 on.
  const auto bits = static_cast<int64_t>(std::bit_cast<uint32_t>(wanted));
  const int code = static_cast<int>(std::clamp<int64_t>(((bits + (1 << 18)) >> 19) - (112 << 4), 0, 255));
  int best = code;
  float least = -1;
  for (int c = std::max(0, code - (Four ? 8 : 1)); c <= std::min(255, code + (Four ? 4 : 1)); ++c) {
    const float error = group_error<Four>(w, importance, decode_scale(static_cast<uint8_t>(c)) * row_factor);
    if (least < 0 || error < least) {
      least = error;
      best = c;
    }
  }
  return static_cast<uint8_t>(best);
}

uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace

float decode_scale(uint8_t code) { return std::bit_cast<float>((static_cast<uint32_t>(code) << 19) + (112u << 23)); }

void pack_block(WeightType type, const float* weights, int64_t rows, int64_t cols, const float* importance,
                std::byte* out, float* row_scale) {
  std::memset(out, 0, static_cast<size_t>(block_bytes(type, cols)));
  const int64_t padded = superblocks_of(cols) * kBlockCols;
  std::vector<float> row(static_cast<size_t>(padded)), weight(static_cast<size_t>(padded), 1.0f);
  if (importance != nullptr) std::copy_n(importance, cols, weight.begin());

  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(weights + r * cols, cols, row.begin());
    float greatest = 0;
    for (float v : row) greatest = std::max(greatest, std::fabs(v));
    // The greatest scale code, 1.9375, maps to a quarter more than the row's greatest weight needs.
    row_scale[r] = type == WeightType::b16 ? 1.0f : greatest / 127.0f * 1.25f / 1.9375f;
    for (int64_t s = 0; s < padded / kBlockCols; ++s) {
      std::byte* super = out + s * superblock_bytes(type);
      const float* w = row.data() + s * kBlockCols;
      if (type == WeightType::b16) {
        for (int64_t c = 0; c < kBlockCols; c += 2) {
          store_word_at(super, c / 2 * kBlockRows + r, to_bf16(w[c]) | static_cast<uint32_t>(to_bf16(w[c + 1])) << 16);
        }
        continue;
      }
      const bool four = type == WeightType::q4;
      for (int g = 0; g < kGroupsPerSuper; ++g) {
        const float* group = w + g * kGroupCols;
        const float* group_weight = weight.data() + s * kBlockCols + g * kGroupCols;
        const uint8_t scale_code = four ? best_scale<true>(group, group_weight, row_scale[r])
                                        : best_scale<false>(group, group_weight, row_scale[r]);
        super[g * kBlockRows + r] = std::byte{scale_code};
        const float scale = decode_scale(scale_code) * row_scale[r];
        const float inverse = scale == 0 ? 0 : 1.0f / scale;
        const int64_t per_word = four ? 8 : 4;
        for (int64_t i = 0; i < kGroupCols; i += per_word) {
          uint32_t word = 0;
          for (int64_t j = 0; j < per_word; ++j) {
            const float v = group[i + j] * inverse;
            const uint32_t code = four ? code4(v) : static_cast<uint32_t>(static_cast<int>(round8(v))) & 0xffu;
            word |= code << (j * (32 / per_word));
          }
          store_word_at(super + kScaleBytes, (g * kGroupCols + i) / per_word * kBlockRows + r, word);
        }
      }
    }
  }
}

float unpack_weight(WeightType type, const std::byte* block, int64_t r, int64_t c) {
  const std::byte* super = block + c / kBlockCols * superblock_bytes(type);
  c %= kBlockCols;
  if (type == WeightType::b16) {
    return std::bit_cast<float>(word_at(super, c / 2 * kBlockRows + r) >> (c % 2 * 16) << 16);
  }
  const float scale = decode_scale(static_cast<uint8_t>(super[c / kGroupCols * kBlockRows + r]));
  if (type == WeightType::q4) {
    const uint32_t code = word_at(super + kScaleBytes, c / 8 * kBlockRows + r) >> (c % 8 * 4) & 15u;
    return kValues4[code] * scale;
  }
  const uint32_t byte = word_at(super + kScaleBytes, c / 4 * kBlockRows + r) >> (c % 4 * 8);
  return static_cast<float>(static_cast<int8_t>(byte)) * scale;
}

}  // namespace zaya::ops
