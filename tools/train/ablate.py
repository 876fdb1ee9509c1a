#!/usr/bin/env python3
"""Trains variants of a network on equal tokens, with several seeds each, and compares their losses.

    python tools/train/ablate.py --out build/ablation/table.md --svg build/ablation/curves.svg

A run's loss is the mean over its last steps of the loss before each step's update. Problems are drawn anew for every step,
so it estimates the loss on problems of the same kind, except for easy ones that chance draws twice. A seed gives every
variant the same batches (this is checked in the logs), so each variant is compared with the base seed by seed. Runs that
were stopped go on where they were, complete ones are left alone: the same command again only writes the table.
"""

import argparse
import json
import math
import os
import re
import signal
import statistics
import struct
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import plot

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = {"base": [], "gqa": ["model.attention=gqa"], "linear router": ["model.router=linear"],
            "no residual scaling": ["model.residual_scaling=false"]}
TICK = 2.0  # seconds


class Run:
    def __init__(self, arguments, variant, overrides, seed):
        self.variant, self.seed, self.name = variant, seed, f"{variant.replace(' ', '-')}-{seed}"
        self.folder = (arguments.runs / self.name).resolve()
        overrides = [*arguments.set, *overrides, f"run.seed={seed}"]
        self.given = {"recipe": tomllib.loads(arguments.recipe.read_text()), "set": overrides}
        self.command = [str(arguments.trainer), "run", str(arguments.recipe), "--quiet"]
        for override in [*overrides, f"run.out={self.folder}"]:
            self.command += ["--set", override]
        self.total = None

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / "given.json"
        if note.exists() and json.loads(note.read_text()) != self.given:
            sys.exit(f"{self.folder} was begun with another recipe or other settings: remove it, or give other --runs")
        note.write_text(json.dumps(self.given, indent=1) + "\n")
        with open(self.folder / "messages.txt", "w") as messages:
            self.process = subprocess.Popen(self.command, stderr=messages, stdout=messages)

    def lines(self):
        return plot.read(f"{self.name}={self.folder / 'log.jsonl'}")[1]

    def last(self):
        try:
            return json.loads((self.folder / "log.jsonl").read_text().rpartition("\n")[0].rpartition("\n")[2])
        except (OSError, ValueError):  # no line yet
            return {"step": 0, "loss": math.nan, "seconds": 0}

    def finish(self):
        """What is wrong with the ended run, or nothing."""
        messages = (self.folder / "messages.txt").read_text()
        steps = re.search(r"(\d+) steps", messages)
        self.total = int(steps[1]) if steps else None
        if self.process.returncode != 0 or self.last()["step"] != self.total:
            return f"{self.name} ended early: {messages.strip() or self.process.returncode}"
        return None

    def weights(self):
        """All weights, and those that were trained: the optimizer's first moments of the others are zero."""
        with open(self.folder / "state.safetensors", "rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
            tensors, data = json.loads(file.read(size)), 8 + size
            count = trained = 0
            for name in (n for n in tensors if n.startswith("weight.")):
                begin, end = tensors[name.replace("weight.", "first.", 1)]["data_offsets"]
                file.seek(data + begin)
                numbers = math.prod(tensors[name]["shape"])
                count += numbers
                trained += numbers if any(file.read(end - begin)) else 0
        return count, trained


def show(runs, running, done, start):
    parts = [f"{done}/{len(runs)} runs", f"{(time.time() - start) / 60:.0f} min"]
    parts += [f"{run.name}: step {last['step']}, loss {last['loss']:.3f}" for run in running for last in [run.last()]]
    print("\r" + " · ".join(parts) + "\x1b[K", end="", file=sys.stderr, flush=True)


def train(runs, jobs):
    waiting, running, done, start, terminal = list(runs), [], 0, time.time(), sys.stderr.isatty()
    clear = "\r\x1b[K" if terminal else ""
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                waiting[0].start()
                running.append(waiting.pop(0))
            try:
                running[0].process.wait(timeout=TICK)
            except subprocess.TimeoutExpired:
                pass
            for run in [run for run in running if run.process.poll() is not None]:
                running.remove(run)
                if wrong := run.finish():
                    sys.exit(clear + wrong)
                done += 1
                last = run.last()
                print(f"{clear}{done}/{len(runs)} {run.name}: {last['step']} steps, loss {last['loss']:.4f}, "
                      f"{last['seconds']:.0f} s", file=sys.stderr, flush=True)
            if terminal and running:
                show(runs, running, done, start)
    finally:
        for run in running:  # they save and stop
            run.process.terminate()
        for run in running:
            run.process.wait()


def t_quantile(freedom, share=0.95):
    """Student's t within ± which this share lies: with t = √n·tan(a), the density of a is ∝ cos(a)^(n − 1)."""
    parts = 100_000
    density = [math.cos((i + 0.5) / parts * math.pi / 2) ** (freedom - 1) for i in range(parts)]
    wanted, sum_so_far = share * sum(density), 0.0
    for i, value in enumerate(density):
        sum_so_far += value
        if sum_so_far >= wanted:
            return math.sqrt(freedom) * math.tan((i + 1) / parts * math.pi / 2)


def spread(values):
    return statistics.stdev(values) if len(values) > 1 else math.nan


def check_pairs(logs, variants, seeds):
    for seed in seeds:
        tokens = {tuple((line["step"], line["tokens"]) for line in logs[name, seed]) for name in variants}
        if len(tokens) > 1:
            sys.exit(f"seed {seed}: the variants did not see the same batches")


def summarize(runs, logs, variants, seeds, last):
    summary = {"steps": runs[0].total, "last": last, "seeds": seeds,
               "tokens": {seed: logs["base", seed][-1]["tokens"] for seed in seeds}, "variants": {}}
    quantile = t_quantile(len(seeds) - 1) if len(seeds) > 1 else math.nan
    for name, overrides in variants.items():
        losses = {seed: statistics.fmean(line["loss"] for line in logs[name, seed][-last:]) for seed in seeds}
        count, trained = next(run for run in runs if run.variant == name).weights()
        one = summary["variants"][name] = {
            "set": overrides, "weights": count, "trained_weights": trained, "loss": losses,
            "mean": statistics.fmean(losses.values()), "deviation": spread(list(losses.values())),
            "seconds": {seed: logs[name, seed][-1]["seconds"] for seed in seeds}}
        if name != "base":
            base = summary["variants"]["base"]["loss"]
            differences = {seed: losses[seed] - base[seed] for seed in seeds}
            one["difference"] = differences
            one["mean_difference"] = statistics.fmean(differences.values())
            one["half_interval"] = quantile * spread(list(differences.values())) / math.sqrt(len(seeds))
    return summary


def table(summary, recipe):
    minus = lambda text: text.replace("-", "−")
    seeds, tokens = summary["seeds"], summary["tokens"].values()
    rows = ["| variant | weights trained | loss, mean ± s.d. | minus base, per seed | mean [95 % interval] |",
            "|---|---|---|---|---|"]
    for name, one in summary["variants"].items():
        row = f"| {name} | {one['trained_weights']:,} | {one['mean']:.4f} ± {one['deviation']:.4f} "
        if name == "base":
            rows.append(row + "| – | – |")
            continue
        mean, half = one["mean_difference"], one["half_interval"]
        each = ", ".join(f"{value:+.4f}" for value in one["difference"].values())
        rows.append(row + minus(f"| {each} | {mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}] |"))
    return "\n".join([
        f"`{recipe}`, {summary['steps']} steps, {min(tokens):,} to {max(tokens):,} tokens by seed and equal for all variants "
        f"of a seed, {len(seeds)} seeds; loss per counted token over the last {summary['last']} steps, before each update. "
        f"Intervals are Student's t over the seeds' differences, each comparison for itself.", "", *rows]) + "\n"


def smooth(values):
    """The geometric mean of the losses within a tenth of each step's number."""
    logs = [math.log(value) for value in values]
    reach = lambda i: max(1, i // 10)
    return [math.exp(statistics.fmean(logs[max(0, i - reach(i)):i + reach(i) + 1])) for i in range(len(logs))]


def curves(title, steps, groups, colours, top, log=False):
    """Of each group of curves the mean, and a band from the lowest to the highest."""
    lows, means, highs = ([[f(at) for at in zip(*group)] for group in groups] for f in (min, statistics.fmean, max))
    low, high = min(map(min, lows)), max(map(max, highs))
    body, x, y = plot.frame(title, (steps[0], steps[-1]), (low, high), top, log)
    for colour, low, mean, high in zip(colours, lows, means, highs):
        edge = [*zip(steps, low), *reversed(list(zip(steps, high)))]
        body.append(f'<polygon points="{" ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in edge)}" fill="{colour}" '
                    'fill-opacity=".18"/>')
        body.append(plot.polyline(zip(steps, mean), colour, x, y))
    return body


def draw(path, logs, variants, seeds):
    steps = [line["step"] for line in logs["base", seeds[0]]]
    smoothed = {key: smooth([line["loss"] for line in lines]) for key, lines in logs.items()}
    groups = [[smoothed[name, seed] for seed in seeds] for name in variants]
    body = curves("Loss per counted token: mean and range of the seeds", steps, groups, plot.COLOURS, 0, log=True)
    begin = len(steps) // 4
    differences = [[[a - b for a, b in zip(one[begin:], base[begin:])] for one, base in zip(group, groups[0])]
                   for group in groups]
    body += curves("Its difference to the base with the same seed, from a quarter of the steps on", steps[begin:],
                   differences, plot.COLOURS, plot.HEIGHT)
    plot.write(path, body, variants, 2 * plot.HEIGHT)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, nargs="?", default=ROOT / "recipes/ablation.toml")
    parser.add_argument("--trainer", type=Path, default=ROOT / "build/train/zaya-train")
    parser.add_argument("--runs", type=Path, default=ROOT / "build/ablation", help="folder of the runs and summary.json")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 1 on")
    parser.add_argument("--jobs", type=int, help="runs at once (default: as many as processors; recipes say how many "
                                                 "threads a run has)")
    parser.add_argument("--last", type=int, default=50, help="logged steps that a run's loss is the mean of")
    parser.add_argument("--set", action="append", default=[], help="of every run, as in stage.0.tokens=20000 (repeatable)")
    parser.add_argument("--also", nargs="+", action="append", default=[], metavar=("NAME", "KEY=VALUE"),
                        help="one more variant (repeatable)")
    parser.add_argument("--out", type=Path, help="the table, Markdown")
    parser.add_argument("--svg", type=Path, help="the loss curves")
    arguments = parser.parse_args()
    variants = VARIANTS | {name: overrides for name, *overrides in arguments.also}
    seeds = list(range(1, arguments.seeds + 1))
    runs = [Run(arguments, name, overrides, seed) for seed in seeds for name, overrides in variants.items()]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        train(runs, arguments.jobs or os.cpu_count())
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
    logs = {(run.variant, run.seed): run.lines() for run in runs}
    check_pairs(logs, variants, seeds)
    summary = summarize(runs, logs, variants, seeds, arguments.last)
    recipe = arguments.recipe.resolve()
    text = table(summary, recipe.relative_to(ROOT) if recipe.is_relative_to(ROOT) else recipe.name)
    print(text, end="")
    (arguments.runs / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    if arguments.out:
        arguments.out.write_text(text)
    if arguments.svg:
        draw(arguments.svg, logs, variants, seeds)


if __name__ == "__main__":
    main()
