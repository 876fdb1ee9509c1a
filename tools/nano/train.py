"""Trains the embedded demo model: transformers' own ZayaForCausalLM on generated arithmetic, on the CPU.

    python tools/nano/train.py --out models/nano

One conversation per row, padded on the right: attention, convolution and the delayed value are causal, so padding
cannot reach a token and no document sees another. The loss is taken on the assistant's last turn.
Matrices are trained with Muon, everything else with AdamW, and the router's balancing biases with the load error
`load_j - 1/E` (no auxiliary loss; the skip class stays at -1). A checkpoint beside the output makes the run resumable;
examples depend only on the seed and the step.
"""

import argparse
import contextlib
import itertools
import math
import pathlib
import random
import time

import tokenizers
import torch
from transformers import GenerationConfig, ZayaConfig, ZayaForCausalLM
from transformers.utils import logging

import make_tokenizer
import tasks

POOL = 768  # conversations that are sorted by length together, so that padding costs little
WIDTHS = (64, 96, 128, 176, 240, 320, 416)  # rows are padded to one of these: torch.compile makes a kernel for each
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def model_config(vocab, args):
    return ZayaConfig(
        vocab_size=vocab,
        hidden_size=args.hidden,
        num_hidden_layers=args.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=args.head_dim,
        moe_intermediate_size=args.expert_width,
        num_experts=args.experts,
        router_hidden_size=args.router_width,
        max_position_embeddings=2048,
        initializer_range=0.02,
        rope_parameters={"hybrid": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}},
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=5,
        tie_word_embeddings=True,
    )


def initialise(model):
    """transformers starts `temp` at zero, where keys vanish; branches that write to the stream start small."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("qk_norm.temp"):
                parameter.fill_(1.0)
            elif parameter.ndim >= 2 and "conv" not in name and "embed" not in name:
                parameter.normal_(0.0, parameter.shape[-1] ** -0.5)
                if "o_proj" in name or "experts.down_proj" in name:
                    parameter.mul_((2 * model.config.num_hidden_layers) ** -0.5)


def padded(row):
    """The width a (prompt, target) row is padded to."""
    return next(width for width in WIDTHS if width >= len(row[0]) + len(row[1]))


class Batches:
    """Endless batches of (ids, labels) whose content depends only on (seed, pool number)."""

    def __init__(self, tokenizer, seed, tokens):
        self.tokenizer, self.seed, self.tokens = tokenizer, seed, tokens

    def pool(self, number, weights):
        rng = random.Random(f"{self.seed}/{number}")
        examples = [tasks.conversation(rng, weights=weights) for _ in range(POOL)]
        encode = lambda texts: [e.ids for e in self.tokenizer.encode_batch(texts, add_special_tokens=False)]
        prompts = encode([tasks.render_prompt(e) for e in examples])
        targets = encode([tasks.render_target(e) for e in examples])
        rows = sorted(zip(prompts, targets), key=lambda row: len(row[0]) + len(row[1]))
        rows = [row for row in rows if sum(map(len, row)) <= WIDTHS[-1]]
        batches, start = [], 0
        while start < len(rows):
            end = start + 1
            while end < len(rows) and (end + 1 - start) * padded(rows[end]) <= self.tokens:
                end += 1
            if end - start > 1:  # torch.compile would make kernels of their own for single rows
                batches.append(rows[start:end])
            start = end
        rng.shuffle(batches)
        return [self.tensors(batch) for batch in batches]

    def tensors(self, rows):
        width = padded(rows[-1])
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        labels = torch.full((len(rows), width), -100)
        for i, (prompt, target) in enumerate(rows):
            end = len(prompt) + len(target)
            ids[i, :end] = torch.tensor(prompt + target)
            labels[i, len(prompt) - 1 : end - 1] = torch.tensor(target)  # the label of a position is the next token
        return ids, labels

    def stream(self, pool, skip, weights):
        for number in itertools.count(pool):
            for index, batch in enumerate(self.pool(number, weights)):
                if number > pool or index >= skip:
                    yield number, index, batch


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised (five Newton-Schulz steps), scaled to AdamW's size of step (0.2 RMS)."""

    def __init__(self, parameters, momentum=0.95, weight_decay=0.01):
        super().__init__(list(parameters), {"lr": 0.0, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                buffer = state.setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(buffer, group["momentum"])  # Nesterov
                by_shape.setdefault(p.shape[-2:], []).append((p, update.reshape(-1, *p.shape[-2:])))
            for shape, items in by_shape.items():
                x = torch.cat([u for _, u in items]).bfloat16()
                tall = shape[0] > shape[1]
                if tall:
                    x = x.mT
                x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
                a, b, c = NEWTON_SCHULZ
                for _ in range(5):
                    s = x @ x.mT
                    x = a * x + (b * s + c * (s @ s)) @ x
                x = (x.mT if tall else x).float() * (0.2 * max(shape) ** 0.5)
                for (p, _), update in zip(items, x.split([u.shape[0] for _, u in items])):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update.reshape(p.shape), alpha=-group["lr"])


def split_parameters(model):
    """Muon for the matrices; AdamW for embeddings, convolutions, the router's last map, norms, scales and biases."""
    matrices, others = [], []
    for name, p in model.named_parameters():
        plain = p.ndim < 2 or "embed" in name or "conv" in name or "router_mlp.out_proj" in name
        (others if plain else matrices).append(p)
    return matrices, others


class Balancer:
    """Moves each router's balancing biases against its load error."""

    def __init__(self, model, rate):
        self.rate, self.gates = rate, [layer.mlp.gate for layer in model.model.layers]
        self.classes = model.config.num_experts
        self.loads = torch.zeros(len(self.gates), self.classes)

    @torch.no_grad()
    def step(self, router_states, valid, scale):
        """router_states: what each router passes on, (rows, width, router width); valid: mask of real tokens."""
        for i, (gate, state) in enumerate(zip(self.gates, router_states)):
            biases = gate.balancing_biases
            choice = (gate.router_mlp(state[valid].float()).softmax(-1) + biases).argmax(-1)
            load = torch.bincount(choice, minlength=self.classes + 1)[: self.classes] / valid.sum()
            self.loads[i].lerp_(load, 0.05)
            biases[: self.classes] -= self.rate * scale * (load - 1 / self.classes).clamp(-0.1, 0.1) * 10
            biases[: self.classes] -= biases[: self.classes].mean()


def save(model, out):
    """The final file form: BF16 safetensors and configs exactly as transformers writes them."""
    half = ZayaForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    half = half.to(torch.bfloat16)
    half.generation_config = GenerationConfig(bos_token_id=2, eos_token_id=[5, 1], pad_token_id=0, do_sample=False)
    half.save_pretrained(out)


def cycle_of(step, args):
    """(number of the cycle that a step belongs to, its first step, its length)."""
    start = 0
    for number, length in enumerate(args.cycles):
        if step < start + length or number == len(args.cycles) - 1:
            return number, start, length
        start += length


def learning_rate(step, args):
    """Warm-up, a plateau, a cosine to nearly zero; further cycles are one cosine each from a lower peak."""
    number, start, length = cycle_of(step, args)
    local = step - start
    peak, decay = (args.restart_peak, length) if number else (1.0, int(length * args.decay))
    if local < args.warmup:
        return peak * (local + 1) / args.warmup
    x = max(0.0, (local - (length - decay)) / decay)
    return args.final_rate + (peak - args.final_rate) * 0.5 * (1 + math.cos(math.pi * x))


class RouterTap:
    """Keeps the router state that each layer hands to the next one; it is the second of a layer's two results."""

    def __init__(self, layers, compiled):
        self.states = [None] * len(layers)
        for i, layer in enumerate(layers):
            # The first layer has another signature (no router state comes in): not worth a second set of kernels.
            layer.forward = self.wrap(
                i, torch.compile(layer.forward, dynamic=True) if compiled and i > 0 else layer.forward
            )

    def wrap(self, i, forward):

        def tapped(*args, **kwargs):
            hidden, state = forward(*args, **kwargs)
            self.states[i] = state.detach()
            return hidden, state.float()  # one dtype for every layer, so one compiled form

        return tapped


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument(
        "--cycles",
        type=int,
        nargs="+",
        default=[2800, 800],
        metavar="STEPS",
        help="steps per cycle of the learning rate; from the second on, the mixture of tasks.REVISION",
    )
    parser.add_argument("--tokens", type=int, default=3072, help="tokens per step, padding included")
    parser.add_argument("--muon-rate", type=float, default=0.01)
    parser.add_argument("--adam-rate", type=float, default=0.004)
    parser.add_argument(
        "--decay", type=float, default=0.6, help="share of the first cycle in which the learning rate falls"
    )
    parser.add_argument(
        "--restart-peak", type=float, default=0.4, help="highest learning rate of later cycles, as a fraction"
    )
    parser.add_argument("--final-rate", type=float, default=0.02, help="last learning rate as a fraction")
    parser.add_argument("--balance-rate", type=float, default=0.003)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--head-dim", type=int, default=32)
    parser.add_argument("--experts", type=int, default=4)
    parser.add_argument("--expert-width", type=int, default=256)
    parser.add_argument("--router-width", type=int, default=32)
    parser.add_argument(
        "--bf16",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="multiply matrices in BF16 (weights, stream and sums stay FP32)",
    )
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=True, help="fuse each layer with torch.compile"
    )
    parser.add_argument("--state", help="file to resume from and to keep the run's state in; default OUT.state")
    parser.add_argument("--save-every", type=int, default=200)
    args = parser.parse_args()

    logging.set_verbosity_error()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    make_tokenizer.write(args.out)
    tokenizer = tokenizers.Tokenizer.from_file(f"{args.out}/tokenizer.json")
    config = model_config(tokenizer.get_vocab_size(), args)
    model = ZayaForCausalLM(config)
    model.set_attn_implementation("eager")
    model.set_experts_implementation("grouped_mm")
    initialise(model)
    parameters = sum(p.numel() for p in model.parameters())

    matrices, others = split_parameters(model)
    muon = Muon(matrices)
    adam = torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.99), weight_decay=0.0)
    balancer = Balancer(model, args.balance_rate)
    total = sum(args.cycles)
    step, position, spent = 0, (0, 0), 0.0
    state_file = pathlib.Path(args.state or args.out.rstrip("/") + ".state")
    if state_file.exists():
        state = torch.load(state_file, weights_only=False)
        model.load_state_dict(state["model"])
        muon.load_state_dict(state["muon"])
        adam.load_state_dict(state["adam"])
        step, position, spent = state["step"], state["position"], state["spent"]
        print(f"resumed at step {step}", flush=True)
    torch._dynamo.config.recompile_limit = 64
    tap = RouterTap(model.model.layers, args.compile)
    autocast = (lambda: torch.autocast("cpu", dtype=torch.bfloat16)) if args.bf16 else contextlib.nullcontext

    print(f"{parameters:,} parameters, {total} steps of up to {args.tokens} tokens", flush=True)
    batches, stream = Batches(tokenizer, args.seed, args.tokens), None
    window, seen, mean_loss, mean_right = time.time(), 0, 0.0, 0.0
    while step < total:
        number, start, _ = cycle_of(step, args)
        if step == start and number > 0:
            position = (position[0] + 1, 0)
            stream = None
        if stream is None:
            stream = batches.stream(*position, tasks.REVISION if number else tasks.WEIGHTS)
        pool, index, (ids, labels) = next(stream)
        with autocast():
            hidden = model.model(input_ids=ids, use_cache=False)
            chosen = labels >= 0
            logits = model.lm_head(hidden.last_hidden_state[chosen]).float()
        loss = torch.nn.functional.cross_entropy(logits, labels[chosen])
        loss.backward()
        scale = learning_rate(step, args)
        for optimiser, rate in ((muon, args.muon_rate), (adam, args.adam_rate)):
            for group in optimiser.param_groups:
                group["lr"] = rate * scale
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        muon.step()
        adam.step()
        muon.zero_grad()
        adam.zero_grad()
        with torch.no_grad():
            balancer.step(tap.states, ids != 0, scale)
            right = (logits.argmax(-1) == labels[chosen]).float().mean()
        step += 1
        position = (pool, index + 1)
        seen += ids.numel()
        mean_loss += loss.item()
        mean_right += right.item()
        if step % 50 == 0:
            took = time.time() - window
            spent += took
            print(
                f"step {step} loss {mean_loss / 50:.4f} tokens right {mean_right / 50:.5f} rate {scale:.3f} "
                f"load {balancer.loads.min():.2f}-{balancer.loads.max():.2f} {seen / took:.0f} tok/s {spent:.0f} s",
                flush=True,
            )
            window, seen, mean_loss, mean_right = time.time(), 0, 0.0, 0.0
        if step % args.save_every == 0 or step == total:
            part = state_file.with_suffix(".part")
            torch.save(
                {
                    "model": model.state_dict(),
                    "muon": muon.state_dict(),
                    "adam": adam.state_dict(),
                    "step": step,
                    "position": position,
                    "spent": spent,
                },
                part,
            )
            part.replace(state_file)
            save(model, args.out)


if __name__ == "__main__":
    main()
