// The tensors of a ZAYA1 network with their shapes. Shapes follow transformers' modules (modeling_zaya): Linear weights
// are [out, in], Conv1d weights [channels, channels of a group, kernel].
#include <fmt/format.h>

#include "checkpoint/names.h"

namespace zaya::checkpoint {
namespace {

class Lister {
 public:
  explicit Lister(const ModelConfig& config) : config_(config) {}

  std::vector<ExpectedTensor> list() {
    const int64_t hidden = config_.hidden_size;
    add("model.embed_tokens.weight", {config_.vocab_size, hidden});
    add("model.input_hidden_states_scale", {hidden});
    add("model.input_hidden_states_bias", {hidden});
    for (int64_t layer = 0; layer < config_.num_layers(); ++layer) {
      prefix_ = fmt::format("model.layers.{}.", layer);
      attention();
      merge("post_attention_residual_scale.");
      router(layer);
      experts();
      merge("post_mlp_residual_scale.");
    }
    prefix_.clear();
    add("model.norm.weight", {hidden});
    if (!config_.tie_embeddings) add("lm_head.weight", {config_.vocab_size, hidden});
    if (config_.lm_head_bias) add("lm_head.bias", {config_.vocab_size});
    return std::move(tensors_);
  }

 private:
  void add(const std::string& name, std::vector<int64_t> shape, bool expert = false) {
    tensors_.push_back({prefix_ + name, std::move(shape), expert});
  }

  void projection(const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in});
    if (config_.attention_bias) add(name + ".bias", {out});
  }

  void attention() {
    const int64_t hidden = config_.hidden_size, channels = config_.conv_channels();
    add("input_layernorm.weight", {hidden});
    projection("self_attn.qkv_proj.q_proj", config_.q_width(), hidden);
    projection("self_attn.qkv_proj.k_proj", config_.kv_width(), hidden);
    projection("self_attn.qkv_proj.v_proj_current", config_.kv_width() / 2, hidden);
    projection("self_attn.qkv_proj.v_proj_delayed", config_.kv_width() / 2, hidden);
    add("self_attn.qkv_proj.conv_qk_depthwise.weight", {channels, 1, config_.conv_time0});
    add("self_attn.qkv_proj.conv_qk_depthwise.bias", {channels});
    add("self_attn.qkv_proj.conv_qk_grouped.weight", {channels, config_.head_dim, config_.conv_time1});
    add("self_attn.qkv_proj.conv_qk_grouped.bias", {channels});
    add("self_attn.qk_norm.temp", {config_.num_kv_heads});
    projection("self_attn.o_proj", hidden, config_.q_width());
  }

  void merge(const std::string& name) {
    for (const char* part : {"hidden_states_scale", "hidden_states_bias", "residual_scale", "residual_bias"}) {
      add(name + part, {config_.hidden_size});
    }
  }

  void router(int64_t layer) {
    const int64_t width = config_.router_width;
    add("post_attention_layernorm.weight", {config_.hidden_size});
    add("mlp.gate.down_proj.weight", {width, config_.hidden_size});
    add("mlp.gate.down_proj.bias", {width});
    if (layer > 0) add("mlp.gate.router_states_scale", {width});
    add("mlp.gate.router_mlp.norm.weight", {width});
    for (const char* name : {"mlp.gate.router_mlp.fc1", "mlp.gate.router_mlp.fc2"}) {
      add(std::string(name) + ".weight", {width, width});
      add(std::string(name) + ".bias", {width});
    }
    add("mlp.gate.router_mlp.out_proj.weight", {config_.router_classes(), width});
    add("mlp.gate.balancing_biases", {config_.router_classes()});
  }

  void experts() {
    const int64_t hidden = config_.hidden_size, width = config_.expert_width;
    for (int64_t expert = 0; expert < config_.num_experts; ++expert) {
      const std::string name = fmt::format("mlp.experts.{}.", expert);
      add(name + "gate", {width, hidden}, true);
      add(name + "up", {width, hidden}, true);
      add(name + "down", {hidden, width}, true);
    }
  }

  const ModelConfig& config_;
  std::string prefix_;
  std::vector<ExpectedTensor> tensors_;
};

}  // namespace

std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config) { return Lister(config).list(); }

}  // namespace zaya::checkpoint
