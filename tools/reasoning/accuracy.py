#!/usr/bin/env python3
"""Accuracy of single rollout, majority vote, RSA and Markovian RSA on the embedded model's held-out tasks, at equal new
tokens.

    tools/reasoning/accuracy.py --zaya build/zaya --model models/nano --problems 40 --seed 1 --plot accuracy.svg

The problems are those of tools/nano/tasks.py that training never shows. Markovian RSA runs first; the vote's number of
rollouts is then chosen so that it spends as many new tokens as nearly as can be, on the same problems. A single rollout
spends what it spends. Intervals are Wilson's, 95 %. Counted as right: the answer equals the expected one.
"""

import argparse
import json
import math
import os
import pathlib
import random
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "nano"))
import tasks  # noqa: E402


def problems(kinds, count, seed):
    rng = random.Random(f"reasoning/{seed}")
    made = []
    while len(made) < count:
        kind = kinds[len(made) % len(kinds)]
        example = tasks.conversation(rng, want_held_out=True, kind=kind, turns=1, thinking=True)
        question = example["messages"][-1]["content"]
        answer = tasks.render_target(example).split("</think>")[-1].replace("<|im_end|>", "").strip()
        made.append((question, answer))
    return made


def wilson(right, count, z=1.96):
    p = right / count
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0, centre - half), min(1, centre + half)


def solve(zaya, model, question, arguments):
    command = [zaya, "solve", model, "-p", question, "--json", "--no-journal", "--deterministic", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    final = lines[-1]
    assert final["event"] == "result", result.stderr
    traces = [line for line in lines if line["event"] == "trace"]
    return final, traces


def same(zaya, pairs):
    lines = "".join(json.dumps({"gold": gold, "text": text, "kind": "text"}) + "\n" for gold, text in pairs)
    result = subprocess.run([zaya, "solve", "--compare-answers"], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line)["same"] for line in result.stdout.splitlines()]


def plot(rows, path):
    width, height, left, bottom = 620, 320, 60, 60
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="#fff"/>']
    def y(share):
        return height - bottom - share * (height - bottom - 20)
    for tick in range(0, 101, 20):
        out.append(f'<line x1="{left}" x2="{width - 10}" y1="{y(tick / 100):.1f}" y2="{y(tick / 100):.1f}" stroke="#ddd"/>'
                   f'<text x="{left - 8}" y="{y(tick / 100) + 4:.1f}" text-anchor="end">{tick} %</text>')
    step = (width - left - 10) / len(rows)
    for i, (name, share, low, high, tokens) in enumerate(rows):
        x = left + step * (i + 0.5)
        out.append(f'<rect x="{x - step * 0.3:.1f}" width="{step * 0.6:.1f}" y="{y(share):.1f}" height="{y(0) - y(share):.1f}" fill="#8ab"/>'
                   f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}" stroke="#222" stroke-width="2"/>'
                   f'<text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle">{name}</text>'
                   f'<text x="{x:.1f}" y="{height - bottom + 34}" text-anchor="middle" fill="#666">{tokens:.0f} tokens</text>')
    out.append("</svg>")
    pathlib.Path(path).write_text("\n".join(out) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zaya", required=True)
    parser.add_argument("--model", default=str(ROOT / "models" / "nano"))
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--kinds", default="subtraction,multiplication,division,comparison")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--settings", default="-N 4 -C 2 -T 2 --beta 256 --tau 128 --final-budget 64 --temperature 1",
                        help="of the RSA runs")
    parser.add_argument("--carries", default="aggregate", help="aggregate, or aggregate,delethink")
    parser.add_argument("--plot")
    parser.add_argument("--out", help="JSON lines, one per run")
    args = parser.parse_args()

    held = problems(args.kinds.split(","), args.problems, args.seed)
    rsa = ["--preset", "tiny", "--answer-kind", "text", *args.settings.split()]
    methods = {"Markovian RSA": rsa, "plain RSA": [*rsa, "--method", "rsa"]}
    if "delethink" in args.carries:
        methods["C = 1"] = [*rsa, "--method", "delethink"]
    rows, log = [], open(args.out, "w") if args.out else open(os.devnull, "w")

    def measure(name, arguments):
        runs = [solve(args.zaya, args.model, question, [*arguments, "--seed", str(1000 * args.seed + i)])
                for i, (question, _) in enumerate(held)]
        right = same(args.zaya, [(answer, final["answer"] or "-") for (_, answer), (final, _) in zip(held, runs)])
        # The published score: the mean over the last round's candidates, not the vote's.
        pairs = [(answer, trace["answer"] or "-") for (_, answer), (_, traces) in zip(held, runs)
                 for trace in traces if trace["round"] == max(t["round"] for t in traces)]
        mean = sum(same(args.zaya, pairs)) / len(pairs)
        tokens = sum(final["new_tokens"] for final, _ in runs) / len(runs)
        low, high = wilson(sum(right), len(right))
        rows.append((name, sum(right) / len(right), low, high, tokens))
        print(f"| {name} | {100 * sum(right) / len(right):.1f} % | {100 * low:.1f} – {100 * high:.1f} % | {100 * mean:.1f} % "
              f"| {tokens:.0f} | {len(right)} |", flush=True)
        for (question, answer), (final, _), is_right in zip(held, runs, right):
            log.write(json.dumps({"method": name, "question": question, "expected": answer, "answer": final["answer"],
                                  "right": is_right, "new_tokens": final["new_tokens"]}) + "\n")
        return tokens

    print("| method | right | 95 % interval | mean of the last round | new tokens a problem | problems |\n|---|---|---|---|---|---|")
    budget = max(measure(name, arguments) for name, arguments in methods.items())
    common = ["--preset", "tiny", "--answer-kind", "text", "--beta", "256", "--final-budget", "64"]
    one = measure("single rollout", [*common, "--method", "single"])
    count = max(1, round(budget / one))
    measure(f"vote of {count}", [*common, "--method", "vote", "-N", str(count)])
    if args.plot:
        plot(rows, args.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
