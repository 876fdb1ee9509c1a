// The parameters of a ZAYA1 network as tensors, in the native layout's names and shapes (docs/model.md, section 3).
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "train/architecture.h"

namespace zaya::train {

using torch::Tensor;

// What an optimizer does with a parameter. arXiv 2605.05365 puts Muon on the 2-D weights and AdamW on embeddings,
// convolutions, norms, residual scales and temperatures; the router's last matrix counts classes and is with AdamW too.
enum class ParameterKind { matrix, embedding, convolution, vector, balancing };

struct MergeWeights {
  Tensor branch_scale, branch_bias, residual_scale, residual_bias;  // [H] each
};

struct LayerWeights {
  Tensor input_norm;                                              // [H]
  Tensor q, k, v_current, v_delayed, o;                           // [Q·D, H], [K·D, H], [K·D/2, H] twice, [H, Q·D]
  Tensor q_bias, k_bias, v_current_bias, v_delayed_bias, o_bias;  // undefined without attention_bias
  Tensor depthwise, depthwise_bias;                               // [C, 1, time0], [C]
  Tensor grouped, grouped_bias;                                   // [C, D, time1], [C]
  Tensor temp;                                                    // [K]
  MergeWeights after_attention;
  Tensor expert_norm;                                               // [H]
  Tensor router_down, router_down_bias;                             // [R, H], [R]
  Tensor router_state_scale;                                        // [R]; undefined in layer 0
  Tensor router_norm;                                               // [R]
  Tensor router_fc1, router_fc1_bias, router_fc2, router_fc2_bias;  // [R, R], [R]
  Tensor router_out;                                                // [E + 1, R]; [E + 1, H] with the linear router
  Tensor balancing_biases;                                          // [E + 1], no gradient
  Tensor gate_up, down;                                             // [E, 2I, H] (gate rows first), [E, H, I]
  MergeWeights after_experts;
};

struct Weights {
  Tensor embedding;                // [V, H]
  Tensor input_scale, input_bias;  // [H]
  std::vector<LayerWeights> layers;
  Tensor norm;       // [H]
  Tensor head;       // [V, H]; undefined when tied
  Tensor head_bias;  // [V]; undefined without lm_head_bias
};

struct NamedParameter {
  std::string name;
  ParameterKind kind;
  Tensor* tensor;
};

// Every parameter that the architecture has, in the order of the file. Pointers into `weights`.
std::vector<NamedParameter> parameters(Weights& weights, const Architecture& architecture);

// The shape of each of parameters(), by name.
std::vector<int64_t> parameter_shape(const Architecture& architecture, const std::string& name);

// Fresh FP32 weights. Scales are one, biases zero, `temp` one (transformers' zero would erase the keys), the skip
// class's bias −1. Matrices are normal with deviation 1/√inputs, those that write to the stream scaled by
// 1/√(2·layers); the embedding's deviation is `embedding_deviation`.
Weights initial_weights(const Architecture& architecture, uint64_t seed, double embedding_deviation = 0.02);

// The checkpoint's weights in FP32.
Result<Weights> load_weights(const checkpoint::Checkpoint& checkpoint);

// Writes config.json and model.safetensors in the native layout, BF16 or FP32; each file is replaced whole.
// invalid_argument for architectures that are not ZAYA1.
Status save_checkpoint(const std::filesystem::path& directory, const Architecture& architecture, Weights& weights,
                       bool bf16);

// Writes tensors of any float type as FP32, or as BF16.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};
Status save_tensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors, bool bf16 = false,
                    const std::map<std::string, std::string>& metadata = {});

// Turns gradients on for all but the balancing biases (and, without residual scaling, the merges).
void require_gradients(Weights& weights, const Architecture& architecture);

}  // namespace zaya::train
