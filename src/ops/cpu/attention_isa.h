// Attention by vectors, one copy per instruction set: the entries of Kernels by these names.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/cpu/kernels.h"

namespace zaya::ops::ZAYA_ISA {

void scores(KvType type, const float* queries, int64_t group, const std::byte* keys, int64_t count, int64_t dim,
            float* out, int64_t stride);
SoftmaxSums softmax_weights(float* x, int64_t n, float scale);
void weighted_values(KvType type, const float* weights, int64_t stride, int64_t group, const std::byte* values,
                     int64_t count, int64_t dim, float* out);

}  // namespace zaya::ops::ZAYA_ISA
