"""Helpers around transformers' ZayaForCausalLM: load, run, look inside; and the same model once more in float64.

Everything here runs on one thread with eager attention and without a cache, so that results repeat.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import numpy as np
import torch
from safetensors import safe_open
from transformers import ZayaForCausalLM
from transformers.utils import logging as transformers_logging

torch.set_num_threads(1)
transformers_logging.disable_progress_bar()
logging.getLogger("transformers").setLevel(logging.ERROR)


@torch.no_grad()
def load_model(directory: Path, dtype: torch.dtype = torch.float32) -> ZayaForCausalLM:
    """The checkpoint in `directory` (native layout), its weights converted to `dtype`.

    transformers 5.23 sets the skip class's balancing bias to -1 while it loads, whatever the file says: its
    _init_weights assigns it without asking whether it was loaded. The released models hold -1 there, so nobody
    notices; here the file counts, as it does when transformers trains a model and goes on using it.
    """
    model = ZayaForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="eager",
                                            experts_implementation="eager")
    stored = load_tensors(directory)
    for name, buffer in model.named_buffers():
        if name.endswith("balancing_biases"):
            buffer.copy_(stored[name])
    return model.eval()


def load_tensors(directory: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint directory, single or sharded, as they are stored."""
    index = directory / "model.safetensors.index.json"
    names = {"model.safetensors"}
    if index.exists():
        names = set(json.loads(index.read_text())["weight_map"].values())
    tensors: dict[str, torch.Tensor] = {}
    for name in sorted(names):
        with safe_open(directory / name, framework="pt") as file:
            tensors.update({key: file.get_tensor(key) for key in file.keys()})
    return tensors


@dataclasses.dataclass
class Trace:
    """What one forward pass showed. n = tokens, L = layers."""

    logits: torch.Tensor  # [n, vocab] FP32
    hidden: list[torch.Tensor]  # L x [n, hidden] FP32: the residual stream after each layer
    choice: list[torch.Tensor]  # L x [n] I64: chosen router class, num_experts = the skip class
    weight: list[torch.Tensor]  # L x [n] FP32: the chosen class's probability, which multiplies the expert's output
    margin: float  # smallest distance between best and second-best biased probability, any token, any layer
    unbiased_differs: float  # share of (token, layer) where the balancing biases change the choice


@torch.no_grad()
def run(model: ZayaForCausalLM, tokens: list[int]) -> torch.Tensor:
    """Logits [n, vocab] in FP32 of one prompt."""
    return model(torch.tensor([tokens]), use_cache=False).logits[0].float()


@torch.no_grad()
def trace(model: ZayaForCausalLM, tokens: list[int]) -> Trace:
    """Like run(), with the residual stream and the router's decisions of every layer."""
    hidden: list[torch.Tensor] = []
    choice: list[torch.Tensor] = []
    weight: list[torch.Tensor] = []
    margins: list[float] = []
    differs: list[float] = []

    def on_layer(_module, _inputs, output):
        hidden.append((output[0] if isinstance(output, tuple) else output)[0].float().clone())

    def on_router(module, _inputs, output):
        router_logits, router_weight = output[0], output[1]
        probabilities = torch.softmax(router_logits.float(), dim=-1)
        biased = probabilities + module.balancing_biases.float()
        top = torch.topk(biased, 2, dim=-1).values
        choice.append(biased.argmax(dim=-1))
        weight.append(probabilities.gather(1, choice[-1][:, None])[:, 0])
        skipped = choice[-1] == module.num_experts  # the router itself then returns a weight of 0, for an output of 0
        assert torch.equal(torch.where(skipped, 0.0, weight[-1].to(router_weight.dtype)), router_weight[:, 0])
        margins.append((top[:, 0] - top[:, 1]).min().item())
        differs.append((probabilities.argmax(dim=-1) != choice[-1]).float().mean().item())

    hooks = []
    for layer in model.model.layers:
        hooks.append(layer.register_forward_hook(on_layer))
        hooks.append(layer.mlp.gate.register_forward_hook(on_router))
    try:
        logits = run(model, tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return Trace(logits, hidden, choice, weight, min(margins), sum(differs) / len(differs))


@torch.no_grad()
def greedy(model: ZayaForCausalLM, tokens: list[int], count: int) -> tuple[list[int], float, float]:
    """`count` tokens of greedy continuation, everything recomputed for each (no cache), no stop token; the smallest
    gap between best and second-best logit relative to the logits' standard deviation; the smallest router margin."""
    tokens = list(tokens)
    start = len(tokens)
    gap = margin = float("inf")
    for _ in range(count):
        step = trace(model, tokens)
        top = torch.topk(step.logits[-1], 2)
        gap = min(gap, ((top.values[0] - top.values[1]) / step.logits[-1].std()).item())
        margin = min(margin, step.margin)
        tokens.append(int(top.indices[0]))
    return tokens[start:], gap, margin


def relative_difference(ours: torch.Tensor, reference: torch.Tensor) -> float:
    """Greatest |difference| over the reference's standard deviation; inf if anything is not finite."""
    difference = (ours.double() - reference.double()).abs().max() / reference.double().std()
    return difference.item() if torch.isfinite(difference) else float("inf")


# The same network written down once more, in numpy and float64, straight from its equations and without a line of
# transformers. It says how far the FP32 reference itself is from exact arithmetic, and that we read it right.


def _rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1.0 + torch.erf(torch.from_numpy(x / np.sqrt(2.0))).numpy())


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rotary_angles(head_dim: int, rope: dict, positions: int, single_angles: bool = True) -> np.ndarray:
    """Angles [positions, pairs]; pair i turns dims i and i + pairs.

    Rotated dims are int(head_dim * factor). transformers tolerates an odd number d: it then turns d + 1 dims, in
    (d + 1) / 2 pairs, with exponents 2i / d. With `single_angles` frequencies and angles are rounded to FP32 as
    transformers does; at position 600 that is worth up to 4e-5 rad.
    """
    dims = int(head_dim * rope["partial_rotary_factor"])
    if single_angles:
        frequency = 1.0 / (rope["rope_theta"] ** (torch.arange(0, dims, 2, dtype=torch.float) / dims))
        return (torch.arange(positions).float()[:, None] * frequency).double().numpy()
    return np.arange(positions)[:, None] * (1.0 / rope["rope_theta"] ** (np.arange(0, dims, 2) / dims))


def forward_float64(config: dict, tensors: dict[str, torch.Tensor], tokens: list[int],
                    single_angles: bool = True) -> np.ndarray:
    """Logits [n, vocab] in float64. `config`: parsed native config.json, `tensors`: native names."""
    w = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    eps, n = config["rms_norm_eps"], len(tokens)
    heads, kv_heads, dim = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    group = heads // kv_heads

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        y = x @ w[f"{name}.weight"].T
        return y + w[f"{name}.bias"] if f"{name}.bias" in w else y

    def merge(out: np.ndarray, r: np.ndarray, name: str) -> np.ndarray:
        return ((out + w[f"{name}.hidden_states_bias"]) * w[f"{name}.hidden_states_scale"]
                + (r + w[f"{name}.residual_bias"]) * w[f"{name}.residual_scale"])

    def attention(x: np.ndarray, name: str, layer_type: str) -> np.ndarray:
        q0, k0 = linear(x, f"{name}.qkv_proj.q_proj"), linear(x, f"{name}.qkv_proj.k_proj")
        time0, time1 = config["cca_time0"], config["cca_time1"]
        c0 = np.concatenate([np.zeros((time0 + time1 - 2, (heads + kv_heads) * dim)), np.concatenate([q0, k0], 1)])
        depthwise = w[f"{name}.qkv_proj.conv_qk_depthwise.weight"][:, 0]  # [channels, time0]
        c1 = sum(c0[t:t + n + time1 - 1] * depthwise[:, t] for t in range(time0))
        c1 = c1 + w[f"{name}.qkv_proj.conv_qk_depthwise.bias"]
        grouped = w[f"{name}.qkv_proj.conv_qk_grouped.weight"].reshape(heads + kv_heads, dim, dim, time1)
        c1 = c1.reshape(-1, heads + kv_heads, dim)
        c2 = sum(np.einsum("nhi,hoi->nho", c1[t:t + n], grouped[..., t]) for t in range(time1))
        c2 = c2 + w[f"{name}.qkv_proj.conv_qk_grouped.bias"].reshape(heads + kv_heads, dim)
        mean_q = (q0.reshape(n, kv_heads, group, dim) + k0.reshape(n, kv_heads, 1, dim)) / 2
        q = c2[:, :heads] + mean_q.reshape(n, heads, dim)
        k = c2[:, heads:] + mean_q.mean(axis=2)
        q = q * (np.sqrt(dim) / np.linalg.norm(q, axis=-1, keepdims=True))
        k = k * (np.sqrt(dim) / np.linalg.norm(k, axis=-1, keepdims=True)) * w[f"{name}.qk_norm.temp"][:, None]

        angles = rotary_angles(dim, config["rope_parameters"][layer_type], n, single_angles)[:, None]
        pairs = angles.shape[-1]
        cos, sin = np.cos(angles), np.sin(angles)

        def rotate(y: np.ndarray) -> np.ndarray:
            a, b = y[..., :pairs], y[..., pairs:2 * pairs]
            return np.concatenate([a * cos - b * sin, b * cos + a * sin, y[..., 2 * pairs:]], axis=-1)

        q, k = rotate(q), rotate(k)
        previous = np.concatenate([np.zeros((1, x.shape[1])), x[:-1]])
        v = np.concatenate([linear(x, f"{name}.qkv_proj.v_proj_current"),
                            linear(previous, f"{name}.qkv_proj.v_proj_delayed")], axis=1).reshape(n, kv_heads, dim)
        distance = np.arange(n)[:, None] - np.arange(n)[None, :]
        visible = distance >= 0
        if layer_type == "hybrid_sliding":
            visible &= distance < config["sliding_window"]
        out = np.empty((n, heads, dim))
        for head in range(heads):
            scores = q[:, head] @ k[:, head // group].T / np.sqrt(dim)
            out[:, head] = _softmax(np.where(visible, scores, -np.inf)) @ v[:, head // group]
        return linear(out.reshape(n, heads * dim), f"{name}.o_proj")

    def mixture(x: np.ndarray, router_state: np.ndarray | None, name: str) -> tuple[np.ndarray, np.ndarray]:
        state = linear(x, f"{name}.gate.down_proj")
        if router_state is not None:
            state = state + router_state * w[f"{name}.gate.router_states_scale"]
        z = _rms_norm(state, w[f"{name}.gate.router_mlp.norm.weight"], eps)
        z = _gelu(linear(z, f"{name}.gate.router_mlp.fc1"))
        z = _gelu(linear(z, f"{name}.gate.router_mlp.fc2"))
        p = _softmax(linear(z, f"{name}.gate.router_mlp.out_proj"))
        choice = (p + w[f"{name}.gate.balancing_biases"]).argmax(axis=-1)
        out = np.zeros_like(x)
        for expert in range(config["num_experts"]):
            rows = np.flatnonzero(choice == expert)
            gate, up = np.split(x[rows] @ w[f"{name}.experts.gate_up_proj"][expert].T, 2, axis=1)
            act = gate / (1.0 + np.exp(-gate)) * up
            out[rows] = act @ w[f"{name}.experts.down_proj"][expert].T * p[rows, expert, None]
        return out, state

    r = w["model.embed_tokens.weight"][tokens]
    r = (r + w["model.input_hidden_states_bias"]) * w["model.input_hidden_states_scale"]
    router_state = None
    for index, layer_type in enumerate(config["layer_types"]):
        name = f"model.layers.{index}"
        x = _rms_norm(r, w[f"{name}.input_layernorm.weight"], eps)
        a = attention(x, f"{name}.self_attn", layer_type)
        r = merge(a, r, f"{name}.post_attention_residual_scale")
        x = _rms_norm(r, w[f"{name}.post_attention_layernorm.weight"], eps)
        m, router_state = mixture(x, router_state, f"{name}.mlp")
        r = merge(m, r, f"{name}.post_mlp_residual_scale")
    head = w["model.embed_tokens.weight"] if config["tie_word_embeddings"] else w["lm_head.weight"]
    logits = _rms_norm(r, w["model.norm.weight"], eps) @ head.T
    return logits + w["lm_head.bias"] if "lm_head.bias" in w else logits
