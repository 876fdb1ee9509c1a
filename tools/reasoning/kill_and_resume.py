#!/usr/bin/env python3
"""Kills `zaya solve` at random moments and resumes it, and checks that the run ends as the undisturbed one did.

    tools/reasoning/kill_and_resume.py --zaya build/zaya --kills 50 --seed 1

One run is made undisturbed. Then runs of the same seed are started and killed (SIGKILL) after a random time, resumed,
killed again, until the wanted number of kills is reached; whatever is unfinished then is resumed to its end. Every run
must bring the same tails, answers, token counts and result as the undisturbed one.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time


def essence(path):
    """What two runs of one seed must agree in; times and lines of sessions are left out."""
    traces, result = {}, None
    with open(path) as file:
        for line in file:
            event = json.loads(line)
            if event["event"] == "trace" and event["end"] in ("stop", "length"):
                key = (event["round"], event["candidate"])
                content = (event["reasoning"], event["final"], event["tail"], event["new_tokens"], event["answer"])
                assert key not in traces, f"{path}: candidate {key} was made twice"
                traces[key] = content
            if event["event"] == "result":
                result = (event["answer"], event["round"], event["candidate"], event["votes"], event["new_tokens"])
    return traces, result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zaya", required=True)
    parser.add_argument("--model", default="models/nano")
    parser.add_argument("--prompt", default="What is 4736 * 58?")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arguments", default="--preset tiny --answer-kind number", help="more arguments of zaya solve")
    args = parser.parse_args()

    rng = random.Random(args.seed)
    start = [args.zaya, "solve", args.model, "-p", args.prompt, "--deterministic", "--seed", "7", *args.arguments.split()]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory() as directory:
        whole = os.path.join(directory, "whole.jsonl")
        begin = time.monotonic()
        subprocess.run([*start, "--journal", whole], check=True, **quiet)
        took = time.monotonic() - begin
        expected = essence(whole)
        print(f"undisturbed: {took:.1f} s, {len(expected[0])} traces, result {expected[1][0]!r}")
        kills = runs = torn = late = 0
        while kills < args.kills:
            path = os.path.join(directory, f"run{runs}.jsonl")
            command = [*start, "--journal", path]
            while True:
                process = subprocess.Popen(command, **quiet)
                last = kills >= args.kills
                try:
                    process.wait(None if last else rng.uniform(0.02, 1.0) * took)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    kills += 1
                    if os.path.exists(path) and os.path.getsize(path) > 0:
                        with open(path, "rb") as file:
                            content = file.read()
                        torn += not content.endswith(b"\n")
                        # Killed within the very first line, there is no run yet.
                        command = [args.zaya, "solve", "--resume", path] if b"\n" in content else command
                    if command == [*start, "--journal", path] and os.path.exists(path):
                        os.remove(path)
                    continue
                assert process.returncode == 0, f"{' '.join(command)}: exit code {process.returncode}"
                late += 1
                break
            found = essence(path)
            if found != expected:
                print(f"run {runs} after {kills} kills differs from the undisturbed one", file=sys.stderr)
                return 1
            runs += 1
        print(f"{kills} kills over {runs} runs, {torn} torn lines: every run ended as the undisturbed one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
