// A model's tensors in the form that the operations take.
#pragma once

#include <vector>

#include "base/status.h"
#include "checkpoint/config.h"
#include "model/weight_source.h"
#include "ops/backend.h"

namespace zaya::model {

struct LayerWeights {
  const float* input_norm = nullptr;  // [hidden]
  ops::Matrix q, k, value_current, value_delayed, output;
  const float* q_bias = nullptr;  // biases: null unless the config has attention_bias
  const float* k_bias = nullptr;
  const float* value_current_bias = nullptr;
  const float* value_delayed_bias = nullptr;
  const float* output_bias = nullptr;
  ops::CcaShape cca_shape;
  ops::CcaWeights cca;
  ops::ResidualScales after_attention;
  const float* post_attention_norm = nullptr;  // [hidden]
  ops::RouterWeights router;
  std::vector<ops::Expert> experts;
  ops::ResidualScales after_experts;
  size_t rotary = 0;  // index into Weights::rotaries
};

// One set of rotation angles that layers share: pair i turns by position · theta^(−2i/dims).
struct Rotary {
  double theta = 0;
  int64_t dims = 0;  // even
};

struct Weights {
  ops::Matrix embedding;               // [vocab, hidden]
  const float* input_scale = nullptr;  // [hidden]
  const float* input_bias = nullptr;
  std::vector<LayerWeights> layers;
  const float* final_norm = nullptr;  // [hidden]
  ops::Head head;                     // its exact matrix is the embedding when tied
  std::vector<Rotary> rotaries;

  // The memory of `from` must outlive the weights.
  static Result<Weights> load(const checkpoint::ModelConfig& config, WeightSource& from);
};

// The name of the head's matrix: the embedding's when they are tied.
const char* head_name(const checkpoint::ModelConfig& config);

}  // namespace zaya::model
