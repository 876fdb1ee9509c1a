// An inspection Report as text and as JSON.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <utility>

#include "checkpoint/inspect.h"
#include "checkpoint/tensor.h"

namespace zaya::checkpoint {
namespace {

using nlohmann::ordered_json;

std::string bytes_text(int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value >= 1e9) return fmt::format("{:.2f} GB", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.2f} MB", value / 1e6);
  if (value >= 1e3) return fmt::format("{:.1f} kB", value / 1e3);
  return fmt::format("{} B", bytes);
}

// 8840489464 → "8,840,489,464".
std::string grouped(int64_t number) {
  std::string digits = std::to_string(number);
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<size_t>(at), ",");
  }
  return digits;
}

// "60 layers: 30 see 4097 positions (theta 10000, …), 30 see all (…)".
std::string layers_text(const ModelConfig& config) {
  std::vector<std::pair<LayerConfig, int64_t>> kinds;
  for (const LayerConfig& layer : config.layers) {
    const auto at = std::find_if(kinds.begin(), kinds.end(), [&](const auto& kind) { return kind.first == layer; });
    at == kinds.end() ? void(kinds.emplace_back(layer, 1)) : void(++at->second);
  }
  std::string text;
  for (const auto& [layer, count] : kinds) {
    const std::string sight = layer.sliding_window > 0 ? fmt::format("{} positions", layer.sliding_window) : "all";
    text += fmt::format("{}{} see {} (rope theta {}, {} of {} dims)", text.empty() ? "" : ", ", count, sight,
                        layer.rope_theta, layer.rotary_dims, config.head_dim);
  }
  return text;
}

void append_config(const ModelConfig& config, std::string& text) {
  const auto optional_id = [](const std::optional<int32_t>& id) { return id ? std::to_string(*id) : "none"; };
  text += fmt::format("vocabulary    {} × hidden {}, {}{}\n", config.vocab_size, config.hidden_size,
                      config.tie_embeddings ? "tied head" : "separate head", config.lm_head_bias ? " with bias" : "");
  text += fmt::format("layers        {}: {}\n", config.num_layers(), layers_text(config));
  text += fmt::format("attention     {} query heads, {} key/value heads of {}; convolutions over {} and {} steps{}\n",
                      config.num_heads, config.num_kv_heads, config.head_dim, config.conv_time0, config.conv_time1,
                      config.attention_bias ? "; biases" : "");
  text += fmt::format("experts       {} of width {}, {} per token; router width {}\n", config.num_experts,
                      config.expert_width, config.experts_per_token, config.router_width);
  text += fmt::format("context       {} positions; norm epsilon {}\n", config.max_positions, config.rms_norm_eps);
  text += fmt::format("tokens        bos {}, pad {}, eos {}\n", optional_id(config.bos_token),
                      optional_id(config.pad_token),
                      config.eos_tokens.empty() ? "none" : fmt::format("{}", fmt::join(config.eos_tokens, ", ")));
}

void append_tensors(const Report& report, std::string& text) {
  std::string shard;
  for (const TensorReport& tensor : report.tensors) {
    if (tensor.shard != shard) {
      shard = tensor.shard;
      text += fmt::format("\n{}\n", shard);
    }
    text += fmt::format("  {:<58} {:<8} {:<20} {:>10}", tensor.name, tensor.dtype, shape_text(tensor.shape),
                        bytes_text(tensor.bytes));
    if (tensor.statistics && tensor.statistics->finite() > 0) {
      text += fmt::format("  {:>10.4g} … {:<10.4g} rms {:<10.4g}", tensor.statistics->min, tensor.statistics->max,
                          tensor.statistics->rms());
    }
    if (!tensor.canonical.empty() && tensor.canonical != tensor.name) text += "  → " + tensor.canonical;
    if (!tensor.problem.empty()) text += "  ← " + tensor.problem;
    text += '\n';
  }
  text += '\n';
}

void append_sentences(const char* title, const std::vector<std::string>& sentences, std::string& text) {
  for (const std::string& sentence : sentences) text += fmt::format("{:<13} {}\n", title, sentence);
}

ordered_json config_object(const ModelConfig& config) {
  ordered_json object;
  object["layout"] = layout_name(config.layout);
  object["vocab_size"] = config.vocab_size;
  object["hidden_size"] = config.hidden_size;
  object["num_layers"] = config.num_layers();
  object["num_heads"] = config.num_heads;
  object["num_kv_heads"] = config.num_kv_heads;
  object["head_dim"] = config.head_dim;
  object["num_experts"] = config.num_experts;
  object["experts_per_token"] = config.experts_per_token;
  object["expert_width"] = config.expert_width;
  object["router_width"] = config.router_width;
  object["conv_time0"] = config.conv_time0;
  object["conv_time1"] = config.conv_time1;
  object["max_positions"] = config.max_positions;
  object["rms_norm_eps"] = config.rms_norm_eps;
  object["tie_embeddings"] = config.tie_embeddings;
  object["attention_bias"] = config.attention_bias;
  object["lm_head_bias"] = config.lm_head_bias;
  object["stated_dtype"] = config.stated_dtype;
  object["bos_token"] = config.bos_token ? ordered_json(*config.bos_token) : nullptr;
  object["pad_token"] = config.pad_token ? ordered_json(*config.pad_token) : nullptr;
  object["eos_tokens"] = config.eos_tokens;
  object["layers"] = ordered_json::array();
  for (const LayerConfig& layer : config.layers) {
    object["layers"].push_back({{"sliding_window", layer.sliding_window},
                                {"rope_theta", layer.rope_theta},
                                {"rotary_dims", layer.rotary_dims}});
  }
  return object;
}

}  // namespace

std::string to_text(const Report& report, bool list_tensors) {
  std::string text = fmt::format("{}\n", report.directory.string());
  text += fmt::format("layout        {}\n", report.layout ? layout_name(*report.layout) : "unknown");
  if (report.config) append_config(*report.config, text);
  text += fmt::format("tensors       {}, {} parameters, {} bytes ({})\n", report.tensors.size(),
                      grouped(report.parameters), grouped(report.tensor_bytes), bytes_text(report.tensor_bytes));
  std::map<std::string, std::pair<int64_t, int64_t>> dtypes;
  for (const TensorReport& tensor : report.tensors) {
    auto& [count, bytes] = dtypes[tensor.dtype];
    ++count;
    bytes += tensor.bytes;
  }
  for (const auto& [dtype, sums] : dtypes) {
    text += fmt::format("  {:<11} {} tensors, {}\n", dtype, sums.first, bytes_text(sums.second));
  }
  if (list_tensors) append_tensors(report, text);
  append_sentences("error", report.errors, text);
  append_sentences("warning", report.warnings, text);
  append_sentences("note", report.notes, text);
  text += report.loads() ? "result        the model loads\n"
                         : fmt::format("result        the model does not load: {} problem{}\n", report.errors.size(),
                                       report.errors.size() == 1 ? "" : "s");
  return text;
}

std::string to_json(const Report& report) {
  ordered_json root;
  root["directory"] = report.directory.string();
  root["layout"] = report.layout ? ordered_json(layout_name(*report.layout)) : nullptr;
  root["loads"] = report.loads();
  root["config"] = report.config ? config_object(*report.config) : nullptr;
  root["parameters"] = report.parameters;
  root["tensor_bytes"] = report.tensor_bytes;
  root["file_bytes"] = report.file_bytes;
  root["scanned"] = report.scanned;
  root["errors"] = report.errors;
  root["warnings"] = report.warnings;
  root["notes"] = report.notes;
  root["missing"] = report.missing;
  root["tensors"] = ordered_json::array();
  for (const TensorReport& tensor : report.tensors) {
    ordered_json entry;
    entry["name"] = tensor.name;
    entry["canonical"] = tensor.canonical.empty() ? ordered_json() : ordered_json(tensor.canonical);
    entry["dtype"] = tensor.dtype;
    entry["shape"] = tensor.shape;
    entry["bytes"] = tensor.bytes;
    entry["shard"] = tensor.shard;
    if (!tensor.problem.empty()) entry["problem"] = tensor.problem;
    if (tensor.statistics) {
      const Statistics& figures = *tensor.statistics;
      entry["nan"] = figures.nan;
      entry["inf"] = figures.inf;
      if (figures.finite() > 0) {
        entry["min"] = figures.min;
        entry["max"] = figures.max;
        entry["rms"] = figures.rms();
      }
    }
    root["tensors"].push_back(std::move(entry));
  }
  return root.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace zaya::checkpoint
