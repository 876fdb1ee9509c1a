"""Compares the program with transformers on fresh random models: FP32 to a tolerance, BF16 by KL and top-1 agreement.

    python parity.py --zaya build/zaya [--quick] [--seed N] [--case NAME ...] [--keep DIRECTORY] [--nano DIRECTORY]

FP32: every shape of random_models.py gets new weights and new prompts (1 to 600 tokens); the program reads the
checkpoint in both layouts and computes with each backend. The greatest difference between logits, over the standard
deviation of the reference's logits, must stay below 1e-4. Seeds whose router choices are near-ties, or on which FP32
itself strays from exact arithmetic, say nothing about the program and are passed over (how many is printed).

BF16: the same shapes stored in BF16, against transformers computing in FP32 from the same stored weights and against
transformers computing in BF16. A top-1 router turns rounding into jumps, so no tolerance is meaningful here; the
program must only not be further from the FP32 result than transformers' own BF16 is, give or take.

The embedded model: for the prompts of src/engine/testdata/nano_greedy.json the program is given the prompt together
with transformers' greedy continuation; at every position its likeliest token must be the next one. By induction that is
equality of the greedy texts, found out in one pass a prompt. On some of them logits are compared as above.

Exit code 0: all fine. 1: a difference, or the program failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import zaya_reference
import torch
from safetensors.torch import load_file
from transformers import ZayaForCausalLM

import random_models
from random_models import CASES, Case
from to_original_layout import NotRepresentable, convert

TOLERANCE = 1e-4  # of the logits' standard deviation, FP32
ROUTER_MARGIN = 1e-4
OWN_ERROR = 3e-5  # what FP32 may be away from float64 on a seed that counts
MAX_TRIES = 60
LENGTHS = (1, 2, 5, 33, 130, 600)
QUICK_LENGTHS = (1, 7, 600)
QUICK_CASES = ("like_8b", "one_layer", "heads_6_3", "conv_1_1", "conv_3_4", "experts_24", "rotary_full", "window_3",
               "biases", "skip_wins")
BF16_CASES = ("like_8b", "five_layers", "heads_8_2_experts_16", "experts_24", "conv_3_4", "window_17", "biases",
              "strong_balancing")
BACKENDS = ("reference", "cpu")
STYLES = ("scalars", "lists")  # of the original layout's config, taken in turns


class Failed(Exception):
    """The program could not be run, or did not write what it should."""


class Program:
    """The `zaya` under test."""

    def __init__(self, path: Path, scratch: Path) -> None:
        self.path, self.scratch = path, scratch
        self.runs = 0

    def logits(self, model: Path, tokens: list[int], backend: str, vocab: int) -> torch.Tensor:
        """Logits [n, vocab] that `zaya logits` writes. Long prompts go through a file of ids."""
        ids = ",".join(map(str, tokens))
        if len(tokens) > 64:
            (self.scratch / "tokens.txt").write_text(ids)
            ids = f"@{self.scratch / 'tokens.txt'}"
        out = self.scratch / "logits.safetensors"
        out.unlink(missing_ok=True)
        command = [str(self.path), "logits", str(model), "--tokens", ids, "--out", str(out), "--backend", backend]
        self.runs += 1
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise Failed(f"{' '.join(command)}: {problem}") from problem
        if done.returncode != 0:
            said = done.stderr.strip() or "nothing on stderr"
            raise Failed(f"{' '.join(command)}: exit code {done.returncode}: {said}")
        if not out.exists():
            raise Failed(f"{' '.join(command)}: wrote no {out.name}")
        tensors = load_file(out)
        if list(tensors) != ["logits"]:
            raise Failed(f"{' '.join(command)}: expected one tensor 'logits', found {sorted(tensors)}")
        logits = tensors["logits"]
        if logits.shape != (len(tokens), vocab) or logits.dtype != torch.float32:
            raise Failed(f"{' '.join(command)}: expected F32 [{len(tokens)}, {vocab}], found {logits.dtype} "
                         f"{list(logits.shape)}")
        return logits


@dataclasses.dataclass
class Subject:
    """One random model that is fit to judge by, its prompts and the reference's logits for them."""

    case: Case
    seed: int
    tries: int
    prompts: list[list[int]]
    logits: list[torch.Tensor]
    own_error: float
    native: Path
    original: Path | None
    why_no_original: str = ""


def make_prompts(case: Case, seed: int, lengths: tuple[int, ...]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, case.vocab, (length,), generator=generator).tolist() for length in lengths]


def find_subject(case: Case, seed: int, lengths: tuple[int, ...], directory: Path, style: str) -> Subject:
    """Draws models until one has no near-tie and a trustworthy FP32 result, and leaves it in `directory`."""
    native = directory / "native"
    for attempt in range(MAX_TRIES):
        draw = seed * 1000 + attempt
        random_models.save(random_models.make_model(case, draw), native, case.bf16, case.shard)
        model = zaya_reference.load_model(native)
        prompts = make_prompts(case, draw + 1, lengths)
        traces = [zaya_reference.trace(model, tokens) for tokens in prompts]
        if min(trace.margin for trace in traces) < ROUTER_MARGIN:
            continue
        config, stored = json.loads((native / "config.json").read_text()), zaya_reference.load_tensors(native)
        exact = [torch.from_numpy(zaya_reference.forward_float64(config, stored, tokens)) for tokens in prompts]
        own_error = max(zaya_reference.relative_difference(trace.logits, e) for trace, e in zip(traces, exact))
        if own_error > OWN_ERROR:
            continue
        subject = Subject(case, draw, attempt + 1, prompts, [trace.logits for trace in traces], own_error, native, None)
        try:
            convert(native, directory / "original", style)
            subject.original = directory / "original"
        except NotRepresentable as reason:
            subject.why_no_original = str(reason)
        return subject
    raise Failed(f"{case.name}: no fit model in {MAX_TRIES} draws from seed {seed}")


def compare_fp32(program: Program, cases: list[Case], seed: int, lengths: tuple[int, ...], root: Path) -> list[str]:
    """One line per case; returns what failed."""
    columns = [(layout, backend) for layout in ("native", "original") for backend in BACKENDS]
    print(f"FP32: greatest |difference| / std(logits), prompts of {', '.join(map(str, lengths))} tokens; "
          f"limit {TOLERANCE:.0e}")
    print(f"{'case':22}{'seed':>8}{'draws':>6}{'fp32-fp64':>11}" + "".join(f"{f'{l}/{b}':>20}" for l, b in columns),
          flush=True)
    failures: list[str] = []
    worst = 0.0
    for number, case in enumerate(cases):
        subject = find_subject(case, seed, lengths, root / case.name, STYLES[number % len(STYLES)])
        print(f"{case.name:22}{subject.seed:>8}{subject.tries:>6}{subject.own_error:>11.1e}", end="", flush=True)
        for layout, backend in columns:
            model = subject.native if layout == "native" else subject.original
            if model is None:
                print(f"{'-':>20}", end="", flush=True)
                continue
            difference = 0.0
            try:
                for tokens, expected in zip(subject.prompts, subject.logits):
                    ours = program.logits(model, tokens, backend, case.vocab)
                    difference = max(difference, zaya_reference.relative_difference(ours, expected))
            except Failed as problem:
                failures.append(str(problem))
                print(f"{'failed':>20}", end="", flush=True)
                continue
            worst = max(worst, difference)
            bad = difference > TOLERANCE
            if bad:
                failures.append(f"{case.name} seed {subject.seed}, {layout} layout, {backend} backend: "
                                f"{difference:.2e}")
            print(f"{f'{difference:.1e}' + ('!' if bad else ''):>20}", end="", flush=True)
        print(f"   ({subject.why_no_original})" if subject.why_no_original else "", flush=True)
    print(f"worst of {len(cases)} models: {worst:.1e}\n", flush=True)
    return failures


def divergence(reference: torch.Tensor, ours: torch.Tensor) -> tuple[float, float]:
    """Mean KL(reference ‖ ours) in nats and the share of positions with the same most likely token."""
    p, q = torch.log_softmax(reference.double(), -1), torch.log_softmax(ours.double(), -1)
    kl = (p.exp() * (p - q)).sum(-1).mean().item()
    return kl, (reference.argmax(-1) == ours.argmax(-1)).double().mean().item()


def compare_bf16(program: Program, cases: list[Case], seed: int, length: int, root: Path) -> list[str]:
    print(f"BF16 weights, {length} tokens: mean KL in nats and top-1 agreement, relative to FP32 arithmetic on the "
          f"same weights;\nlast column: the cpu backend relative to transformers in BF16")
    print(f"{'case':22}{'transformers BF16':>22}{'ours, reference':>22}{'ours, cpu':>22}{'cpu, BF16':>22}", flush=True)
    failures: list[str] = []
    for case in cases:
        directory = root / f"{case.name}-bf16"
        model = random_models.make_model(case, seed * 1000 + 500)
        random_models.round_to_bf16(model)
        random_models.save(model, directory, bf16=True)
        tokens = make_prompts(case, seed * 1000 + 501, (length,))[0]
        exact = zaya_reference.run(zaya_reference.load_model(directory), tokens)
        theirs = zaya_reference.run(load_bf16(directory), tokens)
        bound_kl, bound_top = divergence(exact, theirs)
        print(f"{case.name:22}{f'{bound_kl:.1e} {bound_top:6.1%}':>22}", end="", flush=True)
        try:
            for backend in BACKENDS:
                ours = program.logits(directory, tokens, backend, case.vocab)
                kl, top = divergence(exact, ours)
                print(f"{f'{kl:.1e} {top:6.1%}':>22}", end="", flush=True)
                if not kl <= 2 * bound_kl + 1e-3 or top < bound_top - 0.05:
                    failures.append(f"{case.name} in BF16, {backend} backend: KL {kl:.1e}, top-1 {top:.1%}; "
                                    f"transformers' own BF16: {bound_kl:.1e}, {bound_top:.1%}")
            kl, top = divergence(theirs, ours)
            print(f"{f'{kl:.1e} {top:6.1%}':>22}", flush=True)
        except Failed as problem:
            failures.append(str(problem))
            print("failed", flush=True)
    print(flush=True)
    return failures


def compare_nano(program: Program, directory: Path, goldens: Path, live: int) -> list[str]:
    for needed in (directory / "config.json", goldens):
        if not needed.exists():
            print(f"{needed} is not there: the embedded model is not compared\n", flush=True)
            return []
    entries = json.loads(goldens.read_text())
    vocab = json.loads((directory / "config.json").read_text())["vocab_size"]
    reference = zaya_reference.load_model(directory)
    print(f"{directory}: greedy text of {len(entries)} prompts, logits of {live}, each with both backends", flush=True)
    failures: list[str] = []
    worst = 0.0
    for backend in BACKENDS:
        equal = 0
        for number, entry in enumerate(entries):
            prompt, greedy = entry["prompt_ids"], entry["greedy_ids"]
            tokens = prompt + greedy
            try:
                logits = program.logits(directory, tokens, backend, vocab)
            except Failed as problem:
                return [*failures, str(problem)]
            chosen = logits[len(prompt) - 1:-1].argmax(-1).tolist()
            wrong = next((i for i, (ours, theirs) in enumerate(zip(chosen, greedy)) if ours != theirs), None)
            equal += wrong is None
            if wrong is not None:
                failures.append(f"{directory}, prompt {number}, {backend} backend: token {wrong} is {chosen[wrong]}, "
                                f"transformers' is {greedy[wrong]} (its smallest gap there: {entry.get('min_gap')})")
            if number < live:
                difference = zaya_reference.relative_difference(logits, zaya_reference.run(reference, tokens))
                worst = max(worst, difference)
                if difference > TOLERANCE:
                    failures.append(f"{directory}, prompt {number}, {backend} backend: {difference:.2e}")
        print(f"{backend:22}{equal} of {len(entries)} equal, greatest logit difference {worst:.1e}", flush=True)
    print(flush=True)
    return failures


def load_bf16(directory: Path) -> ZayaForCausalLM:
    return zaya_reference.load_model(directory, torch.bfloat16)


def main() -> int:
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zaya", type=Path, required=True, help="the program, usually build/zaya")
    parser.add_argument("--quick", action="store_true", help="ten shapes and three prompts instead of all and six")
    parser.add_argument("--seed", type=int, default=1, help="of weights and prompts (default 1)")
    parser.add_argument("--case", action="append", help="only this shape (repeatable)")
    parser.add_argument("--nano", type=Path, default=root / "models/nano",
                        help="the embedded model (default: models/nano)")
    parser.add_argument("--keep", type=Path, help="leave the models in this directory")
    arguments = parser.parse_args()
    if not arguments.zaya.exists():
        parser.error(f"{arguments.zaya} does not exist; ./dev build makes it")

    if arguments.case:
        cases = [random_models.case_named(name) for name in arguments.case]
        bf16_cases = [case for case in cases if case.name in BF16_CASES] or cases[:1]
    else:
        cases = [case for case in CASES if not arguments.quick or case.name in QUICK_CASES]
        bf16_cases = [random_models.case_named(name) for name in BF16_CASES[:2 if arguments.quick else None]]
    lengths = QUICK_LENGTHS if arguments.quick else LENGTHS

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="zaya-parity-") as scratch:
        models = arguments.keep or Path(scratch)
        program = Program(arguments.zaya.resolve(), Path(scratch))
        try:
            failures = compare_fp32(program, cases, arguments.seed, lengths, models)
            failures += compare_bf16(program, bf16_cases, arguments.seed, lengths[-1], models)
            if not arguments.case:
                goldens = root / "src/engine/testdata/nano_greedy.json"
                failures += compare_nano(program, arguments.nano, goldens, 3 if arguments.quick else 20)
        except Failed as problem:
            failures = [str(problem)]
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"parity with transformers: {'FAILED' if failures else 'ok'} ({program.runs} runs of zaya, "
          f"{time.monotonic() - started:.0f} s)")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
