#!/usr/bin/env python3
"""Draws `zaya bench --json` as a roofline: arithmetic per byte read against arithmetic per second.

    zaya bench … --json | tools/bench/roofline.py > roofline.svg
    tools/bench/roofline.py bench.json --out docs/roofline.svg

The slope is the read bandwidth, the flat lines are the arithmetic peaks; each figure is a point. A figure is drawn at
its median share of the ceilings that were measured around its own repetitions, so that a machine whose ceilings move
from minute to minute does not lift a point above a roof that was lower at the time. Standard library only.
"""

import argparse
import json
import math
import pathlib
import sys
from html import escape

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 58, 56
COLOURS = ["#0b6e99", "#b5541c", "#5b7f2b", "#7a3e9d"]


class Axes:
    """Logarithmic axes: x in operations per byte, y in operations per second."""

    def __init__(self, x_range, y_range):
        self.x_range, self.y_range = x_range, y_range

    def x(self, value):
        low, high = map(math.log10, self.x_range)
        return LEFT + (math.log10(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        low, high = map(math.log10, self.y_range)
        return HEIGHT - BOTTOM - (math.log10(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def decades(low, high):
    return [10.0**e for e in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)]


def number(value):
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= unit:
            return f"{value / unit:g} {name}"
    return f"{value:g}"


def points(report):
    """(label, operations per byte, operations per second) of each figure, relative to the ceilings that are drawn."""
    bandwidth = report["read_bandwidth"]["median"]
    result = []
    for figure in report["figures"]:
        rate = figure["tokens_per_second"]["median"]
        per_byte = figure["ops_per_token"] / figure["bytes_per_token"]
        what = figure["what"].removesuffix(", 0 tokens of context")
        result.append((f"{what}: {rate:.1f} tok/s", per_byte, drawn_rate(figure, report, per_byte * bandwidth)))
    return result


def drawn_rate(figure, report, by_bandwidth):
    """Operations per second, by the share of the ceiling that is the lower one for this figure."""
    name, peak = max(((n, s["median"]) for n, s in report["peaks"].items()), key=lambda item: item[1])
    if by_bandwidth < peak:
        return by_bandwidth * figure["share_of_bandwidth"]["median"]
    return peak * figure["share_of_peak"][name]["median"]


def draw(report):
    bandwidth = report["read_bandwidth"]["median"]
    peaks = {name: spread["median"] for name, spread in report["peaks"].items()}
    shown = points(report)
    if not shown:
        raise SystemExit("roofline: the report has no figures")
    highest = max(peaks.values())
    x_low = 10 ** math.floor(math.log10(min(p[1] for p in shown) / 2))
    x_high = 10 ** math.ceil(math.log10(max([highest / bandwidth * 3, *(p[1] * 2 for p in shown)])))
    y_low = 10 ** math.floor(math.log10(min([bandwidth * x_low, *(p[2] for p in shown)])))
    axes = Axes((x_low, x_high), (y_low, highest * 3))
    out = []
    add = out.append
    add(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">')
    add(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>')
    machine = report["machine"]
    add(f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold">{escape(report["model"])}, {escape(report["format"])}'
        f' on {machine["threads"]} threads</text>')
    add(f'<text x="{LEFT}" y="40" fill="#555">{escape(machine["processor"])} · {escape(machine["isa"])} · medians of one run</text>')
    for x in decades(*axes.x_range):
        add(f'<line x1="{axes.x(x):.1f}" y1="{TOP}" x2="{axes.x(x):.1f}" y2="{HEIGHT - BOTTOM}" stroke="#e4e4e4"/>')
        add(f'<text x="{axes.x(x):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    for y in decades(*axes.y_range):
        add(f'<line x1="{LEFT}" y1="{axes.y(y):.1f}" x2="{WIDTH - RIGHT}" y2="{axes.y(y):.1f}" stroke="#e4e4e4"/>')
        add(f'<text x="{LEFT - 6}" y="{axes.y(y) + 4:.1f}" text-anchor="end">{number(y)}</text>')
    add(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 16}" text-anchor="middle">operations per byte read</text>')
    add(f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)" text-anchor="middle">operations per second</text>')

    ridge = highest / bandwidth
    start = max(x_low, axes.y_range[0] / bandwidth)
    add(f'<line x1="{axes.x(start):.1f}" y1="{axes.y(start * bandwidth):.1f}" x2="{axes.x(ridge):.1f}" '
        f'y2="{axes.y(highest):.1f}" stroke="#333" stroke-width="2"/>')
    middle = math.sqrt(start * ridge)
    slope = math.degrees(math.atan2(axes.y(highest) - axes.y(start * bandwidth), axes.x(ridge) - axes.x(start)))
    add(f'<text transform="translate({axes.x(middle):.1f} {axes.y(middle * bandwidth) - 7:.1f}) rotate({slope:.1f})" '
        f'text-anchor="middle">{bandwidth / 1e9:.1f} GB/s</text>')
    for name, peak in peaks.items():
        add(f'<line x1="{axes.x(peak / bandwidth):.1f}" y1="{axes.y(peak):.1f}" x2="{WIDTH - RIGHT}" y2="{axes.y(peak):.1f}" '
            f'stroke="#333" stroke-width="2"/>')
        add(f'<text x="{WIDTH - RIGHT - 4}" y="{axes.y(peak) - 6:.1f}" text-anchor="end">{escape(name)}: {peak / 1e12:.2f} Top/s</text>')
    # Labels stand below their points, each at least a line below the one before, clear of the roofs' names, and on the
    # side with more room.
    names = sorted(axes.y(peak) - 6 for peak in peaks.values())
    lowest_label = 0.0
    for i, (label, x, y) in enumerate(sorted(shown, key=lambda p: -p[2])):
        colour = COLOURS[i % len(COLOURS)]
        px, py = axes.x(x), axes.y(y)
        left_half = px < (LEFT + WIDTH - RIGHT) / 2
        ly = max(py + 16, lowest_label + 15)
        for name in names:
            if abs(ly - name) < 14:
                ly = name + 20
        lowest_label = ly
        lx = px + 8 if left_half else px - 8
        add(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="5" fill="{colour}"/>')
        add(f'<text x="{lx:.1f}" y="{ly:.1f}" fill="{colour}" stroke="#fff" stroke-width="4" '
            f'paint-order="stroke" text-anchor="{"start" if left_half else "end"}">{escape(label)}</text>')
    add("</svg>")
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", nargs="?", type=pathlib.Path, help="output of zaya bench --json (default: standard input)")
    parser.add_argument("--out", type=pathlib.Path, help="default: standard output")
    arguments = parser.parse_args()
    svg = draw(json.loads(arguments.report.read_text() if arguments.report else sys.stdin.read()))
    if arguments.out:
        arguments.out.write_text(svg)
    else:
        sys.stdout.write(svg)


if __name__ == "__main__":
    main()
