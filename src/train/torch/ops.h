// The operations of the network with their gradients. Each is written once as a composition of torch's own operations,
// which is the definition and runs on any device; fused.h has faster forms for the CPU.
#pragma once

#include <torch/types.h>

#include <vector>

#include "train/torch/network.h"

namespace zaya::train::ops {

// x · rsqrt(mean(x²) + ε) · w, over the last dimension; FP32 inside, FP32 out.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double epsilon);

// (branch + b_h)·s_h + (residual + b_r)·s_r in FP32.
Tensor merge(const Tensor& branch, const Tensor& residual, const MergeWeights& w);

// x Wᵀ + b; in BF16 when asked for. The result has the type computed in.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool bf16);

// Row t of the result is row t − steps of x, or `fill` (a row; undefined: zeros) in the first `steps` of a document.
Tensor shifted(const Tensor& x, int64_t steps, const Tensor& fill, const Batch& batch);

// c0 [N, C] to the convolved [N, C]: steps 2 and 3 of CCA, left edge included.
Tensor convolve(const Tensor& c0, const LayerWeights& w, const Batch& batch, int64_t heads, bool bf16);

// Scales rows of [N, heads, D] to the length √D in FP32.
Tensor to_length(const Tensor& x);

// Rotates the leading 2·R dims of [N, heads, D] by the angles whose cos and sin are [N, R].
Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin);

// Causal softmax attention inside each document. q [N, Q, D], k and v [N, K, D]; window 0 = none; result [N, Q·D].
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Batch& batch, int64_t window);

// Expert FFNs of the chosen classes, times their weights. x [N, H]; choice [N, k] int64, class E = skip;
// weight [N, k] FP32; result [N, H] of x's type.
Tensor experts(const Tensor& x, const Tensor& choice, const Tensor& weight, const Tensor& gate_up, const Tensor& down,
               bool bf16);

// Sum of −log softmax(logits)[target]. `losses`, when given, receives the terms, without a graph.
Tensor cross_entropy_sum(const Tensor& logits, const Tensor& targets, Tensor* losses);

}  // namespace zaya::train::ops
