"""Writes the committed goldens: for every case of random_models.py a checkpoint and what the reference makes of it.

    python write_goldens.py [--out src/model/testdata] [--case NAME ...]     write (and check) the goldens
    python write_goldens.py --search [--case NAME ...]                      look for seeds that meet the conditions

golden.safetensors of a case holds, for prompts p = 0, 1, 2, 3 of 1, 7, 41 and 600 random tokens,
    tokens.p [n] I64, positions.p [m] I64, logits.p [m, vocab] F32: logits at these positions (all, except in prompt 3),
and for prompt 1
    hidden.l [n, hidden] F32: the residual stream after layer l,
    router.l [n] I64: the chosen class (num_experts = skip), router_weight.l [n] F32: its unbiased probability,
    greedy [24] I64: the greedy continuation, without a cache and without stopping.
All in FP32, one thread, eager attention and experts. The metadata says which versions and which seed.

A case's seed is good when no discrete choice is a near-tie (another correct implementation could decide it otherwise,
and everything after it would differ) and when FP32 itself is near enough to exact arithmetic; see conditions().
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import tempfile
from pathlib import Path

import zaya_reference
import torch
import transformers
from safetensors.torch import save_file

import random_models
from random_models import CASES, Case
from to_original_layout import convert

LENGTHS = (1, 7, 41, 600)
GREEDY_TOKENS = 24
# Small cases once more in the original layout, in both spellings of its config; their goldens are the native ones'.
ORIGINAL = {"one_layer": "scalars", "conv_1_3": "lists", "window_3": "scalars"}

ROUTER_MARGIN = 1e-4  # between best and second biased probability; FP32 implementations differ by about 1e-6
GREEDY_GAP = 1e-3  # between best and second logit, in standard deviations
OWN_ERROR = 2e-5  # FP32 reference against float64, greatest difference over standard deviation; the tests allow 1e-4
MAX_CASE_BYTES = 350 * 1024


def prompts_of(case: Case) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1000 + case.seed)
    return [torch.randint(0, case.vocab, (length,), generator=generator).tolist() for length in LENGTHS]


def kept_positions(length: int) -> list[int]:
    if length <= 64:
        return list(range(length))
    return sorted({*range(0, length, 37), *range(length - 4, length)})


@dataclasses.dataclass
class Result:
    tensors: dict[str, torch.Tensor]
    margin: float
    gap: float
    own_error: float  # with the rotary angles rounded as the reference rounds them
    angle_error: float  # with exact angles
    histograms: list[collections.Counter]  # of prompt 3, per layer
    unbiased_differs: float


def compute(case: Case, directory: Path) -> Result:
    """Runs the reference on the checkpoint in `directory` as it lies on disk."""
    model = zaya_reference.load_model(directory)
    config = json.loads((directory / "config.json").read_text())
    stored = zaya_reference.load_tensors(directory)
    tensors: dict[str, torch.Tensor] = {}
    margin, own_error, angle_error = float("inf"), 0.0, 0.0
    for p, tokens in enumerate(prompts_of(case)):
        trace = zaya_reference.trace(model, tokens)
        margin = min(margin, trace.margin)
        positions = kept_positions(len(tokens))
        tensors[f"tokens.{p}"] = torch.tensor(tokens)
        tensors[f"positions.{p}"] = torch.tensor(positions)
        tensors[f"logits.{p}"] = trace.logits[positions].contiguous()
        for exact_angles in (False, True):
            exact = torch.from_numpy(zaya_reference.forward_float64(config, stored, tokens, not exact_angles))
            error = zaya_reference.relative_difference(trace.logits, exact)
            if exact_angles:
                angle_error = max(angle_error, error)
            else:
                own_error = max(own_error, error)
        if p == 1:
            for layer in range(len(trace.hidden)):
                tensors[f"hidden.{layer}"] = trace.hidden[layer]
                tensors[f"router.{layer}"] = trace.choice[layer]
                tensors[f"router_weight.{layer}"] = trace.weight[layer]
            continuation, gap, greedy_margin = zaya_reference.greedy(model, tokens, GREEDY_TOKENS)
            tensors["greedy"] = torch.tensor(continuation)
            margin = min(margin, greedy_margin)
    histograms = [collections.Counter(choice.tolist()) for choice in trace.choice]
    return Result(tensors, margin, gap, own_error, angle_error, histograms, trace.unbiased_differs)


def conditions(case: Case, result: Result) -> list[str]:
    """What is wrong with this case's seed; empty when it is good."""
    wrong = []
    if result.margin < ROUTER_MARGIN:
        wrong.append(f"router margin {result.margin:.1e}")
    if result.gap < GREEDY_GAP:
        wrong.append(f"greedy gap {result.gap:.1e}")
    if result.own_error > OWN_ERROR:
        wrong.append(f"FP32's own error {result.own_error:.1e}")
    if result.angle_error > 2 * OWN_ERROR:
        wrong.append(f"error from FP32 angles {result.angle_error:.1e}")
    if len(set(result.tensors["greedy"].tolist())) < 3:
        wrong.append("greedy text repeats one or two tokens")
    tokens = LENGTHS[-1]
    largest = [max(histogram.values()) / tokens for histogram in result.histograms]
    if max(largest) > 0.97 or min(largest) > 0.85:
        wrong.append(f"largest class takes {', '.join(f'{share:.2f}' for share in largest)}")
    used = len(set().union(*result.histograms) - {case.experts})
    if used < min(case.experts, 8):
        wrong.append(f"only {used} experts used")
    skipped = sum(histogram[case.experts] for histogram in result.histograms) / tokens / len(result.histograms)
    if case.wants == "skip" and not 0.05 < skipped < 0.7:
        wrong.append(f"skip class takes {skipped:.2f}")
    if case.wants == "balancing" and result.unbiased_differs < 0.25:
        wrong.append(f"balancing changes {result.unbiased_differs:.2f} of the choices")
    return wrong


def describe(case: Case, result: Result) -> str:
    layers = " | ".join(" ".join(f"{key}:{count}" for key, count in sorted(histogram.items()))
                        for histogram in result.histograms)
    return (f"{case.name:22} margin {result.margin:.1e} gap {result.gap:.1e} "
            f"std {result.tensors['logits.3'].std():.2f} fp32-fp64 {result.own_error:.1e} "
            f"angles {result.angle_error:.1e} biases decide {result.unbiased_differs:.2f} experts {layers}")


def search(case: Case, tries: int) -> None:
    reasons: collections.Counter = collections.Counter()
    for seed in range(tries):
        candidate = dataclasses.replace(case, seed=seed)
        with tempfile.TemporaryDirectory() as directory:
            random_models.save(random_models.make_model(candidate), Path(directory), case.bf16, case.shard)
            result = compute(candidate, Path(directory))
        wrong = conditions(candidate, result)
        if not wrong:
            print(f"seed {seed:3} {describe(candidate, result)}", flush=True)
            return
        reasons.update(reason.split(" ", 1)[0] for reason in wrong)
    print(f"no seed {case.name}: {dict(reasons)}", flush=True)


def write(case: Case, out: Path) -> int:
    """Writes one case and returns its size in bytes."""
    directory = out / case.name
    random_models.save(random_models.make_model(case), directory, case.bf16, case.shard)
    result = compute(case, directory)
    wrong = conditions(case, result)
    assert not wrong, f"{case.name}: {'; '.join(wrong)} (try --search)"
    # One entry: safetensors writes several in no particular order, and the file should come out the same each time.
    metadata = {"golden": f"{case.name}: {case.about}; seed {case.seed}, torch {torch.__version__.split('+')[0]}, "
                          f"transformers {transformers.__version__}"}
    save_file(result.tensors, directory / "golden.safetensors", metadata)
    (directory / "golden.safetensors").chmod(0o644)
    size = sum(file.stat().st_size for file in directory.iterdir())
    assert size <= MAX_CASE_BYTES, f"{case.name}: {size} bytes"
    if case.name in ORIGINAL:
        convert(directory, out / f"{case.name}-original", ORIGINAL[case.name])
        size += sum(file.stat().st_size for file in (out / f"{case.name}-original").iterdir())
    print(f"{describe(case, result)} {size / 1024:.0f} KiB", flush=True)
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "src/model/testdata")
    parser.add_argument("--case", action="append", help="only this case (repeatable)")
    parser.add_argument("--search", action="store_true", help="print the first good seed of each case; write nothing")
    parser.add_argument("--tries", type=int, default=200)
    arguments = parser.parse_args()
    cases = [random_models.case_named(name) for name in arguments.case] if arguments.case else CASES
    if arguments.search:
        for case in cases:
            search(case, arguments.tries)
        return
    total = sum(write(case, arguments.out) for case in cases)
    print(f"{len(cases)} cases, {total / 1024 / 1024:.2f} MiB in {arguments.out}")


if __name__ == "__main__":
    main()
