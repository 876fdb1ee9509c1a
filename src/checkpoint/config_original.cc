// The original layout's config.json: half-layers (attention, then MoE), scalars or one-entry-per-half-layer lists.
#include <fmt/format.h>

#include <algorithm>

#include "checkpoint/config_internal.h"

namespace zaya::checkpoint {
namespace {

using nlohmann::json;
using Limits = ConfigLimits;

// Lists are bounded by this; published ones have 80 to 160 entries for 80 to 120 half-layers.
constexpr size_t max_list = 4 * static_cast<size_t>(Limits::layers);

// An integer, or a list with one entry per half-layer in which 0 means "does not apply here" and all others agree. The
// list's length is not checked: published ones are longer than the network.
int64_t shared_value(ConfigReader& reader, std::string_view key, int64_t high) {
  const json& value = *reader.find(key);
  if (!value.is_array()) return reader.checked_integer(value, std::string(key), 1, high);
  if (value.size() > max_list) {
    reader.fail(Code::out_of_range, fmt::format("{} has {} entries", key, value.size()));
    return 1;
  }
  int64_t shared = 0;
  for (const json& item : value) {
    const int64_t number = reader.checked_integer(item, std::string(key), 0, high);
    if (number != 0 && shared != 0 && number != shared) {
      reader.fail(Code::unsupported,
                  fmt::format("{} lists both {} and {}; all layers must be alike", key, shared, number));
      return 1;
    }
    if (number != 0) shared = number;
  }
  if (shared == 0) reader.fail(Code::malformed, fmt::format("{} lists no number above 0", key));
  return std::max<int64_t>(shared, 1);
}

// The first stated of `keys`, scalar or list.
int64_t first_shared(ConfigReader& reader, std::initializer_list<std::string_view> keys, int64_t high) {
  for (std::string_view key : keys) {
    if (reader.has(key)) return shared_value(reader, key, high);
  }
  reader.fail(Code::malformed, fmt::format("{} is missing", *keys.begin()));
  return 1;
}

// ["a", 16, "a", 16, …]: returns the number of half-layers and sets the expert count.
int64_t read_layer_list(ConfigReader& reader, std::string_view key, int64_t& experts) {
  const json& list = *reader.find(key);
  const auto limit = static_cast<size_t>(2 * Limits::layers);
  if (!list.is_array() || list.empty() || list.size() > limit) {
    reader.fail(Code::malformed,
                fmt::format("{} must list 2 to {} half-layers, found {}", key, limit, json_excerpt(list)));
    return 2;
  }
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string name = fmt::format("{}[{}]", key, i);
    if (i % 2 == 0) {
      if (list[i] != "a") {
        reader.fail(Code::unsupported, fmt::format("{} is {}; half-layers must alternate between \"a\" (attention) and "
                                                   "a number of experts",
                                                   name, json_excerpt(list[i])));
      }
      continue;
    }
    const int64_t count = reader.checked_integer(list[i], name, 1, Limits::experts);
    if (experts != 0 && count != experts) {
      reader.fail(Code::unsupported,
                  fmt::format("{} lists {} and {} experts; all layers must be alike", key, experts, count));
    }
    experts = count;
  }
  return static_cast<int64_t>(list.size());
}

// swa_layers: 0 or the number of *earlier* positions that the half-layer's queries see.
std::vector<int64_t> read_windows(ConfigReader& reader, int64_t half_layers) {
  const auto layers = static_cast<size_t>(half_layers / 2);
  std::vector<int64_t> windows(layers, 0);
  const json* list = reader.find("swa_layers");
  if (list == nullptr) return windows;
  if (!list->is_array() || list->size() > max_list || (list->size() < 2 * layers && list->size() != layers)) {
    reader.fail(Code::malformed,
                fmt::format("swa_layers must list {} half-layers, found {}", half_layers, json_excerpt(*list)));
    return windows;
  }
  const size_t stride = list->size() == layers ? 1 : 2;
  for (size_t i = 0; i < layers; ++i) {
    const int64_t earlier =
        reader.checked_integer((*list)[i * stride], fmt::format("swa_layers[{}]", i * stride), 0, Limits::positions);
    if (earlier > 0) windows[i] = earlier + 1;
  }
  return windows;
}

// What no published model uses and this program does not implement.
void refuse_variants(ConfigReader& reader) {
  reader.require_boolean("cca", true, "attention without CCA is not supported");
  reader.require_boolean("zaya_use_mod", true, "routers without the skip class are not supported");
  reader.require_boolean("zaya_use_eda", true, "routers without the state across layers are not supported");
  reader.require_boolean("scale_residual_merge", true, "unscaled residual merges are not supported");
  reader.require_boolean("gated_linear_unit", true, "experts without a gate are not supported");
  reader.require_boolean("add_bias_linear", false, "experts with biases are not supported");
  reader.require_boolean("clamp_temp", false, "clamped key temperatures are not supported");
  reader.require_string("activation_func", "swiglu", "the experts' activation must be");
  reader.require_string("normalization", "RMSNorm", "the normalisation must be");
  reader.require_string("hidden_act", "silu", "the experts' activation must be");
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json* value = reader.find(key);
    if (value == nullptr || *value == false) continue;
    // transformers adds {"rope_type": "default", …} when it rewrites such a config; anything else would change angles.
    const bool harmless = value->is_object() && value->value("rope_type", value->value("type", json())) == "default";
    if (!harmless) {
      reader.fail(Code::unsupported,
                  fmt::format("{} is {}: only the default rotary embedding is supported", key, json_excerpt(*value)));
      continue;
    }
    // Such an entry repeats the top-level rope_theta; two different ones leave no way to tell which is meant.
    const auto inner = value->find("rope_theta");
    const json* outer = reader.find("rope_theta");
    if (inner != value->end() && outer != nullptr && *inner != *outer) {
      reader.fail(Code::malformed,
                  fmt::format("rope_theta is {}, but {} says {}", json_excerpt(*outer), key, json_excerpt(*inner)));
    }
  }
}

int64_t read_head_dim(ConfigReader& reader, int64_t hidden_size) {
  if (reader.has("head_dim") || reader.has("kv_channels")) {
    return reader.integer({"head_dim", "kv_channels"}, 1, Limits::head_dim);
  }
  // Here num_attention_heads is hidden_size / head_dim, not the number of (compressed) query heads; only then.
  if (!reader.has("cca_num_q_heads")) {
    reader.fail(Code::malformed, "head_dim (or kv_channels) is missing");
    return 1;
  }
  const int64_t heads = reader.integer({"num_attention_heads"}, 1, Limits::heads);
  if (hidden_size % heads != 0 || hidden_size / heads > Limits::head_dim) {
    reader.fail(Code::malformed, fmt::format("head_dim is not stated and hidden_size {} / num_attention_heads {} is "
                                             "none",
                                             hidden_size, heads));
    return 1;
  }
  return hidden_size / heads;
}

}  // namespace

void parse_original(ConfigReader& reader, ModelConfig& config) {
  refuse_variants(reader);

  int64_t half_layers = 0;
  for (const char* key : {"zaya_layers", "smoe_layers"}) {
    if (half_layers == 0 && reader.has(key)) half_layers = read_layer_list(reader, key, config.num_experts);
  }
  const bool from_list = half_layers != 0;
  const int64_t stated = from_list && !reader.has("num_hidden_layers")
                             ? half_layers
                             : reader.integer({"num_hidden_layers"}, 1, 2 * Limits::layers);
  if (!from_list) half_layers = stated;
  if (stated != half_layers) {
    reader.note(fmt::format("num_hidden_layers is {} but the layer list has {} half-layers; the list counts", stated,
                            half_layers));
  }
  if (half_layers % 2 != 0) {
    reader.fail(Code::malformed, fmt::format("{} half-layers; attention and MoE must come in pairs", half_layers));
  }
  if (!from_list || reader.has("num_experts")) {
    const int64_t experts = reader.integer({"num_experts"}, 1, Limits::experts);
    if (from_list && experts != config.num_experts) {
      reader.fail(Code::malformed,
                  fmt::format("num_experts is {} but the layer list has {}", experts, config.num_experts));
    }
    config.num_experts = experts;
  }

  config.num_heads = first_shared(reader, {"cca_num_q_heads", "num_attention_heads"}, Limits::heads);
  config.num_kv_heads =
      first_shared(reader, {"num_query_groups_list", "num_query_groups", "num_key_value_heads"}, Limits::heads);
  config.head_dim = read_head_dim(reader, config.hidden_size);
  config.experts_per_token =
      reader.integer({"moe_router_topk", "num_experts_per_tok"}, 1, std::max<int64_t>(config.num_experts, 1), 1);
  const int64_t gate_and_up =
      first_shared(reader, {"ffn_hidden_size_list", "ffn_hidden_size"}, 2 * Limits::expert_width);
  if (gate_and_up % 2 != 0) {
    reader.fail(Code::malformed, fmt::format("ffn_hidden_size is {}; it counts gate and up together, so it must be "
                                             "even",
                                             gate_and_up));
  }
  config.expert_width = gate_and_up / 2;
  config.router_width = first_shared(reader, {"zaya_mlp_expansion", "smoe_mlp_expansion"}, Limits::router_width);
  config.max_positions = reader.integer({"max_position_embeddings"}, 1, Limits::positions);
  config.rms_norm_eps = reader.number({"norm_epsilon", "rms_norm_eps"}, 0, /*open_low=*/true, 1, 1e-5);

  const double theta = reader.number({"rope_theta", "rotary_base"}, 0, /*open_low=*/true, 1e30);
  const double factor = reader.number({"partial_rotary_factor", "rope_pct"}, 0, /*open_low=*/false, 1, 0.5);
  const std::vector<int64_t> windows = read_windows(reader, half_layers);
  const int64_t widest = windows.empty() ? 0 : *std::max_element(windows.begin(), windows.end());
  double window_theta = theta;
  if (widest > 0) {
    // Implementations differ in what an absent key means (10000, or rope_theta), so it has to be there.
    window_theta = reader.number({"swa_rotary_base"}, 0, /*open_low=*/true, 1e30);
  }
  if (reader.has("sliding_window")) {
    const int64_t span = reader.integer({"sliding_window"}, 0, Limits::positions + 1);
    if (widest > 0 && span != widest) {
      reader.fail(Code::malformed,
                  fmt::format("sliding_window is {} but swa_layers asks for {} positions", span, widest));
    }
    if (widest == 0 && span != 0) reader.note("sliding_window is stated but no layer slides");
  }
  if (!reader.ok()) return;
  for (const int64_t window : windows) {
    LayerConfig layer = make_rope(reader, "", window > 0 ? window_theta : theta, factor, config.head_dim);
    layer.sliding_window = window;
    config.layers.push_back(layer);
  }
}

}  // namespace zaya::checkpoint
