"""Rewrites a native ZAYA checkpoint in the original layout, as Zyphra first published the family.

    python to_original_layout.py NATIVE OUT [--config scalars|lists]

The network is the same; a native layer becomes two half-layers (attention 2l, mixture 2l+1), experts are stored one by
one, and each half-layer holds the residual scales that are applied at its *beginning*, so they move by one. config.json
comes in the two spellings that are in use: ZAYA1-8B-legacy gives scalars, ZAYA1-base and ZAYA1-reasoning-base lists
with one entry per half-layer, beside which `num_attention_heads` is not the number of query heads.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import zaya_reference
import torch
from safetensors.torch import save_file

RESIDUAL = ("hidden_states_scale", "hidden_states_bias", "residual_scale", "residual_bias")
ATTENTION = {
    "input_layernorm": "input_norm",
    "self_attn.qkv_proj.q_proj": "self_attn.qkv.linear_q",
    "self_attn.qkv_proj.k_proj": "self_attn.qkv.linear_k",
    "self_attn.qkv_proj.v_proj_current": "self_attn.qkv.val_proj1",
    "self_attn.qkv_proj.v_proj_delayed": "self_attn.qkv.val_proj2",
    "self_attn.qkv_proj.conv_qk_depthwise": "self_attn.qkv.conv_qk.0",
    "self_attn.qkv_proj.conv_qk_grouped": "self_attn.qkv.conv_qk.1",
    "self_attn.qk_norm": "self_attn.qkv",
    "self_attn.o_proj": "self_attn.o_proj",
}
MIXTURE = {
    "post_attention_layernorm": "input_norm",
    "mlp.gate.down_proj": "zaya_block.router.down_proj",
    "mlp.gate.router_mlp.norm": "zaya_block.router.rmsnorm_eda",
    "mlp.gate.router_mlp.fc1": "zaya_block.router.router_mlp.0",
    "mlp.gate.router_mlp.fc2": "zaya_block.router.router_mlp.2",
    "mlp.gate.router_mlp.out_proj": "zaya_block.router.router_mlp.4",
    "mlp.gate": "zaya_block.router",  # router_states_scale and balancing_biases
}
TOP = {
    "model.embed_tokens.weight": "model.embed_tokens.weight",
    "model.norm.weight": "model.final_norm.weight",
    "model.input_hidden_states_scale": "model.layers.0.res_scale.hidden_states_scale",
    "model.input_hidden_states_bias": "model.layers.0.res_scale.hidden_states_bias",
    "lm_head.weight": "lm_head.weight",
    "lm_head.bias": "lm_head.bias",
}


class NotRepresentable(ValueError):
    """The original configuration has no way to say this."""


def rename(name: str, layers: int) -> str:
    """Original name of a native tensor (stacked experts are not renamed but split, see convert_tensors)."""
    if name in TOP:
        return TOP[name]
    match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.([^.]+)", name)
    if not match:
        raise ValueError(f"unknown tensor {name}")
    layer, module, leaf = int(match[1]), match[2], match[3]
    if module == "post_attention_residual_scale":
        return f"model.layers.{2 * layer + 1}.res_scale.{leaf}"
    if module == "post_mlp_residual_scale":
        return f"model.layers.{2 * layer + 2}.res_scale.{leaf}" if layer + 1 < layers else f"model.res_scale.{leaf}"
    if module in ATTENTION:
        return f"model.layers.{2 * layer}.{ATTENTION[module]}.{leaf}"
    if module in MIXTURE:
        return f"model.layers.{2 * layer + 1}.{MIXTURE[module]}.{leaf}"
    raise ValueError(f"unknown tensor {name}")


def convert_tensors(native: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    original: dict[str, torch.Tensor] = {}
    for name, tensor in native.items():
        match = re.fullmatch(r"model\.layers\.(\d+)\.mlp\.experts\.(gate_up_proj|down_proj)", name)
        if match:
            half, linear = 2 * int(match[1]) + 1, "linear_fc1" if match[2] == "gate_up_proj" else "linear_fc2"
            for expert, matrix in enumerate(tensor):
                key = f"model.layers.{half}.zaya_block.experts.local_experts.{expert}.{linear}.weight"
                original[key] = matrix.clone()
        else:
            original[rename(name, layers)] = tensor.contiguous()
    return original


def convert_config(native: dict, style: str) -> dict:
    layers, head_dim = native["num_hidden_layers"], native["head_dim"]
    sliding = [kind == "hybrid_sliding" for kind in native["layer_types"]]
    full, slide = native["rope_parameters"]["hybrid"], native["rope_parameters"]["hybrid_sliding"]
    if any(sliding) and full["partial_rotary_factor"] != slide["partial_rotary_factor"]:
        raise NotRepresentable("different rotary factors in full and in sliding layers")
    if any(sliding) and native["sliding_window"] == 1:
        raise NotRepresentable("a window of one token: the original counts previous tokens, and 0 means no window")
    rotary = slide["partial_rotary_factor"] if all(sliding) else full["partial_rotary_factor"]

    def per_half(attention, mixture) -> list:
        return [attention, mixture] * layers

    original = {
        "activation_func": "swiglu", "activation_func_fp8_input_store": False, "add_bias_linear": False,
        "architectures": ["ZayaForCausalLM"], "attention_bias": native["attention_bias"], "attention_dropout": 0.0,
        "bias_activation_fusion": True, "bos_token_id": native["bos_token_id"], "cca": True, "clamp_temp": False,
        "dtype": native["dtype"], "eos_token_id": native["eos_token_id"], "gated_linear_unit": True,
        "hidden_size": native["hidden_size"], "kv_channels": head_dim, "lm_head_bias": native["lm_head_bias"],
        "mamba_cache_dtype": "float32", "max_position_embeddings": native["max_position_embeddings"],
        "model_type": "zaya", "moe_router_topk": native["num_experts_per_tok"],
        "norm_epsilon": native["rms_norm_eps"], "normalization": "RMSNorm",
        "num_hidden_layers": 2 * layers, "num_key_value_heads": native["num_key_value_heads"],
        "pad_token_id": native["pad_token_id"], "partial_rotary_factor": rotary, "residual_in_fp32": True,
        "rope_scaling": False, "rope_theta": full["rope_theta"], "scale_residual_merge": True, "sliding_window": None,
        "use_cache": True, "vocab_size": native["vocab_size"], "zaya_high_prec": True, "zaya_use_eda": True,
        "zaya_use_mod": True,
    }
    ffn = 2 * native["moe_intermediate_size"]  # gate and up together
    if style == "scalars":
        original |= {"ffn_hidden_size": ffn, "head_dim": head_dim, "num_attention_heads": native["num_attention_heads"],
                     "num_experts": native["num_experts"], "num_query_groups": native["num_key_value_heads"],
                     "zaya_mlp_expansion": native["router_hidden_size"]}
    else:
        original |= {"cca_num_q_heads": per_half(native["num_attention_heads"], 0),
                     "ffn_hidden_size_list": per_half(0, ffn),
                     "num_attention_heads": max(1, native["hidden_size"] // head_dim),
                     "num_query_groups_list": per_half(native["num_key_value_heads"], 0),
                     "zaya_layers": per_half("a", native["num_experts"]),
                     "zaya_mlp_expansion": per_half(0, native["router_hidden_size"])}
    # What the published files leave to the defaults is written only where it differs from them.
    for key, default in (("cca_time0", 2), ("cca_time1", 2), ("tie_word_embeddings", True)):
        if native[key] != default:
            original[key] = native[key]
    if any(sliding):  # the original counts the tokens before the current one
        original["swa_layers"] = [w for slides in sliding for w in (native["sliding_window"] - 1 if slides else 0, 0)]
        original["swa_rotary_base"] = slide["rope_theta"]
    return dict(sorted(original.items()))


def convert(native: Path, out: Path, style: str = "scalars") -> None:
    """Writes `out`/{config.json, model.safetensors}; raises NotRepresentable before it writes anything."""
    config = json.loads((native / "config.json").read_text())
    converted = convert_config(config, style)
    out.mkdir(parents=True, exist_ok=True)
    tensors = convert_tensors(zaya_reference.load_tensors(native), config["num_hidden_layers"])
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    (out / "config.json").write_text(json.dumps(converted, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("native", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--config", choices=("scalars", "lists"), default="scalars")
    arguments = parser.parse_args()
    try:
        convert(arguments.native, arguments.out, arguments.config)
    except NotRepresentable as problem:
        raise SystemExit(f"{arguments.native}: not representable in the original layout: {problem}")


if __name__ == "__main__":
    main()
