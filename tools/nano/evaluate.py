"""Accuracy of the demo model per kind of question, greedy, on problems that training never shows.

    python tools/nano/evaluate.py models/nano            # decodes: minutes per class on one core
    python tools/nano/evaluate.py models/nano --quick    # one forward pass over the expected text: seconds per class

A question counts as right when the text after the think block equals the expected answer; "all steps right" counts those
whose whole text is as expected. The latter needs no decoding: greedy text equals a given text exactly when the likeliest
token after each of its prefixes is its next one, and one pass tells that (--quick, in FP32 up to near-ties).
"""

import argparse
import random
import time

import torch

import generate
import tasks

CLASSES = [(kind, {"kind": kind, "turns": 1, "thinking": True}) for kind in tasks.KINDS] + [
    ("two or three turns", {"turns": 3, "thinking": True}),
    ("no thinking", {"turns": 1, "thinking": False}),
]


def examples(name, options, count, seed):
    rng = random.Random(f"evaluate/{seed}/{name}")
    result = []
    for _ in range(count):
        options = dict(options)
        if name == "two or three turns":
            options["turns"] = rng.choice((2, 3))
        result.append(tasks.conversation(rng, want_held_out=True, **options))
    return result


@torch.no_grad()
def follows(model, tokenizer, batch, rows=20):
    """For each example, whether greedy decoding gives exactly the expected text."""
    encoded = []
    for i, example in enumerate(batch):
        target = tokenizer(tasks.render_target(example), add_special_tokens=False)["input_ids"]
        encoded.append((i, generate.prompt_ids(tokenizer, example), target))
    encoded.sort(key=lambda item: len(item[1]) + len(item[2]))
    result = [False] * len(batch)
    for start in range(0, len(encoded), rows):
        part = encoded[start : start + rows]
        width = max(len(p) + len(t) for _, p, t in part)
        ids = torch.tensor([p + t + [0] * (width - len(p) - len(t)) for _, p, t in part])  # causal: pads do no harm
        best = model(input_ids=ids, use_cache=False).logits.argmax(-1)
        for row, (i, p, t) in enumerate(part):
            result[i] = best[row, len(p) - 1 : len(p) + len(t) - 1].tolist() == t
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--count", type=int, default=200, help="questions per class")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--quick", action="store_true", help="only whether all steps are right, without decoding")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="print this many wrong answers per class")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, tokenizer = generate.load(args.model, getattr(torch, args.dtype))
    if args.quick:
        print("| questions | all steps right | count |\n|---|---|---|")
        for name, options in CLASSES:
            right = follows(model, tokenizer, examples(name, options, args.count, args.seed))
            print(f"| {name} | {100 * sum(right) / len(right):.1f} % | {len(right)} |", flush=True)
        return
    start, total = time.time(), 0
    print("| questions | right | all steps right | count | mean tokens |\n|---|---|---|---|---|")
    for name, options in CLASSES:
        batch = examples(name, options, args.count, args.seed)
        outputs = generate.greedy(model, [generate.prompt_ids(tokenizer, e) for e in batch])
        right = steps = tokens = shown = 0
        for example, (ids, _) in zip(batch, outputs):
            text = tokenizer.decode(ids)
            wanted = tasks.render_target(example)
            tokens += len(ids)
            good = text.split("</think>")[-1].strip() == wanted.split("</think>")[-1].strip()
            right += good
            steps += text == wanted
            if not good and shown < args.show:
                shown += 1
                print(f"--- {example['messages'][-1]['content']}\nwanted:\n{wanted}\ngot:\n{text}")
        total += tokens
        n = len(batch)
        print(f"| {name} | {100 * right / n:.1f} % | {100 * steps / n:.1f} % | {n} | {tokens / n:.0f} |", flush=True)
    print(f"\n{total} tokens in {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
