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
  // Positions a query sees, its own included; 0 = all. The query at position i sees the keys j with i - j < window, as
  // transformers' masks have it. (The original config's swa_layers leaves the query's own position out; parse_config
  // adds it.)
  int64_t sliding_window = 0;
  double rope_theta = 0;
  int64_t rotary_dims = 0;  // leading dims of each head that rotate, int(head_dim * partial_rotary_factor); even
  bool operator==(const LayerConfig&) const = default;
};

struct ModelConfig {
  Layout layout = Layout::native;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t num_experts = 0;  // without the skip class
  int64_t experts_per_token = 1;
  int64_t expert_width = 0;  // moe_intermediate_size
  int64_t router_width = 0;
  int64_t conv_time0 = 2;  // depthwise kernel
  int64_t conv_time1 = 2;  // grouped kernel
  int64_t max_positions = 0;
  double rms_norm_eps = 1e-5;
  bool tie_embeddings = true;
  bool attention_bias = false;  // biases on q, k, v_current, v_delayed and o projections
  bool lm_head_bias = false;
  std::vector<LayerConfig> layers;  // native layers, one entry each
  std::optional<int32_t> bos_token, pad_token;
  std::vector<int32_t> eos_tokens;
  std::string stated_dtype;  // "dtype" or "torch_dtype" of the file, empty when it names none; informative only

  int64_t num_layers() const { return static_cast<int64_t>(layers.size()); }
  int64_t router_classes() const { return num_experts + 1; }  // the last class is the skip expert
  int64_t q_width() const { return num_heads * head_dim; }
  int64_t kv_width() const { return num_kv_heads * head_dim; }
  int64_t conv_channels() const { return q_width() + kv_width(); }
  int64_t conv_history() const { return conv_time0 + conv_time1 - 2; }  // c0 vectors a sequence carries over
  bool operator==(const ModelConfig&) const = default;
};

// Bounds on every dimension: far above any published model, low enough that the product of all dimensions of any tensor
// fits in int64_t and that a small file cannot ask for gigabytes of bookkeeping.
struct ConfigLimits {
  static constexpr int64_t vocab_size = int64_t{1} << 24;
  static constexpr int64_t hidden_size = 65536;
  static constexpr int64_t layers = 1024;
  static constexpr int64_t heads = 4096;
  static constexpr int64_t head_dim = 1024;
  static constexpr int64_t experts = 4096;
  static constexpr int64_t layers_times_experts = 65536;
  static constexpr int64_t expert_width = 262144;
  static constexpr int64_t router_width = 65536;
  static constexpr int64_t conv_time = 16;
  static constexpr int64_t positions = int64_t{1} << 27;
};

// Parses and validates; every dimension is bounded, so that products of dimensions fit in int64_t afterwards.
// `notes` (optional) receives one sentence per odd but harmless finding.
// `tensors` (optional) is the layout that the tensor names showed; it decides when the file has keys of both layouts.
// Keys that are absent take the default of transformers' ZayaConfig with a note, except the shape of the network
// (vocab_size, hidden_size, num_hidden_layers, num_attention_heads, num_experts and the widths) and, in the original
// layout, rope_theta and the context length, on which the implementations disagree: those must be stated.
Result<ModelConfig> parse_config(std::string_view json, std::vector<std::string>* notes = nullptr,
                                 std::optional<Layout> tensors = std::nullopt);

// Adds the stop tokens of a generation_config.json to the config's own, which stay first.
Status merge_generation_config(std::string_view json, ModelConfig& config, std::vector<std::string>* notes = nullptr);

// The config.json text that describes `config` in the native layout. invalid_argument when the layers need more than
// the two kinds (hybrid, hybrid_sliding) that the native layout can name.
Result<std::string> native_config_json(const ModelConfig& config);

}  // namespace zaya::checkpoint
