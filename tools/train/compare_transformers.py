#!/usr/bin/env python3
"""Tokens per second of transformers' own ZAYA module in a plain training loop, for a recipe's shape and its batches.

    python tools/train/compare_transformers.py recipes/nano.toml [--tokens 8192] [--length 256] [--steps 5]

The loop is the usual one: right-padded rows, autocast to BF16, cross entropy, AdamW. Documents have one length, so
nothing is lost to padding. Beside it belongs the `tokens_per_second` of the trainer's log for the same recipe.
"""

import argparse
import contextlib
import time
import tomllib

import torch
from transformers import ZayaConfig, ZayaForCausalLM


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--vocabulary", type=int, default=896)
    parser.add_argument("--tokens", type=int, default=8192, help="per step")
    parser.add_argument("--length", type=int, default=256, help="of every document")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--experts", default="grouped_mm", choices=("eager", "grouped_mm", "batched_mm"))
    parser.add_argument("--attention", default="sdpa", choices=("eager", "sdpa"))
    arguments = parser.parse_args()
    with open(arguments.recipe, "rb") as file:
        model = tomllib.load(file)["model"]
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    rope = {"rope_type": "default", "rope_theta": model.get("rope_theta", 1e4),
            "partial_rotary_factor": model.get("rotary", 0.5)}
    config = ZayaConfig(
        vocab_size=arguments.vocabulary, hidden_size=model["hidden"], num_hidden_layers=model["layers"],
        num_attention_heads=model["heads"], num_key_value_heads=model["kv_heads"], head_dim=model["head_dim"],
        num_experts=model["experts"], moe_intermediate_size=model["expert_width"],
        router_hidden_size=model["router_width"], max_position_embeddings=model.get("positions", 2048),
        rope_parameters={"hybrid": rope}, pad_token_id=0, bos_token_id=2, eos_token_id=1)
    network = ZayaForCausalLM._from_config(config, attn_implementation=arguments.attention,
                                           experts_implementation=arguments.experts)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("temp"):
                parameter.fill_(1.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    rows = arguments.tokens // arguments.length
    autocast = torch.autocast("cpu", dtype=torch.bfloat16) if arguments.bf16 else contextlib.nullcontext()
    times = []
    for step in range(arguments.steps + 2):
        ids = torch.randint(3, arguments.vocabulary, (rows, arguments.length))
        start = time.time()
        with autocast:
            logits = network(input_ids=ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step >= 2:  # the first ones allocate
            times.append(time.time() - start)
    tokens = rows * arguments.length
    print(f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M weights, {tokens} tokens a step, "
          f"{'BF16' if arguments.bf16 else 'FP32'}, experts {arguments.experts}, attention {arguments.attention}: "
          f"{tokens / min(times):.0f} tokens/s at best, {tokens * len(times) / sum(times):.0f} on average")


if __name__ == "__main__":
    main()
