// Any text as config.json: what is accepted must be in bounds, and describe tensors that can be listed.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/checked.h"
#include "checkpoint/config.h"
#include "checkpoint/names.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace zaya::checkpoint;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> notes;
  const auto require = [](bool condition) {
    if (!condition) std::abort();
  };
  if (size % 8 == 0) {
    ModelConfig config;
    config.vocab_size = 100;
    if (merge_generation_config(text, config, &notes).ok()) require(config.eos_tokens.size() <= 100);
  }
  const auto parsed = parse_config(text, &notes);
  if (!parsed.ok()) {
    require(!parsed.status().message().empty());
    return 0;
  }
  const ModelConfig& config = *parsed;
  for (const int64_t dimension :
       {config.vocab_size, config.hidden_size, config.num_heads, config.num_kv_heads, config.head_dim,
        config.num_experts, config.experts_per_token, config.expert_width, config.router_width, config.conv_time0,
        config.conv_time1, config.max_positions, config.num_layers()}) {
    require(dimension > 0);
  }
  require(config.num_heads % config.num_kv_heads == 0 && config.kv_width() % 2 == 0);
  require(config.experts_per_token <= config.num_experts);
  require(config.rms_norm_eps > 0);
  for (const LayerConfig& layer : config.layers) {
    require(layer.rotary_dims >= 0 && layer.rotary_dims <= config.head_dim && layer.rotary_dims % 2 == 0);
    require(layer.rope_theta > 0 && layer.sliding_window >= 0);
  }
  for (const int32_t token : config.eos_tokens) require(token >= 0 && token < config.vocab_size);
  require(zaya::checked_product({config.num_experts, 2 * config.expert_width, config.hidden_size, 4}).has_value());
  if (config.num_layers() * config.num_experts > 1000) return 0;  // keeps one run short
  for (const ExpectedTensor& tensor : expected_tensors(config)) {
    int64_t bytes = 4;
    for (const int64_t dimension : tensor.shape) {
      const auto product = zaya::checked_product({bytes, dimension});
      require(product.has_value());
      bytes = *product;
    }
  }
  return 0;
}
