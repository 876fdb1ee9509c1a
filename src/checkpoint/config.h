// config.json of a ZAYA1 checkpoint, of either published layout, as one ModelConfig in native terms.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace zaya::checkpoint {

// Native: transformers' `ZayaForCausalLM` (one layer = attention + MoE). Original: Zyphra's first release (80
// half-layers for the 8B). Both describe the same network.
enum class Layout { native, original };

const char* layout_name(Layout layout);

// What differs between layers.
struct LayerConfig {
  int64_t sliding_window = 0;  // positions a query sees, its own included; 0 = all
  double rope_theta = 0;
  int64_t rotary_dims = 0;     // leading dims of each head that rotate, int(head_dim * partial_rotary_factor)
};

struct ModelConfig {
  Layout layout = Layout::native;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t num_experts = 0;         // without the skip class
  int64_t experts_per_token = 1;
  int64_t expert_width = 0;        // moe_intermediate_size
  int64_t router_width = 0;
  int64_t conv_time0 = 2;          // depthwise kernel
  int64_t conv_time1 = 2;          // grouped kernel
  int64_t max_positions = 0;
  double rms_norm_eps = 1e-5;
  bool tie_embeddings = true;
  bool attention_bias = false;     // biases on q, k, v_current, v_delayed and o projections
  bool lm_head_bias = false;
  std::vector<LayerConfig> layers; // native layers, one entry each
  std::optional<int32_t> bos_token, pad_token;
  std::vector<int32_t> eos_tokens;

  int64_t num_layers() const { return static_cast<int64_t>(layers.size()); }
  int64_t router_classes() const { return num_experts + 1; }        // the last class is the skip expert
  int64_t q_width() const { return num_heads * head_dim; }
  int64_t kv_width() const { return num_kv_heads * head_dim; }
  int64_t conv_channels() const { return q_width() + kv_width(); }
  int64_t conv_history() const { return conv_time0 + conv_time1 - 2; }  // c0 vectors a sequence carries over
};

// Parses and validates; every dimension is bounded, so that products of dimensions fit in int64_t afterwards.
// `notes` (optional) receives one sentence per odd but harmless finding.
Result<ModelConfig> parse_config(std::string_view json, std::vector<std::string>* notes = nullptr);

}  // namespace zaya::checkpoint
