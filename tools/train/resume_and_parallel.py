#!/usr/bin/env python3
"""Shows that a run killed and resumed is the run uninterrupted, bit for bit, and that two processes are one.

    python tools/train/resume_and_parallel.py --trainer build/train/zaya-train

Trains a tiny network on the gym for a few dozen steps: once as it is, once killed with SIGKILL at moments of chance and
started again until it is through, once with two processes over gloo. The first two must leave equal files; the third
must agree with the first to rounding, which the optimizers' and the routers' decisions then amplify: its losses of the
first steps are compared closely, the later ones loosely.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
[model]
tokenizer = "{tokenizer}"
hidden = 48
layers = 3
heads = 4
kv_heads = 2
head_dim = 16
experts = 4
expert_width = 48
router_width = 16

[run]
out = "{out}"
context = 512
bf16 = false
threads = 1
log_every = 1
save_every = 3
"""

STAGE = """
[[stage]]
name = "{name}"
steps = {steps}
batch_tokens = 768
accumulate = 2
warmup = 5
muon_rate = 0.005
adam_rate = 0.001

[[stage.source]]
kind = "gym"
form = "{form}"
difficulty = [0, 2]
"""


def recipe(folder, steps):
    folder.mkdir(parents=True)
    file = folder / "recipe.toml"
    stages = [STAGE.format(name=name, steps=steps, form=form) for name, form in (("first", "chat"), ("second", "text"))]
    file.write_text(RECIPE.format(tokenizer=ROOT / "recipes/tokenizer", out=folder / "out") + "".join(stages))
    return file


def losses(folder):
    lines = [json.loads(line) for line in (folder / "out/log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines}


def train(command, file, environment=None):
    return subprocess.Popen([*command, str(file)], env={**os.environ, **(environment or {})}, stderr=subprocess.DEVNULL)


def killed(command, file, seconds, rng):
    """Runs to the end, with SIGKILL in between; returns how often."""
    kills = 0
    while True:
        process = train(command, file)
        try:
            # At most eight kills; each run gets far enough to save now and then.
            process.wait(timeout=None if kills >= 8 else rng.uniform(0.3, 0.8) * seconds)
            if process.returncode != 0:
                sys.exit("a resumed run failed")
            return kills
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1


def two(command, file):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [train(command, file, {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                                       "MASTER_PORT": str(port)}) for rank in range(2)]
    if any(process.wait() != 0 for process in processes):
        sys.exit("a process of the pair failed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=12, help="of each of two stages")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments of the kills")
    parser.add_argument("--set", action="append", default=[], help="of the recipe, such as run.bf16=true (repeatable)")
    arguments = parser.parse_args()
    command = [str(arguments.trainer), "run", "--quiet", *(part for value in arguments.set for part in ("--set", value))]
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        whole = folder / "whole"
        start = time.time()
        if train(command, recipe(whole, arguments.steps)).wait() != 0:
            sys.exit("the uninterrupted run failed")
        seconds = time.time() - start

        pieces = folder / "pieces"
        kills = killed(command, recipe(pieces, arguments.steps), seconds, random.Random(arguments.seed))
        same = all((whole / "out" / name).read_bytes() == (pieces / "out" / name).read_bytes()
                   for name in ("first/model.safetensors", "second/model.safetensors"))
        same = same and losses(whole) == losses(pieces)
        print(f"killed {kills} times and resumed: {'bit for bit the uninterrupted run' if same else 'DIFFERENT'}")
        failed |= not same or kills == 0

        pair = folder / "pair"
        two(command, recipe(pair, arguments.steps))
        one, both = losses(whole), losses(pair)
        early = max(abs(one[s] - both[s]) / one[s] for s in one if s <= 4)
        late = max(abs(one[s] - both[s]) / one[s] for s in one)
        good = one.keys() == both.keys() and early < 1e-5 and late < 0.02
        print(f"two processes: relative difference of the loss {early:.1e} in the first four steps, {late:.1e} in all "
              f"{len(one)}{'' if good else ': TOO MUCH'}")
        failed |= not good
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
