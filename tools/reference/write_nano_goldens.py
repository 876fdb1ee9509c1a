"""Writes src/engine/testdata/nano_greedy.json: transformers' greedy FP32 answers of the embedded model to 200 prompts.

    python tools/reference/write_nano_goldens.py models/nano src/engine/testdata/nano_greedy.json [--zaya build/zaya]

Prompts are a few that no task looks like, then held-out problems of every environment of the gym, up to difficulty 4:
every fifth comes second in a conversation, every seventh is asked without thinking. Every prompt is decoded alone
(batch of one, no padding). Each entry: messages, enable_thinking, prompt_ids, greedy_ids (at most 240 new ids, with the
stop token), text (without special tokens) and min_gap, the smallest gap between the two best logits on the way. Where
that is tiny another correct implementation may take the other token: a problem with one below 1e-3 is passed over.
"""

import argparse
import json
import pathlib
import subprocess

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
COUNT, LIMIT, STOP, NEAR_TIE = 200, 240, (5, 1), 1e-3
LEVELS = 5  # difficulties 0 to 4
FIXED = [
    [{"role": "user", "content": "What is 47 * 86?"}],
    [{"role": "user", "content": "Hello"}],
    [{"role": "user", "content": "347+586="}],
    [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "What is 12 - 345?"}],
    [{"role": "user", "content": "Grüß Gott, 漢字 🙂!"}],
    [{"role": "user", "content": ""}],
    [
        {"role": "user", "content": "What is 12 + 30?"},
        {"role": "assistant", "content": "\\boxed{42}"},
        {"role": "user", "content": "What is 42 * 3?"},
    ],
    [{"role": "user", "content": "Evaluate 2*3+4."}, {"role": "assistant", "content": "10"}],
]


def samples(zaya, seed):
    """One problem of every environment and difficulty, as {environment: problems}."""
    command = [zaya, "gym", "sample", "all", "-d", f"0-{LEVELS - 1}", "--split", "held_out", "--seed", str(seed), "--json"]
    problems = {}
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        problem = json.loads(line)
        problems.setdefault(problem["environment"], []).append(problem)
    return problems


def conversations(zaya):
    """(messages, whether to think) without end: the fixed ones, then environments and difficulties in turn."""
    yield from ((messages, True) for messages in FIXED)
    seed, number = 1, 0
    while True:
        for level in range(LEVELS):
            earlier = samples(zaya, seed + 1)
            for name, problems in samples(zaya, seed).items():
                messages = [{"role": "user", "content": problems[level]["prompt"]}]
                if number % 5 == 0:
                    before = earlier[name][0]
                    said = f"<think>\n{before['trace']}\n</think>\n\n\\boxed{{{before['answer']}}}"
                    messages = [{"role": "user", "content": before["prompt"]}, {"role": "assistant", "content": said}, *messages]
                yield messages, number % 7 != 0
                number += 1
            seed += 2


def prompt_ids(tokenizer, messages, thinking):
    """Ids of the rendered prompt; the template writes bos itself, so the post-processor stays out."""
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=thinking)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@torch.no_grad()
def greedy(model, ids):
    """The new ids, with the stop token, and the gap between the two best logits at each."""
    out = model.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=LIMIT,
        do_sample=False,
        eos_token_id=list(STOP),
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=True,
    )
    best = torch.cat([step.float() for step in out.logits]).topk(2).values
    return out.sequences[0, len(ids):].tolist(), (best[:, 0] - best[:, 1]).tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--zaya", default=ROOT / "build/zaya", help="the program whose gym makes the problems")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    model.set_attn_implementation("eager")

    lines, steps, passed = [], 0, 0
    for messages, thinking in conversations(args.zaya):
        if len(lines) == COUNT:
            break
        ids = prompt_ids(tokenizer, messages, thinking)
        new, gaps = greedy(model, ids)
        if min(gaps) < NEAR_TIE:
            passed += 1
            continue
        steps += len(new)
        entry = {
            "messages": messages,
            "enable_thinking": thinking,
            "prompt_ids": ids,
            "greedy_ids": new,
            "text": tokenizer.decode(new, skip_special_tokens=True),
            "min_gap": round(min(gaps), 6),
        }
        lines.append(json.dumps(entry, ensure_ascii=False, separators=(",", ":")))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{len(lines)} prompts, {steps} steps; {passed} with a gap below {NEAR_TIE:g} passed over")


if __name__ == "__main__":
    main()
