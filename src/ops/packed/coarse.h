// A copy of the LM head's matrix in 3 bits a weight, for the head's first stage (Backend::head):
//
//   W[r, c] ≈ table3(code) · row_scale[r] · column_scale[c]
//
// A column's scale is the root mean square of its weights, so that a few great columns do not cost the others their
// precision; it goes into the activation. A row's is the one with the least squared error. There is nothing else to
// multiply with, so a logit is one sum of products of small integers, the same on every instruction set.
//
// The layout is that of packed matrices (layout.h): blocks of 16 rows, superblocks of 64 columns. For each 32 columns a
// superblock has three vectors of 64 bytes; byte 4r + j of each belongs to row r and to column j of every four. Bits
// 0–2 and 3–5 of the three bytes are the codes of the first six fours, bits 6–7 of all three those of the seventh and
// eighth: a decoder needs one shift, one mask and one table look-up for 64 weights.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/packed/layout.h"

namespace zaya::ops {

// Bit 2 of a code is the sign, the lower bits choose the magnitude: near those that are best for normal weights (Max,
// 1960). So small that four products with 8-bit activations, weights kCoarseOffset too high, fit 16 bits.
inline constexpr int kMagnitude3[4] = {2, 5, 9, 15};
inline constexpr int kCoarseOffset = 16;
constexpr int table3(int code) { return (code & 4) != 0 ? -kMagnitude3[code & 3] : kMagnitude3[code & 3]; }

constexpr int64_t kCoarseSuperblock = kBlockRows * kBlockCols * 3 / 8;  // bytes
constexpr int64_t coarse_block_bytes(int64_t cols) { return superblocks_of(cols) * kCoarseSuperblock; }
constexpr int64_t coarse_bytes(int64_t rows, int64_t cols) { return blocks_of(rows) * coarse_block_bytes(cols); }

// What the rounding of activations to 8 bits adds to a row's errors, as a part of the row's length. A token whose
// rounding is worse has wider margins.
inline constexpr float kCoarseNoise = 0.03f;

// column_scale[cols] of a matrix of type q8: from some thousand of its rows, the same ones each time.
void coarse_columns(const Matrix& exact, float* column_scale);

// Rows [first, first + 16) of `exact` (q8), as many as there are. `out` receives coarse_block_bytes(cols), row_scale
// and error a float for each row. The error is √Σ((W / column_scale − copy)² + (kCoarseNoise · copy)²): of the copy
// without its columns' scales.
void coarsen_block(const Matrix& exact, int64_t first, const float* column_scale, std::byte* out, float* row_scale,
                   float* error);

// The code of row r (0 … 15 within its block), column c.
int coarse_code(const std::byte* block, int64_t r, int64_t c);

}  // namespace zaya::ops
