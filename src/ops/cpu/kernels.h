// The inner loops of the cpu backend: one source (zaya_kernels in CMakeLists.txt), compiled once per instruction set,
// reached through a table that is chosen when the backend is made. All arithmetic is FP32.
//
// Each output is one chain of multiply-adds over its own inputs in index order, whatever the tile it was computed in,
// so a token's result does not depend on how many tokens share the call.
#pragma once

#include <cstdint>

#include "cpu/isa.h"
#include "ops/packed/layout.h"
#include "ops/types.h"

namespace zaya::ops {

struct SoftmaxSums {
  float greatest = 0, total = 0;
};

// What bounds the greatest of some exact logits from below and from above.
struct LogitBounds {
  float lower = 0, upper = 0;
};

struct Kernels {
  // out[t · out_stride + r] = dot(W row r, x row t) · row_scale[r] + bias[r] for r in [0, rows), t in [0, n).
  // row_scale and bias may be null. scratch holds matmul_scratch(cols) floats of the calling worker.
  void (*matmul)(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale,
                 const float* bias, const float* x, int64_t n, float* out, int64_t out_stride, float* scratch);

  // The same with packed weights, from a block's first row on. scratch holds packed_scratch(cols) floats.
  void (*packed_matmul)(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale,
                        const float* bias, const float* x, int64_t n, float* out, int64_t out_stride, float* scratch);

  // scores[g · stride + j] = dot(query g, key j): `group` queries [group, dim], `count` slots of keys one after
  // another.
  void (*scores)(KvType type, const float* queries, int64_t group, const std::byte* keys, int64_t count, int64_t dim,
                 float* scores, int64_t stride);

  // Turns x[0, n) into exp(scale · (x − max)) in place; returns scale · max and the sum.
  SoftmaxSums (*softmax_weights)(float* x, int64_t n, float scale);

  // out[g, d] += Σ_j weights[g · stride + j] · value[j, d], `count` slots of values one after another.
  void (*weighted_values)(KvType type, const float* weights, int64_t stride, int64_t group, const std::byte* values,
                          int64_t count, int64_t dim, float* out);

  // What happens to one token's activations between products (elementwise_isa.cc): rows of n numbers, or heads of dim.

  // gate[i] = silu(gate[i]) · up[i].
  void (*silu_mul)(float* gate, const float* up, int64_t n);

  // x[i] = x[i] · Φ(x[i]), GELU with the error function, off by at most 1.5e-7 times the greater of 1 and itself.
  void (*gelu)(float* x, int64_t n);

  // Σ x².
  float (*sum_squares)(const float* x, int64_t n);

  // out[i] = x[i] · factor · weight[i].
  void (*normalise)(const float* x, float factor, const float* weight, float* out, int64_t n);

  // Backend::merge; returns sum_squares(residual).
  float (*merge)(const ResidualScales& scales, const float* branch, float* residual, int64_t n);

  // state[i] = down[i] + state[i] · scale[i], or down[i] where scale is null; returns sum_squares(state).
  float (*add_state)(const float* down, const float* scale, float* state, int64_t n);

  // out[i] = factor · x[i], and out[i] += factor · x[i].
  void (*scaled)(const float* x, float factor, float* out, int64_t n);
  void (*add_scaled)(const float* x, float factor, float* out, int64_t n);

  // out[s, d] = bias[d] + Σ over taps of weights[tap, d] · x[(s + tap) · stride + d]: `steps` of one head's depthwise
  // convolution.   weights [taps, dim], out [steps, dim]
  void (*depthwise)(const float* x, int64_t stride, const float* weights, int64_t taps, const float* bias,
                    int64_t steps, int64_t dim, float* out);

  // out[d] += the mean over g of (x[g, d] + y[d]) / 2; returns sum_squares(out).   x [group, dim]
  float (*add_mean)(const float* x, int64_t group, const float* y, float* out, int64_t dim);

  // out = factor · x, in which the pairs (d, d + half), d < half, are turned by their angle's cos and sin. out may be
  // x.
  void (*rotate)(const float* x, float factor, const float* cos, const float* sin, int64_t half, float* out,
                 int64_t dim);

  // The greatest of logits[i] − margin · error[i], and of logits[i] + margin · error[i], n ≥ 1.
  LogitBounds (*logit_bounds)(const float* logits, const float* error, float margin, int64_t n);

  // As store_kv does for bf16.
  void (*round_bf16)(const float* x, std::byte* out, int64_t n);

  // Does `iterations` rounds of independent multiply-adds on registers alone; returns the FP32 operations done.
  double (*busy)(int64_t iterations);
};

// Weight rows that matmul takes at a time; splitting rows between workers at multiples of it wastes nothing.
inline constexpr int64_t kRowTile = 8;

constexpr int64_t matmul_scratch(int64_t cols) { return kRowTile * cols; }

// Tokens that one decoding of packed weights into registers serves, and one into memory, at most; columns decoded to
// memory at a time; the floats between the copies of few tokens; and the bytes of a superblock in memory, its scales
// and FP32 codes.
inline constexpr int kPackedTokens = 12, kSlabTokens = 96;
inline constexpr int64_t kSlabCols = 256;
inline constexpr int64_t kWideBytes = kScaleBytes + kBlockRows * kBlockCols * 4;
constexpr int64_t packed_stride(int64_t cols) { return superblocks_of(cols) * kBlockCols + 16; }
constexpr int64_t packed_scratch(int64_t cols) {
  const int64_t few = kPackedTokens * packed_stride(cols);
  const int64_t many = kSlabTokens * (kBlockRows + kBlockCols) + kSlabCols / kBlockCols * kWideBytes / 4;
  return few > many ? few : many;
}

// The kernels built for `isa`, or for the best lower one that was built; and the name of that one.
const Kernels& kernels_for(cpu::Isa isa);
const char* vectors_name(cpu::Isa isa);

}  // namespace zaya::ops
