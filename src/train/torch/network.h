// The ZAYA1 network with gradients, over a batch of whole documents laid end to end.
//
// Tokens of all documents form one dimension of N; nothing is padded. Attention, the convolutions and the delayed value
// look back inside a token's own document only, so a packed batch computes what its documents would compute alone.
// The formulas and their names are those of docs/model.md, section 4.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "train/architecture.h"
#include "train/torch/weights.h"

namespace zaya::train {

// What a forward pass reads. All tensors on the weights' device.
struct Batch {
  Tensor tokens;                // [N] int64
  Tensor positions;             // [N] int64: 0 at the start of each document
  std::vector<int64_t> starts;  // first token of each document, and N at the end
  Tensor target_rows;           // [M] int64: positions whose next token counts in the loss
  Tensor targets;               // [M] int64: those next tokens

  int64_t size() const { return starts.back(); }
  int64_t padding = 0;  // tokens at the end that are no example's: a document of their own, and in no load
};

// Builds a batch from documents; loss[d][t] says whether predicting document d's token t counts (t = 0 never does).
// The tokens' number is padded to a multiple of `multiple`.
Batch make_batch(const std::vector<std::vector<int32_t>>& documents, const std::vector<std::vector<uint8_t>>& loss,
                 int64_t multiple = 1, torch::Device device = torch::kCPU);

// How to compute.
struct Compute {
  // Matrix products of projections, experts and the head in BF16 with FP32 sums. The stream, norms, the lengths of
  // queries and keys, softmaxes, the router and the loss stay FP32, whatever this says.
  bool bf16 = false;
  // The CPU's fused operations (fused.h) instead of compositions of torch's own; ignored on other devices.
  bool fused = true;
  // Keep only each layer's input for the backward pass and compute the layer again there.
  bool checkpoint_layers = false;
};

struct ForwardResult {
  Tensor hidden;              // [N, H]: after the final norm
  std::vector<Tensor> loads;  // per layer [E + 1] int64: how many tokens chose each class
  // What the backward pass of checkpointed layers reads, beside weights, architecture and batch: keep all until then.
  std::shared_ptr<void> tape;
};

ForwardResult forward(const Weights& weights, const Architecture& architecture, const Batch& batch,
                      const Compute& compute);

// [rows of hidden, V] FP32.
Tensor logits(const Weights& weights, const Tensor& hidden, const Compute& compute);

// The sum over the targets of −log p(target): [], FP32. `losses`, when given, receives the terms [M], without a graph.
Tensor loss_sum(const Weights& weights, const Architecture& architecture, const Tensor& hidden, const Batch& batch,
                const Compute& compute, Tensor* losses = nullptr);

}  // namespace zaya::train
