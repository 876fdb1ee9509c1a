// The network's operations on the CPU as few passes over memory as they need: libtorch's matrix products, and the loops
// of kernels/ between them, each with a gradient written by hand. Same results as ops.h, to rounding; the tests
// compare.
#pragma once

#include <torch/types.h>

#include <utility>

#include "train/torch/network.h"

namespace zaya::train::fused {

// Whether this layer's shape is one that the fused CCA covers: no projection biases, at most 8 query heads a key head.
bool covers(const Architecture& architecture);

struct Normed {
  Tensor stream, normed;  // [N, H] FP32; [N, H] in the type that products compute in
};

// ops::merge and then ops::rms_norm; without a branch (undefined) only the norm, and the stream is `residual` itself.
Normed merge_norm(const Tensor& branch, const Tensor& residual, const MergeWeights& merge, const Tensor& norm,
                  double epsilon, bool bf16);

// The batch as the loops read it.
struct Layout {
  Tensor positions;  // [N] int32
  Tensor cos, sin;   // [N, rotary dims / 2]
};

// CCA up to the output projection: x [N, H] in the computing type; result [N, Q·D].
Tensor cca(const Tensor& x, const LayerWeights& w, const Architecture& architecture, const Batch& batch,
           const Layout& layout, int64_t window);

// ops::experts for one expert per token.
Tensor experts(const Tensor& x, const Tensor& choice, const Tensor& weight, const Tensor& gate_up, const Tensor& down);

// x Wᵀ for the head, and the loss.
Tensor head_loss(const Tensor& x, const Tensor& head, const Tensor& targets, Tensor* losses);

}  // namespace zaya::train::fused
