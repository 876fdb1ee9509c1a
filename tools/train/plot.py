#!/usr/bin/env python3
"""Draws runs' logs as an SVG: loss, router load entropy and speed over the steps.

    python tools/train/plot.py RUN/log.jsonl [NAME=RUN/log.jsonl ...] --series loss entropy --out docs/training.svg

A log is what the trainer writes, one JSON object a line. Without a name, a run is called like its folder.
"""

import argparse
import json
import math
from pathlib import Path

COLOURS = ["#0969da", "#cf222e", "#1a7f37", "#8250df", "#bf8700", "#57606a"]
TITLES = {"loss": "Loss per token", "entropy": "Entropy of the experts' load, share of the maximum",
          "lowest_entropy": "The same, of the layer that has least", "tokens_per_second": "Tokens per second",
          "gradient_norm": "Norm of the gradient"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 240, 64, 16, 34, 34


def read(argument):
    name, separator, path = argument.partition("=")
    path = Path(path if separator else argument)
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return (name if separator else path.parent.name), lines


def ticks(low, high, count=5):
    """Round values between two bounds."""
    raw = (high - low) / count or 1.0
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def frame(title, xs, ys, top, log=False):
    """A panel's title and grid over two ranges of values, and the functions that place a value."""
    (x0, x1), scale = xs, math.log if log else float
    y0, y1 = map(scale, ys)
    x = lambda v: LEFT + (v - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
    y = lambda v: top + TOP + (y1 - scale(v)) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
    powers = range(math.floor(math.log10(ys[0])), math.ceil(math.log10(ys[1]))) if log else ()
    marks = [m * 10.0**p for p in powers for m in (1, 1.5, 2, 3, 5, 7)] if log else ticks(*ys)
    out = [f'<text x="{LEFT}" y="{top + 20}" class="title">{title}</text>']
    for v in (v for v in marks if ys[0] <= v <= ys[1]):
        out.append(f'<path d="M{LEFT} {y(v):.1f}H{WIDTH - RIGHT}" class="grid"/>'
                   f'<text x="{LEFT - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:g}</text>')
    for v in ticks(x0, x1, 6):
        out.append(f'<text x="{x(v):.1f}" y="{top + HEIGHT - 14}" text-anchor="middle">{v:g}</text>')
    return out, x, y


def polyline(points, colour, x, y):
    line = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
    return f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def panel(series, runs, top, upto):
    points = [[(l["step"], l[series]) for l in lines if series in l and (not upto or l["step"] <= upto)]
              for _, lines in runs]
    everything = [p for one in points for p in one]
    xs, ys = [p[0] for p in everything], [p[1] for p in everything]
    margin = 0.05 * (max(ys) - min(ys)) or 0.01
    out, x, y = frame(TITLES.get(series, series), (min(xs), max(max(xs), min(xs) + 1)),
                      (min(ys) - margin, max(ys) + margin), top)
    return out + [polyline(one, colour, x, y) for colour, one in zip(COLOURS, points)]


def write(path, body, names, top):
    """The panels with a legend below them, as an SVG file."""
    position = LEFT
    for colour, name in zip(COLOURS, names):
        body.append(f'<rect x="{position}" y="{top + 4}" width="12" height="12" fill="{colour}"/>'
                    f'<text x="{position + 18}" y="{top + 15}">{name}</text>')
        position += 40 + 7 * len(name)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 28}" width="{WIDTH}">\n'
        "<style>text{font:12px sans-serif;fill:#57606a}.title{font-weight:600;fill:#24292f}"
        ".grid{stroke:#d0d7de;stroke-width:.6}</style>\n"
        f'<rect width="{WIDTH}" height="{top + 28}" fill="#fff"/>\n' + "\n".join(body) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--series", nargs="+", default=["loss", "entropy"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--upto", type=int, default=0, help="last step drawn")
    arguments = parser.parse_args()
    runs = [read(argument) for argument in arguments.runs]
    body, top = [], 0
    for series in arguments.series:
        body += panel(series, runs, top, arguments.upto)
        top += HEIGHT
    write(arguments.out, body, [name for name, _ in runs], top)


if __name__ == "__main__":
    main()
