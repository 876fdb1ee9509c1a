"""Small random ZAYA checkpoints that between them vary every dimension of the configuration.

    python random_models.py OUT [--case NAME ...] [--seed N] [--bf16]

writes OUT/<case>/{config.json, model.safetensors} with transformers' own save_pretrained, so the files are what other
people's code writes. Default initialisation (ones, zeros, tiny matrices) would hide most mistakes, so every parameter
is drawn at least as widely as the released 8B's: see fill().
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import math
from pathlib import Path

import zaya_reference  # first: it quietens transformers and pins the threads
import torch
from transformers import ZayaConfig, ZayaForCausalLM


@dataclasses.dataclass(frozen=True)
class Case:
    """One model's shape."""

    name: str
    about: str
    layers: str = "ff"  # one letter a layer: f sees everything, s has the sliding window
    hidden: int = 48
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    experts: int = 5
    expert_width: int = 24
    router_width: int = 16
    time0: int = 2
    time1: int = 2
    rotary: float = 0.5
    sliding_rotary: float | None = None  # None: same as `rotary`
    theta: float = 5e6
    sliding_theta: float = 1e4
    window: int | None = None
    vocab: int = 96
    tied: bool = True
    attention_bias: bool = False
    lm_head_bias: bool = False
    eps: float = 1e-5
    skip_bias: float = -1.0  # balancing bias of the skip class; the released models have -1
    balancing: float = 0.05  # half-width of the other balancing biases
    router_gain: float = 6.0  # standard deviation of the router's last matrix, times sqrt(fan_in)
    embedding: float | None = None  # standard deviation of the embedding; None: logits come out around 2-3 wide
    bf16: bool = False  # stored in BF16 (the reference still computes in FP32)
    shard: str | None = None  # save_pretrained's max_shard_size
    wants: str = ""  # "skip": the skip class must win now and then; "balancing": the biases must change choices
    seed: int = 0  # of weights and prompts; found by write_goldens.py --search

    @property
    def layer_types(self) -> list[str]:
        return ["hybrid_sliding" if kind == "s" else "hybrid" for kind in self.layers]


CASES = [
    Case("like_8b", "the released model's proportions: GQA 4/2, conv 2/2, half rotary, theta 5e6, tied", seed=6),
    Case("one_layer", "one layer, one head, one KV head: current and delayed values meet inside the head", layers="f",
         hidden=36, heads=1, kv_heads=1, experts=3, expert_width=20, router_width=12, vocab=64, theta=1e4, seed=6),
    Case("five_layers", "the router state across depth", layers="fffff", hidden=32, head_dim=8, experts=2,
         expert_width=16, router_width=8, theta=1e6, vocab=80, seed=2),
    Case("heads_6_3", "odd number of KV heads; hidden and expert width no multiple of 8", hidden=52, heads=6,
         kv_heads=3, head_dim=8, experts=3, expert_width=20, router_width=12, theta=1e3, vocab=72, seed=6),
    Case("heads_4_4", "every query head its own KV head", hidden=40, heads=4, kv_heads=4, head_dim=12, experts=3,
         expert_width=28, router_width=24, vocab=65, shard="60KB", seed=1),
    Case("heads_3_1", "three query heads share one KV head", layers="fff", hidden=44, heads=3, kv_heads=1,
         head_dim=12, experts=2, expert_width=18, router_width=10, theta=5e5, vocab=101, seed=6),
    Case("heads_8_2_experts_16", "8/2 heads and 16 experts as in the 8B", hidden=32, heads=8, kv_heads=2, head_dim=8,
         experts=16, expert_width=12, router_width=16, balancing=0.02, router_gain=8, vocab=128, seed=1),
    Case("experts_24", "24 experts as in the 74B, untied head", hidden=24, head_dim=8, experts=24, expert_width=10,
         router_width=20, balancing=0.02, router_gain=9, tied=False, vocab=90, shard="50KB", seed=0),
    Case("experts_1", "a single expert beside the skip class", layers="fff", hidden=36, heads=2, kv_heads=1,
         head_dim=12, experts=1, expert_width=52, router_width=8, skip_bias=-0.2, wants="skip", vocab=64, theta=2e4,
         seed=11),
    Case("conv_1_1", "no history at all in the convolutions", hidden=36, head_dim=8, time0=1, time1=1, experts=3,
         expert_width=20, router_width=12, vocab=64, seed=1),
    Case("conv_1_3", "depthwise kernel 1, grouped kernel 3; a sliding_window that no layer uses", hidden=32,
         head_dim=8, time0=1, time1=3, window=4, experts=3, expert_width=17, router_width=9, vocab=66, seed=0),
    Case("conv_3_1", "depthwise kernel 3, grouped kernel 1", hidden=32, head_dim=12, time0=3, time1=1, experts=3,
         expert_width=16, router_width=12, vocab=70, seed=4),
    Case("conv_4_2", "depthwise kernel 4", hidden=40, heads=2, kv_heads=2, head_dim=12, time0=4, time1=2, experts=3,
         expert_width=24, router_width=12, vocab=64, eps=1e-4, seed=4),
    Case("conv_3_4", "grouped kernel 4, five steps of history", layers="fff", hidden=36, heads=2, kv_heads=1,
         head_dim=12, time0=3, time1=4, experts=3, expert_width=20, router_width=16, vocab=64, seed=3),
    Case("rotary_full", "all dims rotate, theta 100", hidden=48, heads=4, kv_heads=1, head_dim=12, rotary=1.0,
         theta=100.0, experts=3, expert_width=24, router_width=16, vocab=77, seed=10),
    Case("rotary_quarter", "a quarter of 32 dims rotates", hidden=40, heads=2, kv_heads=1, head_dim=32, rotary=0.25,
         experts=3, expert_width=20, router_width=12, vocab=64, seed=1),
    Case("rotary_truncated", "a factor that does not come out even: int(12 * 0.7) = 8 dims rotate", hidden=36, heads=2,
         kv_heads=2, head_dim=12, rotary=0.7, theta=1e4, experts=3, expert_width=20, router_width=12, vocab=64,
         seed=3),
    Case("window_1", "a window of the current token alone; other rotary factor in sliding layers", layers="sfs",
         hidden=32, head_dim=8, window=1, rotary=0.75, sliding_rotary=0.5, theta=1e6, sliding_theta=1e2, experts=3,
         expert_width=16, router_width=12, vocab=64, seed=2),
    Case("window_3", "a window of three, alternating", layers="sfsf", hidden=32, heads=2, kv_heads=1, head_dim=8,
         window=3, theta=5e6, sliding_theta=1e3, experts=3, expert_width=16, router_width=12, vocab=64, seed=13),
    Case("window_17", "a window of 17, sliding layer last", layers="ffs", hidden=36, heads=6, kv_heads=2, head_dim=8,
         window=17, theta=1e5, sliding_theta=1e4, experts=2, expert_width=20, router_width=12, vocab=64, seed=4),
    Case("window_64", "all layers slide", layers="ss", hidden=40, heads=4, kv_heads=2, head_dim=16, window=64,
         sliding_theta=5e4, experts=3, expert_width=20, router_width=16, vocab=64, seed=1),
    Case("biases", "attention and head biases, untied, odd KV heads: the first delayed value is a bias, not zero",
         layers="fsf", hidden=36, heads=3, kv_heads=3, head_dim=8, window=17, attention_bias=True, lm_head_bias=True,
         tied=False, experts=3, expert_width=20, router_width=12, vocab=64, shard="50KB", seed=2),
    Case("tied_head_bias", "a head bias beside a tied head; eps 1e-3", hidden=36, heads=2, kv_heads=2, head_dim=8,
         lm_head_bias=True, attention_bias=True, experts=3, expert_width=20, router_width=12, eps=1e-3, vocab=67,
         seed=0),
    Case("small_embedding", "a stream so small that eps 1e-6 is felt", hidden=40, heads=2, kv_heads=1, head_dim=16,
         embedding=0.004, eps=1e-6, experts=3, expert_width=20, router_width=12, tied=False, vocab=64, seed=2),
    Case("skip_wins", "the skip class is chosen for some tokens", layers="fff", hidden=36, head_dim=8, skip_bias=0.2,
         wants="skip", experts=3, expert_width=20, router_width=12, vocab=64, seed=8),
    Case("strong_balancing", "balancing biases of +-0.3 often change the choice", layers="fff", hidden=32, head_dim=8,
         balancing=0.3, wants="balancing", experts=5, expert_width=12, router_width=12, router_gain=5, vocab=64,
         seed=0),
    Case("head_dim_64", "weights stored in BF16, 64 wide heads", layers="f", hidden=40, heads=2, kv_heads=1,
         head_dim=64, experts=2, expert_width=20, router_width=12, bf16=True, vocab=64, seed=4),
    Case("head_dim_128", "weights stored in BF16, 128 wide head, grouped kernel 2", layers="f", hidden=24, heads=1,
         kv_heads=1, head_dim=128, experts=2, expert_width=16, router_width=8, theta=1e6, bf16=True, vocab=64,
         seed=9),
    Case("like_8b_bf16", "the first case's shape, stored in BF16", bf16=True, seed=6),
]


def case_named(name: str) -> Case:
    for case in CASES:
        if case.name == name:
            return case
    raise SystemExit(f"no case '{name}'; cases: {', '.join(c.name for c in CASES)}")


def config_of(case: Case) -> ZayaConfig:
    def rope(theta: float, factor: float) -> dict:
        return {"rope_type": "default", "rope_theta": theta, "partial_rotary_factor": factor}

    return ZayaConfig(
        vocab_size=case.vocab, hidden_size=case.hidden, num_hidden_layers=len(case.layers),
        num_attention_heads=case.heads, num_key_value_heads=case.kv_heads, head_dim=case.head_dim,
        num_experts=case.experts, num_experts_per_tok=1,
        moe_intermediate_size=case.expert_width, router_hidden_size=case.router_width, cca_time0=case.time0,
        cca_time1=case.time1, layer_types=case.layer_types, sliding_window=case.window, tie_word_embeddings=case.tied,
        attention_bias=case.attention_bias, lm_head_bias=case.lm_head_bias, rms_norm_eps=case.eps,
        max_position_embeddings=1024, pad_token_id=0, bos_token_id=2, eos_token_id=1,
        rope_parameters={"hybrid": rope(case.theta, case.rotary),
                         "hybrid_sliding": rope(case.sliding_theta, case.sliding_rotary or case.rotary)})


def fill(model: ZayaForCausalLM, case: Case, generator: torch.Generator) -> None:
    """Draws every parameter. Ranges: the released 8B's, or wider."""

    def normal(shape, std: float) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * std

    def uniform(shape, low: float, high: float) -> torch.Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    def few(values: torch.Tensor, replacement: torch.Tensor, share: float) -> torch.Tensor:
        """`values`, a few of them (at least one) exchanged for `replacement`."""
        chosen = torch.rand(values.shape, generator=generator) < share
        chosen.view(-1)[int(torch.randint(chosen.numel(), (1,), generator=generator))] = True
        return torch.where(chosen, replacement, values)

    def bias(shape) -> torch.Tensor:
        return few(normal(shape, 0.15), uniform(shape, -1.15, 1.15), 0.05)

    def scale(shape) -> torch.Tensor:
        """Most near 1, a few large, both signs."""
        values = few(normal(shape, 0.2) + 1.0, uniform(shape, -3.0, 3.0), 0.1)
        return few(values, uniform(shape, 4.0, 13.2) * torch.sign(normal(shape, 1.0)), 0.02)

    embedding = case.embedding or 2.0 / math.sqrt(case.hidden)
    with torch.no_grad():
        for name, parameter in [*model.named_parameters(), *model.named_buffers()]:
            shape, leaf = parameter.shape, name.rsplit(".", 1)[-1]
            if name.endswith("inv_freq"):
                continue
            if name == "model.embed_tokens.weight":
                value = normal(shape, embedding)
            elif name == "model.input_hidden_states_scale":
                value = uniform(shape, 0.65, 3.03)
            elif name == "model.input_hidden_states_bias":
                value = bias(shape) * min(1.0, embedding * 4)
            elif "norm.weight" in name or "layernorm.weight" in name:
                value = few(torch.exp(normal(shape, 0.5)).clamp(0.04, 5.0), uniform(shape, 0.04, 5.0), 0.1)
            elif leaf == "temp":
                value = torch.exp(uniform(shape, math.log(0.8), math.log(12.9)))
            elif leaf in ("hidden_states_scale", "residual_scale"):
                value = scale(shape)
            elif leaf == "router_states_scale":
                value = (normal(shape, 0.25) + 1.0) * torch.sign(normal(shape, 1.0) + 0.7)
            elif leaf == "balancing_biases":
                value = uniform(shape, -case.balancing, case.balancing)
                value[-1] = case.skip_bias
            elif leaf.endswith("bias"):
                value = bias(shape)
            elif name.endswith("router_mlp.out_proj.weight"):
                value = normal(shape, case.router_gain / math.sqrt(shape[-1]))
            elif name.endswith("conv_qk_depthwise.weight"):
                value = normal(shape, 0.7)
            else:  # matrices, stacked experts and the grouped convolution
                fan_in = shape[1] * shape[2] if "conv_qk_grouped" in name else shape[-1]
                value = normal(shape, 1.0 / math.sqrt(fan_in))
            parameter.copy_(value)


def make_model(case: Case, seed: int | None = None) -> ZayaForCausalLM:
    """The case's model in FP32; for a BF16 case its parameters are values that BF16 holds exactly."""
    model = ZayaForCausalLM._from_config(config_of(case), attn_implementation="eager", experts_implementation="eager")
    model.eval()
    fill(model, case, torch.Generator().manual_seed(case.seed if seed is None else seed))
    if case.bf16:
        round_to_bf16(model)
    return model


@torch.no_grad()
def round_to_bf16(model: ZayaForCausalLM) -> None:
    """Rounds parameters and balancing biases, and only those: model.to() would round the rotary frequencies as well."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not name.endswith("inv_freq"):
            tensor.copy_(tensor.to(torch.bfloat16))


def save(model: ZayaForCausalLM, directory: Path, bf16: bool = False, shard: str | None = None) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for old in [*directory.glob("*.safetensors"), *directory.glob("*.json")]:
        old.unlink()
    if bf16:
        model = copy.deepcopy(model).to(torch.bfloat16)
        model.config.dtype = torch.bfloat16
    model.save_pretrained(directory, max_shard_size=shard or "1GB")
    (directory / "generation_config.json").unlink(missing_ok=True)
    for file in directory.glob("*.safetensors"):
        file.chmod(0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--case", action="append", help="only this case (repeatable)")
    parser.add_argument("--seed", type=int, help="other weights than the goldens'")
    parser.add_argument("--bf16", action="store_true", help="store every case in BF16")
    arguments = parser.parse_args()
    for case in [case_named(name) for name in arguments.case] if arguments.case else CASES:
        save(make_model(case, arguments.seed), arguments.out / case.name, case.bf16 or arguments.bf16, case.shard)
        print(f"{arguments.out / case.name}: {case.about}")


if __name__ == "__main__":
    main()
