"""Tokens per problem of the gym, and whether zaya's tokenizer gives the ids that Hugging Face's gives.

    pip install tokenizers
    python tools/gym/tokens.py --zaya build/zaya [--tokenizer recipes/tokenizer] [-n 100] [--markdown]

One row per environment and difficulty: tokens of the prompt in chat form (median), of the solution with its think block
(median, 95th percentile, largest). Ends with 1 when an id differs.
"""

import argparse
import collections
import json
import subprocess
import sys

from tokenizers import Tokenizer

PROMPT = "<bos><|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<think>\n"
SOLUTION = "{}\n</think>\n\n\\boxed{{{}}}<|im_end|>\n"


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zaya", default="build/zaya")
    parser.add_argument("--tokenizer", default="recipes/tokenizer", help="directory with tokenizer.json")
    parser.add_argument("-n", type=int, default=100, help="problems per environment and difficulty")
    parser.add_argument("--seed", type=int, default=1000000)
    parser.add_argument("--markdown", action="store_true", help="one row per environment: medians at each difficulty")
    args = parser.parse_args()
    limits = {
        e["name"]: e["max_useful_difficulty"]
        for e in json.loads(subprocess.run([args.zaya, "gym", "list", "--json"], check=True, capture_output=True, text=True).stdout)
    }
    command = [args.zaya, "gym", "sample", "all", "-d", f"0-{max(limits.values())}", "-n", str(args.n), "--seed", str(args.seed), "--json"]
    rows = [json.loads(line) for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()]
    rows = [row for row in rows if row["difficulty"] <= limits[row["environment"]]]

    tokenizer = Tokenizer.from_file(f"{args.tokenizer}/tokenizer.json")
    texts = [PROMPT.format(row["prompt"]) for row in rows] + [SOLUTION.format(row["trace"], row["answer"]) for row in rows]
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    stdin = "".join(json.dumps(text) + "\n" for text in texts)
    ours = subprocess.run([args.zaya, "tokenize", args.tokenizer, "--jsonl"], input=stdin, check=True, capture_output=True, text=True)
    differing = sum(json.loads(line) != theirs for line, theirs in zip(ours.stdout.splitlines(), ids, strict=True))

    lengths = collections.defaultdict(list)
    for row, prompt, solution in zip(rows, ids, ids[len(rows) :]):
        lengths[row["environment"], row["difficulty"]].append((len(prompt), len(solution)))
    if args.markdown:
        for name, limit in limits.items():
            cells = []
            for level in range(limit + 1):
                solution = [b for _, b in lengths[name, level]]
                cells.append(f"{quantile(solution, 0.5)} ({quantile(solution, 0.95)})")
            print(f"| {name} | " + ", ".join(cells) + " |")
    else:
        for (name, level), pairs in lengths.items():
            prompt, solution = zip(*pairs)
            print(
                f"{name:16} {level}  prompt {quantile(prompt, 0.5):3}  solution {quantile(solution, 0.5):3} "
                f"p95 {quantile(solution, 0.95):3} max {max(solution):3}"
            )
    everything = [a + b for pairs in lengths.values() for a, b in pairs]
    print(
        f"{len(everything)} problems: median {quantile(everything, 0.5)}, p95 {quantile(everything, 0.95)}, max {max(everything)} "
        f"tokens with the prompt; {len(texts)} texts, {differing} with other ids than Hugging Face's"
    )
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
