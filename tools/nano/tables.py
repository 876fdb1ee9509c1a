#!/usr/bin/env python3
"""Puts the evaluations of tools/nano/measure side by side, as Markdown: python3 tools/nano/tables.py build/nano"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path


def percent(part):
    return f"{100 * part['value']:.1f} ({100 * part['low']:.1f} – {100 * part['high']:.1f})"


def mean_of(strategy, of):
    """Groups are called "environment dN"; means of them by what `of` makes of the name, weighted by problems."""
    sums, items = defaultdict(float), defaultdict(int)
    for group in strategy["groups"]:
        key = of(group["group"])
        sums[key] += group["value"] * group["items"]
        items[key] += group["items"]
    return {key: sums[key] / items[key] for key in items}


def by_group(columns, of, title):
    print(f"| {title} | " + " | ".join(name for name, _ in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    means = [mean_of(strategy, of) for _, strategy in columns]
    for key in means[-1]:
        print(f"| {key} | " + " | ".join(f"{100 * m[key]:.0f}" if key in m else "–" for m in means) + " |")
    print()


def strategies(summary, title):
    print(f"{title}\n\n| strategy | right, % (95 %) | mean of the last round, % | new tokens |\n|---|---|---|---|")
    for s in summary["strategies"]:
        print(f"| {s['name']} | {percent(s['accuracy'])} | {percent(s['last_round'])} | {s['new_tokens']:.0f} |")
    print()
    pairs = summary.get("pairs", [])
    if pairs:
        print("| difference | points (95 %) | p |\n|---|---|---|")
        for p in pairs:
            print(f"| {p['b']} − {p['a']} | {100 * p['difference']:+.1f} ({100 * p['low']:+.1f} – {100 * p['high']:+.1f}) "
                  f"| {p['p']:.2g} |")
        print()


def main():
    out = Path(sys.argv[1])
    read = {name: json.loads((out / f"eval-{name}" / "summary.json").read_text())
            for name in ("pretrain", "sft", "aggregate", "second", "sweep")}
    columns = []
    for stage in ("pretrain", "sft", "aggregate"):
        for s in read[stage]["strategies"]:
            s["name"] = s["name"].split(":")[0]  # without its settings
            columns.append((f"{stage}: {s['name']}", s))
    for stage in ("pretrain", "sft", "aggregate"):
        strategies(read[stage], f"**After `{stage}`**, {read[stage]['items']} problems")
    strategies(read["second"], f"**After `aggregate`**, {read['second']['items']} other problems")
    strategies(read["sweep"], f"**Varied**, after `aggregate`, {read['sweep']['items']} problems")
    by_group(columns, lambda group: group.rsplit(" ", 1)[0], "environment, % right")
    by_group(columns, lambda group: re.search(r"d\d+$", group).group(0), "difficulty, % right")


if __name__ == "__main__":
    main()
