#include "checkpoint/names.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace zaya::checkpoint {
namespace {

constexpr std::string_view layer_prefix = "model.layers.";
constexpr std::string_view experts_part = "mlp.experts";
constexpr std::string_view original_experts_part = "zaya_block.experts.local_experts.";

struct Spelling {
  std::string_view native, original;
};

// Inside a layer; the original names belong to half-layer 2l …
constexpr std::array<Spelling, 16> attention_names = {{
    {"input_layernorm.weight", "input_norm.weight"},
    {"self_attn.qkv_proj.q_proj.weight", "self_attn.qkv.linear_q.weight"},
    {"self_attn.qkv_proj.q_proj.bias", "self_attn.qkv.linear_q.bias"},
    {"self_attn.qkv_proj.k_proj.weight", "self_attn.qkv.linear_k.weight"},
    {"self_attn.qkv_proj.k_proj.bias", "self_attn.qkv.linear_k.bias"},
    {"self_attn.qkv_proj.v_proj_current.weight", "self_attn.qkv.val_proj1.weight"},
    {"self_attn.qkv_proj.v_proj_current.bias", "self_attn.qkv.val_proj1.bias"},
    {"self_attn.qkv_proj.v_proj_delayed.weight", "self_attn.qkv.val_proj2.weight"},
    {"self_attn.qkv_proj.v_proj_delayed.bias", "self_attn.qkv.val_proj2.bias"},
    {"self_attn.qkv_proj.conv_qk_depthwise.weight", "self_attn.qkv.conv_qk.0.weight"},
    {"self_attn.qkv_proj.conv_qk_depthwise.bias", "self_attn.qkv.conv_qk.0.bias"},
    {"self_attn.qkv_proj.conv_qk_grouped.weight", "self_attn.qkv.conv_qk.1.weight"},
    {"self_attn.qkv_proj.conv_qk_grouped.bias", "self_attn.qkv.conv_qk.1.bias"},
    {"self_attn.qk_norm.temp", "self_attn.qkv.temp"},
    {"self_attn.o_proj.weight", "self_attn.o_proj.weight"},
    {"self_attn.o_proj.bias", "self_attn.o_proj.bias"},
}};

// … and 2l + 1.
constexpr std::array<Spelling, 15> moe_names = {{
    {"post_attention_residual_scale.hidden_states_scale", "res_scale.hidden_states_scale"},
    {"post_attention_residual_scale.hidden_states_bias", "res_scale.hidden_states_bias"},
    {"post_attention_residual_scale.residual_scale", "res_scale.residual_scale"},
    {"post_attention_residual_scale.residual_bias", "res_scale.residual_bias"},
    {"post_attention_layernorm.weight", "input_norm.weight"},
    {"mlp.gate.down_proj.weight", "zaya_block.router.down_proj.weight"},
    {"mlp.gate.down_proj.bias", "zaya_block.router.down_proj.bias"},
    {"mlp.gate.router_states_scale", "zaya_block.router.router_states_scale"},
    {"mlp.gate.router_mlp.norm.weight", "zaya_block.router.rmsnorm_eda.weight"},
    {"mlp.gate.router_mlp.fc1.weight", "zaya_block.router.router_mlp.0.weight"},
    {"mlp.gate.router_mlp.fc1.bias", "zaya_block.router.router_mlp.0.bias"},
    {"mlp.gate.router_mlp.fc2.weight", "zaya_block.router.router_mlp.2.weight"},
    {"mlp.gate.router_mlp.fc2.bias", "zaya_block.router.router_mlp.2.bias"},
    {"mlp.gate.router_mlp.out_proj.weight", "zaya_block.router.router_mlp.4.weight"},
    {"mlp.gate.balancing_biases", "zaya_block.router.balancing_biases"},
}};

// The merge after the MoE: half-layer 2l + 2 has it, the model itself after the last layer.
constexpr std::array<Spelling, 4> post_mlp_names = {{
    {"post_mlp_residual_scale.hidden_states_scale", "res_scale.hidden_states_scale"},
    {"post_mlp_residual_scale.hidden_states_bias", "res_scale.hidden_states_bias"},
    {"post_mlp_residual_scale.residual_scale", "res_scale.residual_scale"},
    {"post_mlp_residual_scale.residual_bias", "res_scale.residual_bias"},
}};

// Outside the layers. Half-layer 0 has only the two input scales, so these never collide with post_mlp_names.
constexpr std::array<Spelling, 6> global_names = {{
    {"model.embed_tokens.weight", "model.embed_tokens.weight"},
    {"model.input_hidden_states_scale", "model.layers.0.res_scale.hidden_states_scale"},
    {"model.input_hidden_states_bias", "model.layers.0.res_scale.hidden_states_bias"},
    {"model.norm.weight", "model.final_norm.weight"},
    {"lm_head.weight", "lm_head.weight"},
    {"lm_head.bias", "lm_head.bias"},
}};

using Member = std::string_view Spelling::*;

// The row of `table` whose `member` is `name`, or nullptr.
template <size_t n>
const Spelling* look_up(const std::array<Spelling, n>& table, Member member, std::string_view name) {
  for (const Spelling& spelling : table) {
    if (spelling.*member == name) return &spelling;
  }
  return nullptr;
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool take_suffix(std::string_view& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

// A decimal index without sign or leading zeros, at the start of `text` and followed by a dot, which is taken too.
std::optional<int64_t> take_index(std::string_view& text) {
  const size_t dot = text.find('.');
  if (dot == std::string_view::npos || dot == 0 || dot > 9 || (text[0] == '0' && dot > 1)) return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + dot, value);
  if (error != std::errc() || end != text.data() + dot || value < 0) return std::nullopt;
  text.remove_prefix(dot + 1);
  return value;
}

NameTarget expert_target(NameTarget::Kind kind, std::string canonical) { return {kind, false, std::move(canonical)}; }

// "gate_up_proj", "down_proj" (stacked) or "E.gate_proj.weight" and so on, after "mlp.experts.".
NameTarget resolve_native_expert(std::string_view rest, int64_t layer) {
  const std::string experts = fmt::format("{}{}.{}", layer_prefix, layer, experts_part);
  if (rest == "gate_up_proj" || rest == "gate_up_proj.weight") {
    return expert_target(NameTarget::Kind::stack_gate_up, experts);
  }
  if (rest == "down_proj" || rest == "down_proj.weight") return expert_target(NameTarget::Kind::stack_down, experts);
  const auto expert = take_index(rest);
  if (!expert) return {};
  const std::string one = fmt::format("{}.{}", experts, *expert);
  if (rest == "gate_proj.weight") return expert_target(NameTarget::Kind::tensor, one + ".gate");
  if (rest == "up_proj.weight") return expert_target(NameTarget::Kind::tensor, one + ".up");
  if (rest == "down_proj.weight") return expert_target(NameTarget::Kind::tensor, one + ".down");
  if (rest == "gate_up_proj.weight") return expert_target(NameTarget::Kind::expert_gate_up, one);
  return {};
}

NameTarget resolve_native(std::string_view name, int64_t layers) {
  if (look_up(global_names, &Spelling::native, name)) return {NameTarget::Kind::tensor, false, std::string(name)};
  std::string_view rest = name;
  if (!take_prefix(rest, layer_prefix)) return {};
  const auto layer = take_index(rest);
  if (!layer || *layer >= layers) return {};
  std::string_view expert = rest;
  if (take_prefix(expert, experts_part) && take_prefix(expert, ".")) return resolve_native_expert(expert, *layer);
  if (look_up(attention_names, &Spelling::native, rest) || look_up(moe_names, &Spelling::native, rest) ||
      look_up(post_mlp_names, &Spelling::native, rest)) {
    return {NameTarget::Kind::tensor, false, std::string(name)};
  }
  return {};
}

NameTarget native_in_layer(int64_t layer, const Spelling* spelling) {
  if (spelling == nullptr) return {};
  return {NameTarget::Kind::tensor, false, fmt::format("{}{}.{}", layer_prefix, layer, spelling->native)};
}

NameTarget resolve_original(std::string_view name, int64_t layers) {
  if (const Spelling* spelling = look_up(global_names, &Spelling::original, name)) {
    return {NameTarget::Kind::tensor, false, std::string(spelling->native)};
  }
  std::string_view rest = name;
  if (!take_prefix(rest, layer_prefix)) {
    if (!take_prefix(rest, "model.") || layers < 1) return {};
    return native_in_layer(layers - 1, look_up(post_mlp_names, &Spelling::original, rest));
  }
  const auto half = take_index(rest);
  if (!half || *half >= 2 * layers) return {};
  const int64_t layer = *half / 2;
  if (*half % 2 == 0) {
    const Spelling* merge = look_up(post_mlp_names, &Spelling::original, rest);
    if (merge != nullptr) return layer > 0 ? native_in_layer(layer - 1, merge) : NameTarget();
    return native_in_layer(layer, look_up(attention_names, &Spelling::original, rest));
  }
  // One dialect says smoe_block where the published files say zaya_block.
  std::string renamed;
  if (rest.starts_with("smoe_block.")) {
    renamed = fmt::format("zaya_block.{}", rest.substr(11));
    rest = renamed;
  }
  if (!take_prefix(rest, original_experts_part)) {
    return native_in_layer(layer, look_up(moe_names, &Spelling::original, rest));
  }
  const auto expert = take_index(rest);
  if (!expert) return {};
  const std::string one = fmt::format("{}{}.{}.{}", layer_prefix, layer, experts_part, *expert);
  if (rest == "linear_fc1.weight") return expert_target(NameTarget::Kind::expert_gate_up, one);
  if (rest == "linear_fc2.weight") return expert_target(NameTarget::Kind::tensor, one + ".down");
  return {};
}

NameTarget resolve_plain(Layout layout, std::string_view name, int64_t layers) {
  return layout == Layout::native ? resolve_native(name, layers) : resolve_original(name, layers);
}

bool is_expert(const NameTarget& target) {
  return target.kind != NameTarget::Kind::unknown && target.canonical.find(".mlp.experts") != std::string::npos;
}

}  // namespace

NameTarget resolve_name(Layout layout, std::string_view name, int64_t layers) {
  // The first router has no router state to scale, so a factor for it would never be used.
  if (name.ends_with("router_states_scale") &&
      name == file_name(layout, "model.layers.0.mlp.gate.router_states_scale", layers)) {
    return {NameTarget::Kind::harmless, false, {}};
  }
  NameTarget target = resolve_plain(layout, name, layers);
  if (target.kind != NameTarget::Kind::unknown) return target;
  // "X.weight_scale" beside "X.weight" or "X"; "X_weight_scale" and "X_scale" beside a stack "X".
  for (std::string_view suffix : {".weight_scale", "_weight_scale", "_scale"}) {
    std::string_view base = name;
    if (!take_suffix(base, suffix)) continue;
    for (const std::string& candidate : {std::string(base) + ".weight", std::string(base)}) {
      target = resolve_plain(layout, candidate, layers);
      if (!is_expert(target)) continue;
      target.scale = true;
      return target;
    }
  }
  // Rotary tables are computed, not learned. An expert's input_scale serves quantised activations, which we do not use.
  if (name.ends_with("inv_freq") || (name.ends_with(".input_scale") && name.find("experts") != name.npos)) {
    return {NameTarget::Kind::harmless, false, {}};
  }
  return {};
}

std::string file_name(Layout layout, std::string_view canonical, int64_t layers, bool stacked) {
  std::string_view rest = canonical;
  if (!take_prefix(rest, layer_prefix)) {
    const Spelling* spelling = look_up(global_names, &Spelling::native, canonical);
    return std::string(spelling != nullptr && layout == Layout::original ? spelling->original : canonical);
  }
  const auto layer = take_index(rest);
  if (!layer) return std::string(canonical);

  std::string_view expert = rest;
  if (take_prefix(expert, experts_part) && take_prefix(expert, ".")) {
    const auto index = take_index(expert);
    if (!index) return std::string(canonical);
    const bool down = expert == "down";
    if (layout == Layout::original) {
      return fmt::format("{}{}.{}{}.linear_fc{}.weight", layer_prefix, 2 * *layer + 1, original_experts_part, *index,
                         down ? 2 : 1);
    }
    const std::string experts = fmt::format("{}{}.{}", layer_prefix, *layer, experts_part);
    if (stacked) return experts + (down ? ".down_proj" : ".gate_up_proj");
    return fmt::format("{}.{}.{}_proj.weight", experts, *index, expert);
  }
  if (layout == Layout::native) return std::string(canonical);

  if (const Spelling* spelling = look_up(attention_names, &Spelling::native, rest)) {
    return fmt::format("{}{}.{}", layer_prefix, 2 * *layer, spelling->original);
  }
  if (const Spelling* spelling = look_up(moe_names, &Spelling::native, rest)) {
    return fmt::format("{}{}.{}", layer_prefix, 2 * *layer + 1, spelling->original);
  }
  if (const Spelling* spelling = look_up(post_mlp_names, &Spelling::native, rest)) {
    if (*layer + 1 == layers) return fmt::format("model.{}", spelling->original);
    return fmt::format("{}{}.{}", layer_prefix, 2 * *layer + 2, spelling->original);
  }
  return std::string(canonical);
}

void LayoutEvidence::see(std::string_view name) {
  native_norm |= name == "model.norm.weight";
  original_norm |= name == "model.final_norm.weight";
  const auto has = [name](std::string_view part) { return name.find(part) != std::string_view::npos; };
  native_name |= has(".qkv_proj.") || has(".mlp.") || has(".post_attention_");
  original_name |= has(".self_attn.qkv.") || has(".zaya_block.") || has(".smoe_block.") || has(".res_scale.");
}

std::optional<Layout> LayoutEvidence::verdict() const {
  if (native_norm != original_norm) return native_norm ? Layout::native : Layout::original;
  if (native_norm || native_name == original_name) return std::nullopt;
  return native_name ? Layout::native : Layout::original;
}

}  // namespace zaya::checkpoint
