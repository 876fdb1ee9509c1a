// Products with packed weights, one copy per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/types.h"

namespace zaya::ops::ZAYA_ISA {

// Kernels::packed_matmul.
void packed_matmul(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale,
                   const float* bias, const float* x, int64_t n, float* out, int64_t out_stride, float* scratch);

}  // namespace zaya::ops::ZAYA_ISA
