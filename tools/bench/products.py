#!/usr/bin/env python3
"""One product of packed weights with many tokens, beside what torch's library (oneDNN) makes of plain weights.

    tools/bench/products.py [--bench build/src/ops/ops_bench] [--tokens 128 512] [--rounds 5]

Needs torch in the Python that runs it. One thread, weights of 2,048 x 2,048 that stay in the last-level cache. In each
round every contestant runs once, so that all of them see the same machine: zaya's tiles with 4-bit and 8-bit weights,
in BF16 and in bytes, and torch's linear() in BF16 and _int_mm() in bytes, both on weights that lie unpacked in memory
(16 and 8 bits; for linear() also reordered beforehand as its library likes them). Printed are medians in GFLOP/s, and their shares of the BF16 tile peak of their own round.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import time

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIDE = 2048


def zaya(bench, tokens):
    """GFLOP/s by name, from the benchmarks of products."""
    pattern = f"^tile_peak$|tile_product/type:(4|5)/rows:{SIDE}/cols:{SIDE}/n:({'|'.join(map(str, tokens))})$"
    run = subprocess.run(
        [bench, f"--benchmark_filter={pattern}", "--benchmark_min_time=0.1", "--benchmark_format=json"],
        capture_output=True, text=True, check=True)
    speeds = {}
    for result in json.loads(run.stdout)["benchmarks"]:
        name, speed = result["name"], result["FLOP/s"] / 1e9
        if name == "tile_peak":
            speeds["peak"] = speed
            continue
        kind = "bytes" if name.startswith("int8") else "BF16"
        speeds[f"zaya, {result['label']} in {kind}", int(name.rsplit(":", 1)[1])] = speed
    return speeds


def timed(call, operations, seconds=0.1):
    call()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return operations / statistics.mean(times) / 1e9


def with_torch(tokens):
    halves = torch.randn(SIDE, SIDE).bfloat16()
    codes = torch.randint(-127, 128, (SIDE, SIDE), dtype=torch.int8)
    speeds = {}
    for n in tokens:
        x, bytes_x = torch.randn(n, SIDE).bfloat16(), torch.randint(-127, 128, (n, SIDE), dtype=torch.int8)
        operations = 2 * n * SIDE * SIDE
        packed = torch.ops.mkldnn._reorder_linear_weight(halves, n)
        linear = torch.ops.mkldnn._linear_pointwise
        speeds["torch, linear in BF16", n] = timed(lambda: torch.nn.functional.linear(x, halves), operations)
        speeds["torch, the same reordered", n] = timed(lambda: linear(x, packed, None, "none", [], ""), operations)
        speeds["torch, _int_mm in bytes", n] = timed(lambda: torch._int_mm(bytes_x, codes), operations)
    return speeds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default=ROOT / "build/src/ops/ops_bench")
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rounds = [{**zaya(args.bench, args.tokens), **with_torch(args.tokens)} for _ in range(args.rounds)]
    peaks = [r["peak"] for r in rounds]
    print(f"BF16 tile peak: {statistics.median(peaks):.0f} GFLOP/s ({min(peaks):.0f}–{max(peaks):.0f})")
    for key in rounds[0]:
        if key == "peak":
            continue
        speeds = [r[key] for r in rounds]
        share = statistics.median(r[key] / r["peak"] for r in rounds)
        print(f"{key[1]:5} tokens  {key[0]:28} {statistics.median(speeds):6.0f} GFLOP/s "
              f"({min(speeds):.0f}–{max(speeds):.0f}), {100 * share:.0f} % of the peak")


if __name__ == "__main__":
    main()
