// What happens to activations between products, one copy per instruction set: the entries of Kernels by these names.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/cpu/kernels.h"
#include "ops/types.h"

namespace zaya::ops::ZAYA_ISA {

void silu_mul(float* gate, const float* up, int64_t n);
void gelu(float* x, int64_t n);
float sum_squares(const float* x, int64_t n);
void normalise(const float* x, float factor, const float* weight, float* out, int64_t n);
float merge(const ResidualScales& scales, const float* branch, float* residual, int64_t n);
float add_state(const float* down, const float* scale, float* state, int64_t n);
void scaled(const float* x, float factor, float* out, int64_t n);
void add_scaled(const float* x, float factor, float* out, int64_t n);
void depthwise(const float* x, int64_t stride, const float* weights, int64_t taps, const float* bias, int64_t steps,
               int64_t dim, float* out);
float add_mean(const float* x, int64_t group, const float* y, float* out, int64_t dim);
void rotate(const float* x, float factor, const float* cos, const float* sin, int64_t half, float* out, int64_t dim);
LogitBounds logit_bounds(const float* logits, const float* error, float margin, int64_t n);
void round_bf16(const float* x, std::byte* out, int64_t n);

}  // namespace zaya::ops::ZAYA_ISA
