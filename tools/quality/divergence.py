#!/usr/bin/env python3
"""What a weight format changes in the model's distribution, against FP32 arithmetic on the stored weights.

    tools/quality/divergence.py [--zaya build/zaya] [--model models/nano] [--format q4 …] [--json]

Two kinds of text: the model's own greedy answers (with their prompts), and text it has never seen (the project's
documents, and shuffled tokens of its own answers). Printed per format and text: the mean over positions of
KL(stored ‖ format) in nats, its 99th percentile, and the share of positions whose most likely token is the same.
Standard library only.
"""

import argparse
import json
import math
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def read_logits(path):
    """The FP32 tensor `logits` [n, vocabulary] that `zaya logits` writes, as a list of rows."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    entry = json.loads(data[8 : 8 + length])["logits"]
    rows, width = entry["shape"]
    start = 8 + length + entry["data_offsets"][0]
    return [struct.unpack_from(f"<{width}f", data, start + 4 * width * row) for row in range(rows)]


def log_softmax(row):
    greatest = max(row)
    total = math.log(sum(math.exp(x - greatest) for x in row)) + greatest
    return [x - total for x in row]


def divergence(expected, actual):
    """KL(expected ‖ actual) in nats, and whether both think the same token most likely."""
    p, q = log_softmax(expected), log_softmax(actual)
    kl = sum(math.exp(a) * (a - b) for a, b in zip(p, q))
    return kl, max(range(len(p)), key=p.__getitem__) == max(range(len(q)), key=q.__getitem__)


class Program:
    def __init__(self, zaya, model, scratch):
        self.zaya, self.model, self.scratch = str(zaya), str(model), pathlib.Path(scratch)

    def logits(self, tokens, *options, model=None):
        out = self.scratch / "logits.safetensors"
        subprocess.run([self.zaya, "logits", model or self.model, "--tokens", ",".join(map(str, tokens)), "--out", str(out), *options],
                       check=True, capture_output=True)
        return read_logits(out)

    def tokens(self, text):
        result = subprocess.run([self.zaya, "tokenize", self.model], input=text, check=True, capture_output=True, text=True)
        return json.loads(result.stdout)["ids"]


def texts(program, count):
    """{kind: token sequences}."""
    goldens = json.loads((ROOT / "src/engine/testdata/nano_greedy.json").read_text())
    own = [golden["prompt_ids"] + golden["greedy_ids"] for golden in goldens[:: max(1, len(goldens) // count)]][:count]
    shuffled = [random.Random(i).sample(tokens, len(tokens)) for i, tokens in enumerate(own)]
    prose = program.tokens((ROOT / "docs/model.md").read_text())
    unseen = [prose[i * 300 : i * 300 + 300] for i in range(min(count // 4, len(prose) // 300))]
    return {"own answers": own, "unseen text": unseen + shuffled[: count // 4]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zaya", default=ROOT / "build/zaya", type=pathlib.Path)
    parser.add_argument("--model", default=ROOT / "models/nano", type=pathlib.Path)
    parser.add_argument("--format", nargs="+", default=["bf16", "q8", "q4"],
                        help="formats to pack to while loading, or directories of packed models")
    parser.add_argument("--activations", default="auto")
    parser.add_argument("--count", default=40, type=int, help="sequences of the model's own text")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    results = []
    with tempfile.TemporaryDirectory() as scratch:
        program = Program(arguments.zaya, arguments.model, scratch)
        for kind, sequences in texts(program, arguments.count).items():
            expected = [program.logits(tokens) for tokens in sequences]
            for name in arguments.format:
                found = []
                packed = pathlib.Path(name).is_dir()
                options = ["--activations", arguments.activations, *([] if packed else ["--format", name])]
                for tokens, rows in zip(sequences, expected):
                    actual = program.logits(tokens, *options, model=name if packed else None)
                    found += [divergence(a, b) for a, b in zip(rows, actual)]
                kls = sorted(kl for kl, _ in found)
                results.append({"format": name, "text": kind, "positions": len(found), "kl": sum(kls) / len(kls),
                                "kl_99": kls[int(0.99 * len(kls))],
                                "top1": sum(same for _, same in found) / len(found)})
    if arguments.json:
        json.dump(results, sys.stdout, indent=2)
        print()
        return
    print(f"{'format':8} {'text':14} {'positions':>9} {'mean KL':>10} {'99 % of KL':>11} {'same top-1':>11}")
    for r in results:
        print(f"{r['format']:8} {r['text']:14} {r['positions']:9} {r['kl']:10.6f} {r['kl_99']:11.6f} {r['top1']:11.2%}")


if __name__ == "__main__":
    main()
