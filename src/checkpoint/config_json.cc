// ModelConfig back to a config.json in the native layout.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>

#include "checkpoint/config.h"

namespace zaya::checkpoint {
namespace {

// A factor with int(head_dim * factor) == rotary_dims; the plain quotient may round one too low.
double rotary_factor(int64_t rotary_dims, int64_t head_dim) {
  double factor = static_cast<double>(rotary_dims) / static_cast<double>(head_dim);
  if (static_cast<int64_t>(static_cast<double>(head_dim) * factor) < rotary_dims) factor = std::nextafter(factor, 2.0);
  return factor;
}

nlohmann::ordered_json rope_json(const LayerConfig& layer, int64_t head_dim) {
  return {{"partial_rotary_factor", rotary_factor(layer.rotary_dims, head_dim)},
          {"rope_theta", layer.rope_theta},
          {"rope_type", "default"}};
}

}  // namespace

Result<std::string> native_config_json(const ModelConfig& config) {
  const LayerConfig* full = nullptr;
  const LayerConfig* window = nullptr;
  nlohmann::ordered_json types = nlohmann::ordered_json::array();
  for (const LayerConfig& layer : config.layers) {
    const LayerConfig*& kind = layer.sliding_window > 0 ? window : full;
    if (kind == nullptr) kind = &layer;
    if (*kind != layer) {
      return Status(Code::invalid_argument,
                    "the native config.json has one kind of full and one of sliding layers; "
                    "this model has more");
    }
    types.push_back(layer.sliding_window > 0 ? "hybrid_sliding" : "hybrid");
  }
  nlohmann::ordered_json rope = nlohmann::ordered_json::object();
  if (full != nullptr) rope["hybrid"] = rope_json(*full, config.head_dim);
  if (window != nullptr) rope["hybrid_sliding"] = rope_json(*window, config.head_dim);

  nlohmann::ordered_json root;
  root["architectures"] = {"ZayaForCausalLM"};
  root["model_type"] = "zaya";
  if (!config.stated_dtype.empty()) root["dtype"] = config.stated_dtype;
  root["vocab_size"] = config.vocab_size;
  root["hidden_size"] = config.hidden_size;
  root["num_hidden_layers"] = config.num_layers();
  root["num_attention_heads"] = config.num_heads;
  root["num_key_value_heads"] = config.num_kv_heads;
  root["head_dim"] = config.head_dim;
  root["hidden_act"] = "silu";
  root["moe_intermediate_size"] = config.expert_width;
  root["num_experts"] = config.num_experts;
  root["num_experts_per_tok"] = config.experts_per_token;
  root["router_hidden_size"] = config.router_width;
  root["cca_time0"] = config.conv_time0;
  root["cca_time1"] = config.conv_time1;
  root["max_position_embeddings"] = config.max_positions;
  root["rms_norm_eps"] = config.rms_norm_eps;
  root["tie_word_embeddings"] = config.tie_embeddings;
  root["attention_bias"] = config.attention_bias;
  root["lm_head_bias"] = config.lm_head_bias;
  root["layer_types"] = std::move(types);
  root["rope_parameters"] = std::move(rope);
  root["sliding_window"] = window != nullptr ? nlohmann::ordered_json(window->sliding_window) : nullptr;
  root["bos_token_id"] = config.bos_token ? nlohmann::ordered_json(*config.bos_token) : nullptr;
  root["pad_token_id"] = config.pad_token ? nlohmann::ordered_json(*config.pad_token) : nullptr;
  root["eos_token_id"] = nullptr;
  if (config.eos_tokens.size() == 1) root["eos_token_id"] = config.eos_tokens.front();
  if (config.eos_tokens.size() > 1) root["eos_token_id"] = config.eos_tokens;
  return root.dump(2) + "\n";
}

}  // namespace zaya::checkpoint
