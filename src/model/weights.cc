#include "model/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cpu/thread_team.h"

namespace zaya::model {

using checkpoint::ModelConfig;

namespace {

ops::ResidualScales load_scales(WeightSource& from, const std::string& prefix, int64_t width) {
  return {.branch_scale = from.vector(prefix + "hidden_states_scale", width),
          .branch_bias = from.vector(prefix + "hidden_states_bias", width),
          .residual_scale = from.vector(prefix + "residual_scale", width),
          .residual_bias = from.vector(prefix + "residual_bias", width)};
}

LayerWeights load_layer(WeightSource& from, const ModelConfig& c, int64_t index) {
  const std::string layer = fmt::format("model.layers.{}.", index);
  const std::string qkv = layer + "self_attn.qkv_proj.";
  const std::string gate = layer + "mlp.gate.";
  const checkpoint::LayerConfig& own = c.layers[static_cast<size_t>(index)];
  const int64_t classes = c.router_classes(), width = c.router_width;

  LayerWeights w;
  w.input_norm = from.vector(layer + "input_layernorm.weight", c.hidden_size);
  w.q = from.matrix(qkv + "q_proj.weight", c.q_width(), c.hidden_size);
  w.k = from.matrix(qkv + "k_proj.weight", c.kv_width(), c.hidden_size);
  w.value_current = from.matrix(qkv + "v_proj_current.weight", c.kv_width() / 2, c.hidden_size);
  w.value_delayed = from.matrix(qkv + "v_proj_delayed.weight", c.kv_width() / 2, c.hidden_size);
  w.output = from.matrix(layer + "self_attn.o_proj.weight", c.hidden_size, c.q_width());
  if (c.attention_bias) {
    w.q_bias = from.vector(qkv + "q_proj.bias", c.q_width());
    w.k_bias = from.vector(qkv + "k_proj.bias", c.kv_width());
    w.value_current_bias = from.vector(qkv + "v_proj_current.bias", c.kv_width() / 2);
    w.value_delayed_bias = from.vector(qkv + "v_proj_delayed.bias", c.kv_width() / 2);
    w.output_bias = from.vector(layer + "self_attn.o_proj.bias", c.hidden_size);
  }
  w.cca_shape = {.num_heads = c.num_heads,
                 .num_kv_heads = c.num_kv_heads,
                 .head_dim = c.head_dim,
                 .conv_time0 = c.conv_time0,
                 .conv_time1 = c.conv_time1,
                 .rotary_dims = own.rotary_dims,
                 .sliding_window = own.sliding_window};
  w.cca.depthwise = from.vector(qkv + "conv_qk_depthwise.weight", c.conv_channels() * c.conv_time0);
  w.cca.depthwise_bias = from.vector(qkv + "conv_qk_depthwise.bias", c.conv_channels());
  w.cca.grouped = from.grouped_convolution(qkv + "conv_qk_grouped.weight", c.conv_channels(), c.conv_time1, c.head_dim);
  w.cca.grouped_bias = from.vector(qkv + "conv_qk_grouped.bias", c.conv_channels());
  w.cca.temperature = from.vector(layer + "self_attn.qk_norm.temp", c.num_kv_heads);
  w.after_attention = load_scales(from, layer + "post_attention_residual_scale.", c.hidden_size);
  w.post_attention_norm = from.vector(layer + "post_attention_layernorm.weight", c.hidden_size);

  w.router.down = from.matrix(gate + "down_proj.weight", width, c.hidden_size);
  w.router.down_bias = from.vector(gate + "down_proj.bias", width);
  if (index > 0) w.router.state_scale = from.vector(gate + "router_states_scale", width);
  w.router.norm = from.vector(gate + "router_mlp.norm.weight", width);
  w.router.norm_eps = c.rms_norm_eps;
  w.router.fc1 = from.matrix(gate + "router_mlp.fc1.weight", width, width);
  w.router.fc1_bias = from.vector(gate + "router_mlp.fc1.bias", width);
  w.router.fc2 = from.matrix(gate + "router_mlp.fc2.weight", width, width);
  w.router.fc2_bias = from.vector(gate + "router_mlp.fc2.bias", width);
  w.router.out = from.matrix(gate + "router_mlp.out_proj.weight", classes, width);
  w.router.balancing_bias = from.vector(gate + "balancing_biases", classes);
  for (int64_t e = 0; e < c.num_experts; ++e) {
    const std::string expert = fmt::format("{}mlp.experts.{}.", layer, e);
    w.experts.push_back({.gate = from.matrix(expert + "gate", c.expert_width, c.hidden_size),
                         .up = from.matrix(expert + "up", c.expert_width, c.hidden_size),
                         .down = from.matrix(expert + "down", c.hidden_size, c.expert_width)});
  }
  w.after_experts = load_scales(from, layer + "post_mlp_residual_scale.", c.hidden_size);
  return w;
}

constexpr const char* kEmbedding = "model.embed_tokens.weight";

}  // namespace

const char* head_name(const ModelConfig& config) { return config.tie_embeddings ? kEmbedding : "lm_head.weight"; }

Result<Weights> Weights::load(const ModelConfig& c, WeightSource& from) {
  Weights w;
  w.embedding = from.matrix(kEmbedding, c.vocab_size, c.hidden_size);
  w.input_scale = from.vector("model.input_hidden_states_scale", c.hidden_size);
  w.input_bias = from.vector("model.input_hidden_states_bias", c.hidden_size);
  for (int64_t l = 0; l < c.num_layers(); ++l) {
    w.layers.push_back(load_layer(from, c, l));
    const checkpoint::LayerConfig& own = c.layers[static_cast<size_t>(l)];
    const auto same = [&](const Rotary& r) { return r.theta == own.rope_theta && r.dims == own.rotary_dims; };
    auto found = std::find_if(w.rotaries.begin(), w.rotaries.end(), same);
    w.layers.back().rotary = static_cast<size_t>(found - w.rotaries.begin());
    if (found == w.rotaries.end()) w.rotaries.push_back({own.rope_theta, own.rotary_dims});
    ZAYA_RETURN_IF_ERROR(from.status());
    // Backends take a layer's experts alike: packed, or row-major.
    const bool packed = ops::is_packed(w.layers.back().experts[0].gate.type);
    for (const ops::Expert& expert : w.layers.back().experts) {
      for (const ops::Matrix* matrix : {&expert.gate, &expert.up, &expert.down}) {
        if (ops::is_packed(matrix->type) == packed) continue;
        return Status(Code::malformed, fmt::format("layer {} has packed experts and others that are not", l));
      }
    }
  }
  w.final_norm = from.vector("model.norm.weight", c.hidden_size);
  w.head.exact = c.tie_embeddings ? w.embedding : from.matrix(head_name(c), c.vocab_size, c.hidden_size);
  if (c.lm_head_bias) w.head.bias = from.vector("lm_head.bias", c.vocab_size);
  ZAYA_RETURN_IF_ERROR(from.status());
  return w;
}

}  // namespace zaya::model
