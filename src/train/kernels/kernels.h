// Fused operations on rows of tokens for the CPU, as loops over plain memory: what is left of the network beside its
// matrix products. Each does in one pass over memory what compositions of tensor operations do in ten to thirty; at the
// sizes of small models memory is what training waits for.
//
// All work on a range of tokens, so that threads can share a call, and take T = float or Bf16 for the activations that
// matrix products read and write. Sums and everything between are FP32. ops.cc holds the definitions.
#pragma once

#include <cstdint>

#include "train/kernels/values.h"

namespace zaya::train::kernels {

struct Range {
  int64_t begin, end;
};

// ---- merge_norm.cc: stream' = (branch + b_h)·s_h + (residual + b_r)·s_r; normed = RMSNorm(stream')

struct MergeVectors {
  const float *branch_scale, *branch_bias, *residual_scale, *residual_bias;  // [width] each
};

// Without a branch (null) the stream is the residual and only the norm is computed. rstd [rows].
template <class T>
void merge_norm(Range rows, int64_t width, const T* branch, const float* residual, const MergeVectors& merge,
                const float* norm, float epsilon, float* stream, T* normed, float* rstd);

// sums [6 × width] accumulates what the vectors' gradients are made of: g·x̂ (norm), Σg, Σg·branch, Σg·residual; the
// last two rows are scratch. dstream (may be null) is the gradient that reaches the merged stream past the norm.
template <class T>
void merge_norm_backward(Range rows, int64_t width, const T* branch, const float* residual, const MergeVectors& merge,
                         const float* norm, const float* stream, const float* rstd, const T* dnormed,
                         const float* dstream, T* dbranch, float* dresidual, float* sums);

// ---- cca.cc: between the projections and the attention

struct CcaShape {
  int64_t tokens, heads, kv_heads, dim, taps, rotary_half;
  int64_t groups() const { return heads + kv_heads; }
  int64_t row() const { return (heads + 2 * kv_heads) * dim; }  // q0, k0, current values, delayed values
};

// projected [N, row]; positions [N]. columns [groups, N, taps·D]: the last `taps` c0 of each token, zeros before its
// document's start, oldest first.
template <class T>
void cca_columns(Range tokens, const CcaShape& shape, const T* projected, const int32_t* positions, T* columns);

// mixed [groups, N, D]: the convolved channels without their constant [groups·D]. cos, sin [N, rotary_half].
// q [heads, N, D], k and v [kv_heads, N, D].
template <class T>
void cca_mix(Range tokens, const CcaShape& shape, const T* projected, const int32_t* positions, const T* mixed,
             const float* constant, const float* temp, const float* cos, const float* sin, T* q, T* k, T* v);

// dmixed as mixed; dprojected gets all but the convolution's part. sums [groups·D + kv_heads] accumulates the gradients
// of constant and temp.
template <class T>
void cca_mix_backward(Range tokens, const CcaShape& shape, const T* projected, const int32_t* positions, const T* mixed,
                      const float* constant, const float* temp, const float* cos, const float* sin, const T* dq,
                      const T* dk, const T* dv, T* dmixed, T* dprojected, float* sums);

// Adds the convolution's part: dcolumns gathered back to the tokens they came from.
template <class T>
void cca_columns_backward(Range tokens, const CcaShape& shape, const int32_t* positions, const T* dcolumns,
                          T* dprojected);

// ---- experts.cc

// out[r] = silu(gate) · up for hidden [rows, 2·width], gate first.
template <class T>
void swiglu(Range rows, int64_t width, const T* hidden, T* out);

// dhidden from dout, and `out` once more (the down projection's gradient reads it).
template <class T>
void swiglu_backward(Range rows, int64_t width, const T* hidden, const T* dout, T* dhidden, T* out);

// The rows of one expert are padded to a multiple, so that products come in few shapes: index −1 is such a row, which
// is zero where it is read and is written nowhere.

// to[r] = from[index[r]].
template <class T>
void gather(Range rows, int64_t width, const int64_t* index, const T* from, T* to);

// to[index[r]] = weight[index[r]] · from[r]; a null weight is one.
template <class T>
void scatter_weighted(Range rows, int64_t width, const int64_t* index, const float* weight, const T* from, T* to);

// dys[r] = weight[index[r]] · dout[index[r]]; dweight[index[r]] = dout[index[r]] · ys[r].
template <class T>
void gather_weighted(Range rows, int64_t width, const int64_t* index, const float* weight, const T* dout, const T* ys,
                     T* dys, float* dweight);

// ---- the loss (experts.cc)

// losses[r] = −log softmax(logits[r])[targets[r]]; logits become softmax − onehot, the gradient.
// A negative target is no row: both are zero.
template <class T>
void cross_entropy(Range rows, int64_t classes, const int64_t* targets, T* logits, float* losses);

}  // namespace zaya::train::kernels
