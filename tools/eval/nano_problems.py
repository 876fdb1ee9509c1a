#!/usr/bin/env python3
"""Held-out problems of the embedded model, as a file for `zaya eval --set`.

    tools/eval/nano_problems.py --problems 200 > nano.jsonl
    zaya eval models/nano --set nano.jsonl --answer-kind text --prompts plain --equal-tokens --out runs/nano \\
        -N 4 -C 2 -T 2 --beta 256 --tau 128 --final-budget 64

The problems are those of tools/nano/tasks.py that training never shows, in equal parts of each kind, no two alike.
"""

import argparse
import json
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "nano"))
import tasks  # noqa: E402


def problems(kinds, count, seed):
    rng = random.Random(f"reasoning/{seed}")
    seen = set()
    while len(seen) < count:
        kind = kinds[len(seen) % len(kinds)]
        example = tasks.conversation(rng, want_held_out=True, kind=kind, turns=1, thinking=True)
        question = example["messages"][-1]["content"]
        if len(example["messages"]) > 1 or question in seen:
            continue
        seen.add(question)
        answer = tasks.render_target(example).split("</think>")[-1].replace("<|im_end|>", "").strip()
        yield {"id": f"{kind}/{len(seen)}", "group": kind, "problem": question, "answer": answer}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--kinds", default="subtraction,multiplication,division,comparison")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for problem in problems(args.kinds.split(","), args.problems, args.seed):
        print(json.dumps(problem))
    return 0


if __name__ == "__main__":
    sys.exit(main())
