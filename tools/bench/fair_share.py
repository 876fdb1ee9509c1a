#!/usr/bin/env python3
"""Does a busy neighbour slow zaya down by more than its fair share?

    tools/bench/fair_share.py [--zaya build/zaya] [--neighbours 1 2] [--rounds 3] [-- arguments of zaya bench]

Decodes alone and beside processes that only burn processor time, in turn. A machine of C cores that T threads of zaya
share with B busy processes owes zaya min(T, C · T / (T + B)) cores; it would be slowed by T, or all of C, over that. A
team whose threads wait for each other loses more: whoever waits for a preempted thread waits for all of its time slice.
Printed per number of neighbours: decoding speed, slowdown, the fair slowdown and their ratio. Standard library only.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def fair_slowdown(cores, threads, neighbours):
    alone = min(threads, cores)
    beside = min(alone, cores * threads / (threads + neighbours))
    return alone / beside


class Busy:
    """Processes that burn processor time while the block runs."""

    def __init__(self, count):
        self.count = count
        self.processes = []

    def __enter__(self):
        for _ in range(self.count):
            self.processes.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


def decode(zaya, arguments):
    """(tokens per second, threads) of one run of zaya bench."""
    out = subprocess.run([str(zaya), "bench", "--prompt", "0", "--json", *arguments], check=True, capture_output=True)
    report = json.loads(out.stdout)
    return report["figures"][0]["tokens_per_second"]["median"], report["machine"]["threads"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zaya", default=ROOT / "build/zaya", type=pathlib.Path)
    parser.add_argument("--neighbours", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("bench", nargs="*", metavar="ARGUMENT", help="for zaya bench, behind --")
    arguments = parser.parse_args()

    cores = len(os.sched_getaffinity(0))
    speeds = {count: [] for count in [0, *arguments.neighbours]}
    for _ in range(arguments.rounds):
        for count, values in speeds.items():
            with Busy(count):
                speed, threads = decode(arguments.zaya, arguments.bench)
            values.append(speed)

    print(f"{cores} processors, {threads} threads, {arguments.rounds} rounds, load {os.getloadavg()[0]:.1f}")
    print(f"{'neighbours':>10} {'tok/s':>8} {'slowdown':>9} {'fair':>6} {'ratio':>6}  (ratio above 1: worse than fair)")
    for count, values in speeds.items():
        slowdown = statistics.median(a / b for a, b in zip(speeds[0], values))
        fair = fair_slowdown(cores, threads, count)
        print(f"{count:>10} {statistics.median(values):>8.1f} {slowdown:>9.2f} {fair:>6.2f} {slowdown / fair:>6.2f}")


if __name__ == "__main__":
    main()
