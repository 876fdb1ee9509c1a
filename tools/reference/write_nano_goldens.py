"""Writes src/engine/testdata/nano_greedy.json: transformers' greedy FP32 answers of the demo model to 200 prompts.

    python tools/reference/write_nano_goldens.py models/nano src/engine/testdata/nano_greedy.json

Every prompt is decoded alone (batch of one, no padding). Each entry: messages, enable_thinking, prompt_ids, greedy_ids
(at most 400 new ids, with the stop token), text (without special tokens) and min_gap, the smallest gap between the two
best logits on the way: where it is tiny, another correct implementation may take the other token.
"""

import argparse
import json
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "nano"))
import generate
import prompts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, tokenizer = generate.load(args.model)
    lines, steps, close = [], 0, 0
    for prompt in prompts.prompts():
        ids = generate.prompt_ids(tokenizer, prompt)
        new, gaps = generate.greedy(model, [ids])[0]
        steps += len(gaps)
        close += sum(gap < 1e-3 for gap in gaps)
        entry = dict(
            prompt,
            prompt_ids=ids,
            greedy_ids=new,
            text=tokenizer.decode(new, skip_special_tokens=True),
            min_gap=round(min(gaps), 6),
        )
        lines.append(json.dumps(entry, ensure_ascii=False, separators=(",", ":")))
    out = pathlib.Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{len(lines)} prompts, {steps} steps, {close} with a gap below 1e-3")


if __name__ == "__main__":
    main()
