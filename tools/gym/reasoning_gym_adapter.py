"""Tasks of the reasoning-gym library as JSON lines in the form of `zaya gym`, and its verdicts on answers.

    pip install reasoning-gym==0.1.25
    python tools/gym/reasoning_gym_adapter.py list
    python tools/gym/reasoning_gym_adapter.py sample chain_sum leg_counting --n 100 --split train > tasks.jsonl
    python tools/gym/reasoning_gym_adapter.py judge < answers.jsonl

A task is {"environment": "reasoning_gym/NAME", "seed", "difficulty": 0, "split", "prompt", "answer", "trace": "",
"reasoning_gym": {"name", "seed", "index", "config"}}; the last says how to make it again, which is how `judge` does.
The split is decided by a hash of the prompt, as for our own problems (src/gym/gym.h), so here too no task is in both.
`judge` reads {"problem": TASK, "answer": TEXT} per line and writes {"correct", "score", "final_answer"}; an answer is
correct when reasoning-gym gives it the full score. `zaya gym check` can judge these tasks too, but only by comparing
texts.
"""

import argparse
import functools
import json
import sys

MASK = (1 << 64) - 1
BOX = "\\boxed{"


def hash64(text):
    """src/gym/rng.h: FNV-1a, then the finalizer of SplitMix64."""
    value = 0xCBF29CE484222325
    for byte in text.encode("utf-8"):
        value = (value ^ byte) * 0x100000001B3 & MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


def split_of(prompt):
    return "held_out" if hash64(prompt) % 8 == 0 else "train"


def final_answer(text):
    """What counts of an answer: behind the think block, the last closed box, else the last line that is not empty."""
    text = text.rsplit("</think>", 1)[-1]
    start = text.rfind(BOX)
    if start >= 0:
        depth = 1
        for i in range(start + len(BOX), len(text)):
            depth += {"{": 1, "}": -1}.get(text[i], 0)
            if depth == 0:
                return text[start + len(BOX) : i].strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    for mark in ("answer:", "answer is"):
        at = last.lower().rfind(mark)
        if at >= 0:
            return last[at + len(mark) :].strip().rstrip(".")
    return last


@functools.lru_cache(maxsize=64)
def dataset(name, seed, size, config):
    import reasoning_gym

    return reasoning_gym.create_dataset(name, seed=seed, size=size, **json.loads(config))


def tasks(name, seed, count, split, config):
    """`count` tasks of a dataset that fall into the split, in the order of their index."""
    size = 40 * count + 100  # 1 in 8 is held out
    data = dataset(name, seed, size, json.dumps(config, sort_keys=True))
    found = 0
    for index in range(size):
        entry = data[index]
        if entry["answer"] is None or split_of(entry["question"]) != split:
            continue
        found += 1
        yield {
            "environment": f"reasoning_gym/{name}",
            "seed": seed,
            "difficulty": 0,
            "split": split,
            "prompt": entry["question"],
            "answer": str(entry["answer"]),
            "trace": "",
            "reasoning_gym": {"name": name, "seed": seed, "index": index, "config": config},
        }
        if found == count:
            return
    print(f"reasoning_gym/{name} has only {found} of {count} tasks in {split}", file=sys.stderr)


def judge(problem, answer):
    how = problem["reasoning_gym"]
    index = int(how["index"])
    data = dataset(how["name"], int(how["seed"]), index + 1, json.dumps(how["config"], sort_keys=True))
    entry = data[index]
    if entry["question"] != problem["prompt"]:
        raise ValueError("the task comes out differently here: is this the same version of reasoning-gym?")
    said = final_answer(answer)
    score = float(data.score_answer(said, entry))
    return {"correct": score >= 1, "score": round(score, 4), "final_answer": said}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="names of the datasets")
    sample = verbs.add_parser("sample", help="tasks as JSON lines")
    sample.add_argument("name", nargs="+")
    sample.add_argument("--n", type=int, default=10)
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--split", choices=("train", "held_out"), default="train")
    sample.add_argument("--config", type=json.loads, default={}, help="the dataset's settings as a JSON object")
    verbs.add_parser("judge", help="verdicts on JSON lines from standard input")
    args = parser.parse_args()
    if args.verb == "list":
        from reasoning_gym.factory import DATASETS

        print("\n".join(sorted(DATASETS)))
    elif args.verb == "sample":
        for name in args.name:
            for task in tasks(name, args.seed, args.n, args.split, args.config):
                print(json.dumps(task, ensure_ascii=False))
    else:
        for number, line in enumerate(sys.stdin, 1):
            try:
                given = json.loads(line)
                print(json.dumps(judge(given["problem"], given["answer"]), ensure_ascii=False), flush=True)
            except (ValueError, KeyError, TypeError) as error:
                sys.exit(f"line {number}: {error}")


if __name__ == "__main__":
    main()
