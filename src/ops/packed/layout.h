// How packed weights lie in memory. One layout per format serves the one-row and the many-row products on every
// instruction set: 16 output rows side by side, so that a vector's lanes are rows and a scale is a vector.
//
// A packed matrix is a sequence of blocks of 16 rows (the last one padded with zeros); a block is a sequence of
// superblocks of 64 columns (padded with zeros too). A superblock of
//   q4   576 bytes: scales [4 groups][16 rows], then per 8 columns one 32-bit word per row: column j in bits 4j…4j+3
//   q8  1088 bytes: scales [4 groups][16 rows], then per 4 columns one 32-bit word per row: column j in byte j
//   b16 2048 bytes: per 2 columns one 32-bit word per row: BF16 of the even column in the low half, the odd in the high
// A group is 16 columns of one row. Its scale is a byte: 4 bits of exponent, 4 of mantissa (decode_scale), relative to
// the row's FP32 factor, Matrix::row_scale.
//   q4: W = table4[code] · scale · row factor      4.5 bits a weight
//   q8: W = code · scale · row factor              8.5 bits a weight
// Small groups with coarse scales beat large groups with fine ones at equal bits (docs/performance.md has the figures).
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/types.h"

namespace zaya::ops {

inline constexpr int64_t kBlockRows = 16;
inline constexpr int64_t kBlockCols = 64;
inline constexpr int64_t kGroupCols = 16;
inline constexpr int64_t kScaleBytes = kBlockRows * kBlockCols / kGroupCols;  // of one superblock

// The 4-bit code's values: bit 3 is the sign, the lower bits choose the magnitude. Denser near zero, as weights are.
inline constexpr int kMagnitude4[8] = {6, 18, 31, 45, 60, 77, 98, 127};

constexpr int table4(int code) { return (code & 8) != 0 ? -kMagnitude4[code & 7] : kMagnitude4[code & 7]; }

// 2^(e−15) · (1 + m/16) for code = e·16 + m: from 2^−15 to 1.9375. A group of zeros gets code 0.
float decode_scale(uint8_t code);

constexpr int64_t superblock_bytes(WeightType type) {
  switch (type) {
    case WeightType::q4: return kScaleBytes + kBlockRows * kBlockCols / 2;
    case WeightType::q8: return kScaleBytes + kBlockRows * kBlockCols;
    case WeightType::b16: return kBlockRows * kBlockCols * 2;
    default: return 0;
  }
}

constexpr int64_t blocks_of(int64_t rows) { return (rows + kBlockRows - 1) / kBlockRows; }
constexpr int64_t superblocks_of(int64_t cols) { return (cols + kBlockCols - 1) / kBlockCols; }

// Bytes of one block of 16 rows, and of the whole matrix.
constexpr int64_t block_bytes(WeightType type, int64_t cols) { return superblocks_of(cols) * superblock_bytes(type); }
constexpr int64_t packed_bytes(WeightType type, int64_t rows, int64_t cols) {
  return blocks_of(rows) * block_bytes(type, cols);
}

}  // namespace zaya::ops
