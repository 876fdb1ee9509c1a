#!/usr/bin/env python3
"""What a weight format changes in the model's distribution and routing, against FP32 arithmetic on the stored weights.

    tools/quality/divergence.py [--zaya build/zaya] [--model models/nano] [--format q4 DIRECTORY …] [--json]

Four kinds of text:
  own answers     the model's answers to held-out problems of the gym, in FP32 at --temperature; prompts do not count
  held-out text   the same problems, prompts counted, with the worked solutions; it was trained on none of them
  prose           the project's documents: nothing that a small model knows
  shuffled        the tokens of the own answers with their prompts, in any order
Printed per format and text: the mean over positions of KL(stored ‖ format) in nats, its 99th percentile, the share of
positions whose most likely token is the same, the share of (position, layer) that is routed to the same experts, and the
mean KL of the positions whose own routes are all the same. Where texts begin alike, the common tokens count once.

--answers FILE only writes the own answers as token ids, for `zaya pack --calibrate`; with --split train none of the
problems is one that is measured. Needs numpy (requirements.txt).
"""

import argparse
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
THINK = "<think>\n"  # the prompt ends with it, and solutions begin with it
PIECE, PIECES = 300, 20  # tokens of prose


def read_tensors(path):
    """{name: array} of a safetensors file of FP32 tensors."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(data[8 + length + first : 8 + length + end], "<f4").reshape(entry["shape"])
    return tensors


def log_softmax(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def compare(expected, actual):
    """Per position: KL(expected ‖ actual) in nats, whether both think the same token most likely; and per position and
    layer, whether both chose the same experts."""
    p, q = log_softmax(expected["logits"]), log_softmax(actual["logits"])
    return ((np.exp(p) * (p - q)).sum(axis=1), p.argmax(axis=1) == q.argmax(axis=1),
            (expected["choices"] == actual["choices"]).all(axis=2))


class Program:
    def __init__(self, zaya, model, scratch):
        self.zaya, self.model, self.scratch = str(zaya), str(model), pathlib.Path(scratch)

    def run(self, *arguments, text=None):
        return subprocess.run([self.zaya, *map(str, arguments)], input=text, check=True, stdout=subprocess.PIPE,
                              text=True).stdout

    def forward(self, tokens, *options, model=None):
        """{"logits" [n, vocabulary], "choices" [n, layers, experts per token]}."""
        ids, out = self.scratch / "tokens.txt", self.scratch / "logits.safetensors"
        ids.write_text(",".join(map(str, tokens)))
        self.run("logits", model or self.model, "--tokens", f"@{ids}", "--out", out, "--choices", *options)
        return read_tensors(out)

    def tokens(self, text):
        return json.loads(self.run("tokenize", self.model, text=text))["ids"]

    def packed(self, name):
        """A directory of the model in this format: `name` itself if it is one."""
        directory = pathlib.Path(name)
        if not directory.is_dir():
            directory = self.scratch / name
        if not directory.is_dir():
            self.run("pack", self.model, directory, "--format", name, "--json")
        return directory

    def rollouts(self, arguments):
        """One answer in FP32 to each problem: [(token ids with the prompt, how many are the prompt's, the ids of the same
        prompt with the worked solution)]."""
        file = self.scratch / "rollouts.jsonl"
        self.run("eval", self.model, "--set", "gym", "--difficulty", "0-4", "-n", arguments.count, "--first-seed",
                 arguments.first_seed, "--split", arguments.split, "-k", 1, "--deterministic", "--temperature",
                 arguments.temperature, "--beta", 256, "--final-budget", 48, "--rollouts", file)
        problems = [json.loads(line) for line in file.read_text().splitlines()[1:]]
        problems.sort(key=lambda problem: problem["id"])  # the file has them as they were done
        asked = [json.dumps({"messages": [{"role": "user", "content": problem["prompt"]}], "add_generation_prompt": True})
                 for problem in problems]
        rendered = self.run("template", self.model, "--jsonl", text="\n".join(asked) + "\n").splitlines()
        close, stop = self.tokens("</think>"), self.tokens("<|im_end|>")
        found = []
        for problem, line in zip(problems, rendered, strict=True):
            prompt, rollout = json.loads(line)["text"], problem["rollouts"][0]
            assert prompt.endswith(THINK) and problem["target"].startswith(THINK)
            ids = self.tokens(prompt)
            answer = list(rollout["reasoning"]["ids"])
            if rollout["closed"]:
                answer += close + rollout["final"]["ids"] + (stop if rollout["end"] == "stop" else [])
            solved = self.tokens(prompt.removesuffix(THINK) + problem["target"]) + stop
            found.append((ids + answer, len(ids), solved))
        return found


def texts(program, arguments):
    """{kind: [(token ids, the first position that counts)]}."""
    rollouts = program.rollouts(arguments)
    prose = program.tokens((ROOT / "docs/model.md").read_text())
    return {
        "own answers": [(tokens, prompt - 1) for tokens, prompt, _ in rollouts],  # its last token predicts the first
        "held-out text": [(solved, 0) for *_, solved in rollouts],
        "prose": [(prose[at : at + PIECE], 0) for at in range(0, PIECES * PIECE, PIECE)],
        "shuffled": [(random.Random(i).sample(tokens, len(tokens)), 0) for i, (tokens, *_) in enumerate(rollouts[::4])],
    }


def counted(sequences):
    """Per sequence which positions count: from its first on, and not what an earlier one had behind the same tokens."""
    seen, masks = set(), []
    for tokens, first in sequences:
        prefixes = [tuple(tokens[: t + 1]) for t in range(len(tokens))]
        masks.append(np.array([t >= first and prefix not in seen for t, prefix in enumerate(prefixes)]))
        seen.update(prefixes[first:])
    return masks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zaya", default=ROOT / "build/zaya", type=pathlib.Path)
    parser.add_argument("--model", default=ROOT / "models/nano", type=pathlib.Path)
    parser.add_argument("--format", nargs="+", default=["bf16", "q8", "q4"], help="formats, or directories of packed models")
    parser.add_argument("--activations", default="auto")
    parser.add_argument("--kv", default="auto")
    parser.add_argument("--head", default="full", help="full or two-stage, what sampling uses with packed weights")
    parser.add_argument("--count", default=3, type=int, help="problems of each environment and difficulty")
    parser.add_argument("--split", default="held_out", help="of the problems: held_out or train")
    parser.add_argument("--first-seed", default=5000, type=int, help="of the problems")
    parser.add_argument("--temperature", default=1.0, type=float, help="of the model's own answers")
    parser.add_argument("--answers", type=pathlib.Path, help="write the own answers to this .jsonl file, and measure nothing")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    results = []
    with tempfile.TemporaryDirectory() as scratch:
        program = Program(arguments.zaya, arguments.model, scratch)
        if arguments.answers:
            lines = [json.dumps({"tokens": tokens}) + "\n" for tokens, *_ in program.rollouts(arguments)]
            arguments.answers.write_text("".join(lines))
            return
        options = ["--activations", arguments.activations, "--kv", arguments.kv, "--head", arguments.head]
        for kind, sequences in texts(program, arguments).items():
            masks = counted(sequences)
            expected = [program.forward(tokens, "--deterministic") for tokens, _ in sequences]
            for name in arguments.format:
                directory = program.packed(name)
                found = []
                for (tokens, _), mask, e in zip(sequences, masks, expected):
                    found.append([part[mask] for part in compare(e, program.forward(tokens, *options, model=directory))])
                kl, top1, routes = (np.concatenate(part) for part in zip(*found))
                results.append({"format": name, "text": kind, "positions": len(kl), "kl": kl.mean(),
                                "kl_99": np.quantile(kl, 0.99), "top1": top1.mean(), "routes": routes.mean(),
                                "kl_same_routes": kl[routes.all(axis=1)].mean()})
    if arguments.json:
        json.dump(results, sys.stdout, indent=2)
        print()
        return
    width = max(6, *(len(name) for name in arguments.format))
    print(f"{'format':{width}} {'text':13} {'positions':>9} {'mean KL':>9} {'99 % of KL':>10} {'same top-1':>10} "
          f"{'same routes':>11} {'KL of those':>11}")
    for r in results:
        print(f"{r['format']:{width}} {r['text']:13} {r['positions']:9} {r['kl']:9.6f} {r['kl_99']:10.6f} {r['top1']:10.2%} "
              f"{r['routes']:11.2%} {r['kl_same_routes']:11.6f}")


if __name__ == "__main__":
    main()
