#include "checkpoint/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "checkpoint/config_internal.h"
#include "checkpoint/json.h"

namespace zaya::checkpoint {
namespace {

using nlohmann::json;
using Limits = ConfigLimits;

// Keys that only one of the two layouts has. (Both share vocab_size, hidden_size, num_hidden_layers, head_dim, ….)
constexpr std::array<std::string_view, 14> original_keys = {"ffn_hidden_size",
                                                            "ffn_hidden_size_list",
                                                            "zaya_mlp_expansion",
                                                            "smoe_mlp_expansion",
                                                            "zaya_layers",
                                                            "smoe_layers",
                                                            "moe_router_topk",
                                                            "num_query_groups",
                                                            "num_query_groups_list",
                                                            "norm_epsilon",
                                                            "cca",
                                                            "cca_num_q_heads",
                                                            "swa_layers",
                                                            "zaya_use_mod"};
constexpr std::array<std::string_view, 5> native_keys = {"moe_intermediate_size", "router_hidden_size",
                                                         "num_experts_per_tok", "layer_types", "rope_parameters"};

template <size_t n>
std::string_view first_stated(const ConfigReader& reader, const std::array<std::string_view, n>& keys) {
  for (std::string_view key : keys) {
    if (reader.has(key)) return key;
  }
  return {};
}

Layout decide_layout(ConfigReader& reader, std::optional<Layout> tensors) {
  const std::string_view native = first_stated(reader, native_keys);
  const std::string_view original = first_stated(reader, original_keys);
  if (native.empty() && original.empty()) {
    reader.fail(Code::malformed,
                "no key of a ZAYA1 model's (moe_intermediate_size and others, or ffn_hidden_size and others)",
                "is this the model's own config.json?");
    return Layout::native;
  }
  if (native.empty()) return Layout::original;
  if (original.empty()) return Layout::native;
  // Training frameworks write configs with the keys of both. The tensors tell; without them, two keys that together
  // describe a native network do.
  const bool complete = reader.has("moe_intermediate_size") && reader.has("router_hidden_size");
  const Layout layout = tensors.value_or(complete ? Layout::native : Layout::original);
  reader.note(fmt::format("it has keys of both layouts ({}, {}); read as {}", native, original, layout_name(layout)));
  return layout;
}

// What a compressed-tensors config may ask for: FP8 weights with one factor per row (or per matrix).
void check_quantization(ConfigReader& reader) {
  const json* quantization = reader.find("quantization_config");
  if (quantization == nullptr) return;
  const std::string hint = "use the BF16 or the FP8-Experts files of this model";
  const auto text = [](const json& object, const char* key) {
    return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>()
                                                                                 : std::string();
  };
  const std::string method = text(*quantization, "quant_method");
  if (method != "compressed-tensors") {
    reader.fail(Code::unsupported,
                fmt::format("quantization_config has quant_method \"{}\"; \"compressed-tensors\" "
                            "with FP8 weights is what can be read",
                            method),
                hint);
    return;
  }
  const json* groups = quantization->contains("config_groups") ? &(*quantization)["config_groups"] : nullptr;
  if (groups == nullptr || !groups->is_object()) return;  // the tensors themselves are checked in any case
  for (const auto& [name, group] : groups->items()) {
    const json weights = group.is_object() && group.contains("weights") ? group["weights"] : json();
    const std::string type = text(weights, "type"), strategy = text(weights, "strategy");
    const bool eight = weights.is_object() && weights.contains("num_bits") && weights["num_bits"] == 8;
    if (!eight || type != "float" || (strategy != "channel" && strategy != "tensor")) {
      reader.fail(Code::unsupported,
                  fmt::format("quantization_config {} has weights of type \"{}\", strategy \"{}\"{}; 8-bit float with "
                              "one factor per channel or per tensor is what can be read",
                              name, type, strategy, eight ? "" : ", not 8 bits"),
                  hint);
      return;
    }
  }
}

// One token id, kept when the vocabulary has it.
void add_token(ConfigReader& reader, const json& value, std::string_view key, int64_t vocab_size,
               std::vector<int32_t>& tokens) {
  const int64_t token = reader.checked_integer(value, std::string(key), -1, Limits::vocab_size);
  if (token < 0 || token >= vocab_size) {
    reader.note(fmt::format("{} is {}, which the vocabulary of {} does not have; ignored", key, token, vocab_size));
  } else if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) {
    tokens.push_back(static_cast<int32_t>(token));
  }
}

// An id, a list of ids, or null.
void read_tokens(ConfigReader& reader, std::string_view key, int64_t vocab_size, std::vector<int32_t>& tokens) {
  const json* value = reader.find(key);
  if (value == nullptr) return;
  if (!value->is_array()) return add_token(reader, *value, key, vocab_size, tokens);
  if (value->size() > 1024) return reader.fail(Code::out_of_range, fmt::format("{} lists over 1024 ids", key));
  for (const json& item : *value) add_token(reader, item, key, vocab_size, tokens);
}

std::optional<int32_t> read_token(ConfigReader& reader, std::string_view key, int64_t vocab_size) {
  std::vector<int32_t> tokens;
  if (const json* value = reader.find(key)) add_token(reader, *value, key, vocab_size, tokens);
  return tokens.empty() ? std::nullopt : std::optional(tokens.front());
}

// What both layouts spell alike.
void parse_common(ConfigReader& reader, const json& root, ModelConfig& config) {
  if (const json* type = reader.find("model_type")) {
    if (!type->is_string() || type->get_ref<const std::string&>() != "zaya") {
      reader.fail(Code::unsupported, fmt::format("model_type is {}; this program runs \"zaya\"", json_excerpt(*type)));
    }
  } else {
    reader.note("model_type is not stated");
  }
  config.vocab_size = reader.integer({"vocab_size"}, 1, Limits::vocab_size);
  config.hidden_size = reader.integer({"hidden_size"}, 1, Limits::hidden_size);
  config.conv_time0 = reader.integer({"cca_time0"}, 1, Limits::conv_time, 2);
  config.conv_time1 = reader.integer({"cca_time1"}, 1, Limits::conv_time, 2);
  config.tie_embeddings = reader.boolean("tie_word_embeddings", true);
  config.attention_bias = reader.boolean("attention_bias", false);
  config.lm_head_bias = reader.boolean("lm_head_bias", false);
  config.bos_token = read_token(reader, "bos_token_id", config.vocab_size);
  config.pad_token = read_token(reader, "pad_token_id", config.vocab_size);
  read_tokens(reader, "eos_token_id", config.vocab_size, config.eos_tokens);
  if (!root.contains("eos_token_id")) reader.note("eos_token_id is not stated");
  for (const char* key : {"dtype", "torch_dtype"}) {
    const json* value = reader.find(key);
    if (value != nullptr && value->is_string() && config.stated_dtype.empty()) {
      config.stated_dtype = value->get<std::string>().substr(0, 64);
    }
  }
  check_quantization(reader);
}

void parse_native(ConfigReader& reader, ModelConfig& config) {
  reader.require_string("hidden_act", "silu", "the experts' activation must be");
  config.num_heads = reader.integer({"num_attention_heads"}, 1, Limits::heads);
  config.num_kv_heads = reader.integer({"num_key_value_heads"}, 1, Limits::heads, 2);
  config.head_dim = reader.integer({"head_dim"}, 1, Limits::head_dim, 128);
  config.num_experts = reader.integer({"num_experts"}, 1, Limits::experts);
  config.experts_per_token = reader.integer({"num_experts_per_tok"}, 1, config.num_experts, 1);
  config.expert_width = reader.integer({"moe_intermediate_size"}, 1, Limits::expert_width);
  config.router_width = reader.integer({"router_hidden_size"}, 1, Limits::router_width, 256);
  config.max_positions = reader.integer({"max_position_embeddings"}, 1, Limits::positions, 131072);
  config.rms_norm_eps = reader.number({"rms_norm_eps"}, 0, /*open_low=*/true, 1, 1e-5);

  const int64_t count = reader.integer({"num_hidden_layers"}, 1, Limits::layers);
  std::vector<bool> sliding(static_cast<size_t>(count), false);
  if (const json* types = reader.find("layer_types")) {
    if (!types->is_array() || types->size() != sliding.size()) {
      return reader.fail(Code::malformed, fmt::format("layer_types must list {} layers (num_hidden_layers), found {}",
                                                      count, json_excerpt(*types)));
    }
    for (size_t i = 0; i < sliding.size(); ++i) {
      const json& type = (*types)[i];
      sliding[i] = type == "hybrid_sliding";
      if (!sliding[i] && type != "hybrid") {
        return reader.fail(Code::unsupported, fmt::format("layer_types[{}] is {}; known are \"hybrid\" and "
                                                          "\"hybrid_sliding\"",
                                                          i, json_excerpt(type)));
      }
    }
  }
  const bool any_sliding = std::find(sliding.begin(), sliding.end(), true) != sliding.end();
  const bool any_full = std::find(sliding.begin(), sliding.end(), false) != sliding.end();
  LayerConfig full, window;
  if (any_full) full = native_rope(reader, "hybrid", 5'000'000.0, config.head_dim);
  if (any_sliding) {
    window = native_rope(reader, "hybrid_sliding", 10'000.0, config.head_dim);
    if (!reader.has("sliding_window")) {
      return reader.fail(Code::malformed, "layer_types has hybrid_sliding layers but sliding_window is not stated");
    }
    window.sliding_window = reader.integer({"sliding_window"}, 1, Limits::positions + 1);
  } else if (reader.has("sliding_window")) {
    reader.note("sliding_window is stated but no layer slides");
  }
  for (const bool slides : sliding) config.layers.push_back(slides ? window : full);
}

// What must hold between the fields, whichever keys they came from.
void check_relations(ConfigReader& reader, const ModelConfig& config) {
  if (config.num_heads % config.num_kv_heads != 0) {
    reader.fail(Code::malformed, fmt::format("{} query heads are not a multiple of {} key/value heads",
                                             config.num_heads, config.num_kv_heads));
  }
  if (config.kv_width() % 2 != 0) {
    reader.fail(Code::malformed, fmt::format("{} key/value heads × head_dim {} is odd; half of the values come from "
                                             "the token before, so it must be even",
                                             config.num_kv_heads, config.head_dim));
  }
  if (config.num_layers() * config.num_experts > Limits::layers_times_experts) {
    reader.fail(Code::out_of_range, fmt::format("{} layers × {} experts; at most {} experts in all are supported",
                                                config.num_layers(), config.num_experts, Limits::layers_times_experts));
  }
  if (config.experts_per_token > 1) {
    reader.note(fmt::format("{} experts per token; every published model uses 1", config.experts_per_token));
  }
}

}  // namespace

const char* layout_name(Layout layout) { return layout == Layout::native ? "native" : "original"; }

LayerConfig make_rope(ConfigReader& reader, std::string_view owner, double theta, double factor, int64_t head_dim) {
  LayerConfig layer;
  layer.rope_theta = theta;
  // Python's int(head_dim * factor): the product in double, cut towards zero.
  layer.rotary_dims = static_cast<int64_t>(static_cast<double>(head_dim) * factor);
  if (layer.rotary_dims % 2 != 0) {
    reader.fail(Code::unsupported,
                fmt::format("{}head_dim {} × partial_rotary_factor {} gives {} rotary dimensions; an "
                            "even number is needed",
                            owner, head_dim, factor, layer.rotary_dims));
  }
  return layer;
}

LayerConfig native_rope(ConfigReader& reader, const std::string& type, double default_theta, int64_t head_dim) {
  const std::string owner = "rope_parameters." + type + ": ";
  const json* all = reader.find("rope_parameters");
  if (all == nullptr) {
    // transformers' class default for a config without the key; older spellings at the top level go first.
    const double theta = reader.number({"rope_theta"}, 0, true, 1e30, default_theta);
    const double factor = reader.number({"partial_rotary_factor"}, 0, false, 1, 0.5);
    return make_rope(reader, "", theta, factor, head_dim);
  }
  if (!all->is_object()) {
    reader.fail(Code::malformed, fmt::format("rope_parameters must be an object, found {}", json_excerpt(*all)));
    return {};
  }
  // Entries per layer type; published files also carry a stray scalar rope_type beside them, which means nothing.
  // Without any such entry the object itself holds the parameters of every layer.
  const auto is_entry = [all](const char* key) { return all->contains(key) && (*all)[key].is_object(); };
  const bool flat = !is_entry("hybrid") && !is_entry("hybrid_sliding");
  if (!flat && !is_entry(type.c_str())) {
    reader.fail(Code::malformed, fmt::format("rope_parameters has no entry for the {} layers", type));
    return {};
  }
  const json& entry = flat ? *all : (*all)[type];
  if (flat) reader.note("rope_parameters has no entry per layer type; it is taken for all layers");
  ConfigReader inner(entry, flat ? "config.json: rope_parameters" : "config.json: rope_parameters." + type, nullptr);
  for (const char* key : {"rope_type", "type"}) {
    inner.require_string(key, "default", "scaled rotary embeddings are not supported, only");
  }
  if (!inner.has("rope_theta") && !reader.has("rope_theta")) {
    reader.fail(Code::malformed, owner + "rope_theta is missing");
    return {};
  }
  const double theta = inner.has("rope_theta") ? inner.number({"rope_theta"}, 0, true, 1e30)
                                               : reader.number({"rope_theta"}, 0, true, 1e30);
  double factor = 1.0;  // transformers' value for an entry that does not state it
  if (inner.has("partial_rotary_factor")) {
    factor = inner.number({"partial_rotary_factor"}, 0, false, 1);
  } else if (reader.has("partial_rotary_factor")) {
    factor = reader.number({"partial_rotary_factor"}, 0, false, 1);
  } else {
    reader.note(owner + "partial_rotary_factor is not stated; 1 is assumed");
  }
  if (!inner.ok()) {
    reader.adopt(inner.status());
    return {};
  }
  return make_rope(reader, owner, theta, factor, head_dim);
}

Result<ModelConfig> parse_config(std::string_view text, std::vector<std::string>* notes,
                                 std::optional<Layout> tensors) {
  constexpr size_t max_bytes = size_t{4} << 20;
  if (text.size() > max_bytes) {
    return Status(Code::out_of_range,
                  fmt::format("config.json has {} bytes; at most {} are read", text.size(), max_bytes));
  }
  ZAYA_ASSIGN(const json root, parse_json_object(text, "config.json"));
  ConfigReader reader(root, "config.json", notes);
  ModelConfig config;
  config.layout = decide_layout(reader, tensors);
  if (reader.ok()) parse_common(reader, root, config);
  if (reader.ok()) config.layout == Layout::native ? parse_native(reader, config) : parse_original(reader, config);
  if (reader.ok()) check_relations(reader, config);
  if (!reader.ok()) return reader.status();
  return config;
}

Status merge_generation_config(std::string_view text, ModelConfig& config, std::vector<std::string>* notes) {
  ZAYA_ASSIGN(const json root, parse_json_object(text, "generation_config.json"));
  ConfigReader reader(root, "generation_config.json", notes);
  read_tokens(reader, "eos_token_id", config.vocab_size, config.eos_tokens);
  return reader.status();
}

}  // namespace zaya::checkpoint
