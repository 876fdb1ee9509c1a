#include "checkpoint/names.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "checkpoint/synthetic.h"

namespace zaya::checkpoint {
namespace {

using Kind = NameTarget::Kind;

std::string resolved(Layout layout, const std::string& name, int64_t layers = 40) {
  const NameTarget target = resolve_name(layout, name, layers);
  return target.kind == Kind::tensor && !target.scale ? target.canonical : "";
}

// Pairs as the published index files have them, for a model of 40 layers.
TEST(Names, OriginalToCanonical) {
  const std::map<std::string, std::string> pairs = {
      {"model.embed_tokens.weight", "model.embed_tokens.weight"},
      {"model.final_norm.weight", "model.norm.weight"},
      {"model.layers.0.res_scale.hidden_states_scale", "model.input_hidden_states_scale"},
      {"model.layers.0.res_scale.hidden_states_bias", "model.input_hidden_states_bias"},
      {"model.layers.0.input_norm.weight", "model.layers.0.input_layernorm.weight"},
      {"model.layers.6.self_attn.qkv.linear_q.weight", "model.layers.3.self_attn.qkv_proj.q_proj.weight"},
      {"model.layers.6.self_attn.qkv.linear_k.weight", "model.layers.3.self_attn.qkv_proj.k_proj.weight"},
      {"model.layers.6.self_attn.qkv.val_proj1.weight", "model.layers.3.self_attn.qkv_proj.v_proj_current.weight"},
      {"model.layers.6.self_attn.qkv.val_proj2.weight", "model.layers.3.self_attn.qkv_proj.v_proj_delayed.weight"},
      {"model.layers.6.self_attn.qkv.conv_qk.0.weight", "model.layers.3.self_attn.qkv_proj.conv_qk_depthwise.weight"},
      {"model.layers.6.self_attn.qkv.conv_qk.1.bias", "model.layers.3.self_attn.qkv_proj.conv_qk_grouped.bias"},
      {"model.layers.6.self_attn.qkv.temp", "model.layers.3.self_attn.qk_norm.temp"},
      {"model.layers.6.self_attn.o_proj.weight", "model.layers.3.self_attn.o_proj.weight"},
      {"model.layers.6.res_scale.residual_scale", "model.layers.2.post_mlp_residual_scale.residual_scale"},
      {"model.layers.7.res_scale.residual_bias", "model.layers.3.post_attention_residual_scale.residual_bias"},
      {"model.layers.7.input_norm.weight", "model.layers.3.post_attention_layernorm.weight"},
      {"model.layers.7.zaya_block.router.down_proj.bias", "model.layers.3.mlp.gate.down_proj.bias"},
      {"model.layers.7.zaya_block.router.router_states_scale", "model.layers.3.mlp.gate.router_states_scale"},
      {"model.layers.7.zaya_block.router.rmsnorm_eda.weight", "model.layers.3.mlp.gate.router_mlp.norm.weight"},
      {"model.layers.7.zaya_block.router.router_mlp.0.weight", "model.layers.3.mlp.gate.router_mlp.fc1.weight"},
      {"model.layers.7.zaya_block.router.router_mlp.2.bias", "model.layers.3.mlp.gate.router_mlp.fc2.bias"},
      {"model.layers.7.zaya_block.router.router_mlp.4.weight", "model.layers.3.mlp.gate.router_mlp.out_proj.weight"},
      {"model.layers.7.zaya_block.router.balancing_biases", "model.layers.3.mlp.gate.balancing_biases"},
      {"model.layers.7.smoe_block.router.balancing_biases", "model.layers.3.mlp.gate.balancing_biases"},
      {"model.layers.7.zaya_block.experts.local_experts.11.linear_fc2.weight", "model.layers.3.mlp.experts.11.down"},
      {"model.res_scale.hidden_states_scale", "model.layers.39.post_mlp_residual_scale.hidden_states_scale"},
  };
  for (const auto& [original, canonical] : pairs)
    EXPECT_EQ(resolved(Layout::original, original), canonical) << original;
  const NameTarget both =
      resolve_name(Layout::original, "model.layers.7.zaya_block.experts.local_experts.11.linear_fc1.weight", 40);
  EXPECT_EQ(both.kind, Kind::expert_gate_up);
  EXPECT_EQ(both.canonical, "model.layers.3.mlp.experts.11");
}

TEST(Names, NativeExperts) {
  const std::string experts = "model.layers.3.mlp.experts";
  EXPECT_EQ(resolve_name(Layout::native, experts + ".gate_up_proj", 40).kind, Kind::stack_gate_up);
  EXPECT_EQ(resolve_name(Layout::native, experts + ".gate_up_proj.weight", 40).kind, Kind::stack_gate_up);
  EXPECT_EQ(resolve_name(Layout::native, experts + ".down_proj", 40).canonical, experts);
  EXPECT_EQ(resolved(Layout::native, experts + ".5.gate_proj.weight"), experts + ".5.gate");
  EXPECT_EQ(resolved(Layout::native, experts + ".5.up_proj.weight"), experts + ".5.up");
  EXPECT_EQ(resolved(Layout::native, experts + ".5.down_proj.weight"), experts + ".5.down");
}

TEST(Names, Factors) {
  for (const char* name : {"gate_up_proj.weight_scale", "gate_up_proj_weight_scale", "gate_up_proj_scale"}) {
    const NameTarget target = resolve_name(Layout::native, std::string("model.layers.0.mlp.experts.") + name, 1);
    EXPECT_EQ(target.kind, Kind::stack_gate_up) << name;
    EXPECT_TRUE(target.scale) << name;
  }
  EXPECT_TRUE(resolve_name(Layout::native, "model.layers.0.mlp.experts.2.up_proj.weight_scale", 1).scale);
  const NameTarget fc1 =
      resolve_name(Layout::original, "model.layers.1.zaya_block.experts.local_experts.0.linear_fc1.weight_scale", 1);
  EXPECT_EQ(fc1.kind, Kind::expert_gate_up);
  EXPECT_TRUE(fc1.scale);
  // Names that merely end so are tensors of their own, and only experts have factors.
  EXPECT_FALSE(resolve_name(Layout::native, "model.input_hidden_states_scale", 1).scale);
  EXPECT_EQ(resolve_name(Layout::native, "model.layers.0.self_attn.o_proj.weight_scale", 1).kind, Kind::unknown);
}

TEST(Names, UnknownAndHarmless) {
  for (const char* name :
       {"", "model", "model.layers.", "model.layers.0", "model.layers.0.", "model.layers.x.input_layernorm.weight",
        "model.layers.-1.input_layernorm.weight", "model.layers.40.input_layernorm.weight",
        "model.layers.00.input_layernorm.weight", "model.layers.99999999999999999999.input_layernorm.weight",
        "model.layers.0.mlp.experts.x.gate_proj.weight", "model.layers.0.mlp.experts.0.gate_proj",
        "model.layers.0.mlp.expertsX.0.gate_proj.weight", "model.layers.0.mlp.shared_expert.weight"}) {
    EXPECT_EQ(resolve_name(Layout::native, name, 40).kind, Kind::unknown) << name;
  }
  for (const char* name : {"model.layers.80.input_norm.weight", "model.layers.0.res_scale.residual_scale",
                           "model.layers.1.self_attn.qkv.temp", "model.layers.0.zaya_block.router.balancing_biases"}) {
    EXPECT_EQ(resolve_name(Layout::original, name, 40).kind, Kind::unknown) << name;
  }
  EXPECT_EQ(resolve_name(Layout::native, "model.rotary_emb.inv_freq", 40).kind, Kind::harmless);
  EXPECT_EQ(resolve_name(Layout::native, "model.layers.0.mlp.gate.router_states_scale", 40).kind, Kind::harmless);
}

// Every expected tensor has one name in each layout, and that name leads back to it.
TEST(Names, SpellingsAreInverse) {
  ModelConfig config = *shape_named("tiny");
  config.attention_bias = config.lm_head_bias = true;
  config.tie_embeddings = false;
  for (const Layout layout : {Layout::native, Layout::original}) {
    std::set<std::string> seen;
    for (const ExpectedTensor& tensor : expected_tensors(config)) {
      const std::string name = file_name(layout, tensor.name, config.num_layers(), /*stacked=*/false);
      const NameTarget target = resolve_name(layout, name, config.num_layers());
      if (target.kind == Kind::expert_gate_up) {
        EXPECT_TRUE(tensor.name == target.canonical + ".gate" || tensor.name == target.canonical + ".up");
        continue;
      }
      EXPECT_EQ(target.canonical, tensor.name);
      EXPECT_TRUE(seen.insert(name).second) << name;
    }
  }
}

// Counts and parameters of the published models: 1,283 tensors in the native files of the 8B, 2,483 in the original.
TEST(Names, ExpectedTensorsOfThePublishedModels) {
  const auto count = [](const ModelConfig& config, Layout layout) {
    std::set<std::string> names;
    for (const ExpectedTensor& tensor : expected_tensors(config)) {
      names.insert(file_name(layout, tensor.name, config.num_layers()));
    }
    return names.size();
  };
  const auto parameters = [](const ModelConfig& config) {
    int64_t sum = 0;
    for (const ExpectedTensor& tensor : expected_tensors(config)) {
      int64_t elements = 1;
      for (int64_t size : tensor.shape) elements *= size;
      sum += elements;
    }
    return sum;
  };
  const ModelConfig small = *shape_named("8b"), large = *shape_named("74b");
  EXPECT_EQ(count(small, Layout::native), 1283u);
  EXPECT_EQ(count(small, Layout::original), 2483u);
  EXPECT_EQ(parameters(small), 8'840'489'464);
  EXPECT_EQ(count(large, Layout::native), 60 * 32 - 1 + 4u);
  // 60 layers × 24 experts × 3 matrices of 4096 × 4096 are 72.5 billion of it.
  EXPECT_GT(parameters(large), 72'477'573'120 + 262272 * int64_t{4096});
  EXPECT_LT(parameters(large), 76'000'000'000);
}

TEST(Names, LayoutFromNames) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(layout_from_names(Names{"model.norm.weight"}), Layout::native);
  EXPECT_EQ(layout_from_names(Names{"model.final_norm.weight"}), Layout::original);
  EXPECT_EQ(layout_from_names(Names{"model.norm.weight", "model.final_norm.weight"}), std::nullopt);
  EXPECT_EQ(layout_from_names(Names{"model.layers.0.mlp.gate.down_proj.weight"}), Layout::native);
  EXPECT_EQ(layout_from_names(Names{"model.layers.1.zaya_block.router.down_proj.weight"}), Layout::original);
  EXPECT_EQ(layout_from_names(Names{"transformer.h.0.weight"}), std::nullopt);
}

}  // namespace
}  // namespace zaya::checkpoint
