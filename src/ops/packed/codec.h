// Turns FP32 weights into packed ones and back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/packed/layout.h"

namespace zaya::ops {

// Packs one block: `rows` ≤ 16 rows of FP32 [rows, cols] into block_bytes(type, cols) bytes, and their factors into
// row_scale[rows]. Scales and codes are chosen to make Σ importance[c] · (W − packed W)² small; `importance` [cols] may
// be null (all equal). Weights must be finite. b16 rounds to nearest even; its factors are 1.
void pack_block(WeightType type, const float* weights, int64_t rows, int64_t cols, const float* importance,
                std::byte* out, float* row_scale);

// The stored value of row r (0…15 within its block), column c, without the row's factor.
float unpack_weight(WeightType type, const std::byte* block, int64_t r, int64_t c);

}  // namespace zaya::ops
