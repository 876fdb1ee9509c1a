#!/usr/bin/env python3
"""Writes the journal of a made-up run of Markovian RSA, to try the board with: `sample_run.py > run.jsonl`.

The problem and the traces are invented; what is real is the shape: N candidates a round, C parents each, tails, votes.
"""

import json
import random
import sys
import time

QUESTION = ("How many positive integers $n \\le 1000$ have the property that $n^2 + 1$ is divisible by $5$ but $n^2 + 4$ is not "
            "divisible by $25$?")
STEPS = [
    "We need $n^2 \\equiv -1 \\pmod 5$, that is $n \\equiv 2$ or $3 \\pmod 5$.",
    "Modulo $25$, the squares of $n = 5k \\pm 2$ are $25k^2 \\pm 20k + 4$.",
    "So $n^2 + 4 \\equiv 8 \\pm 20k \\pmod{25}$, which would have to be $0$.",
    "But $8 \\pm 20k \\equiv 3 \\pmod 5$, so it is never divisible by $25$.",
    "Hence the second condition holds whenever the first does.",
    "Among the numbers up to $1000$, two of every five residues fit: $2 \\cdot 200 = 400$.",
    "Another candidate excluded some multiples; checking $n = 7$: $49 + 4 = 53$, not divisible by $25$. No exclusion.",
    "Let me recount by listing the first few: $2, 3, 7, 8, 12, 13, \\dots$, two in each block of five.",
]
ANSWERS = ["400", "360", "320", "240"]


def entries(source, n=16, c=4, t=2, beta=8192, tau=2048, preset="small", pace=0.0):
    """The journal's lines as dicts, in the order of a run; `pace` sleeps for each."""
    now = 0.0

    def tell(entry):
        if pace:
            time.sleep(pace)
        return {**entry, "time": round(now, 3)}

    yield tell({"type": "run", "problem": QUESTION, "model": "ZAYA1-8B",
                "settings": {"method": "markovian_rsa", "preset": preset, "population": n, "aggregation_size": c, "rounds": t,
                             "thinking_budget": beta, "tail_length": tau, "seed": 7}})
    total, answers = 0, []
    for number in range(t + 1):
        lengths = [int(beta * min(1.0, max(0.16, source.gauss(0.62 - 0.11 * number, 0.19)))) for _ in range(n)]
        texts = [" ".join(source.sample(STEPS, len(STEPS))) + "\n\n" + " ".join(source.sample(STEPS, 4)) for _ in range(n)]
        for index in range(n):
            now += 0.02
            parents = sorted(source.sample(range(n), c)) if number else []
            yield tell({"type": "candidate_start", "round": number, "candidate": index, "parents": parents,
                        "prompt_tokens": 96 + (c * tau + 60 if number else 0)})
        begun = now
        done = set()
        for tick in range(1, 25):
            now = begun + tick * 9.0
            for index in range(n):
                if index in done:
                    continue
                tokens = min(lengths[index], tick * beta // 24)
                if tokens < lengths[index]:
                    at, to = [len(texts[index]) * part // lengths[index] for part in (tokens - beta // 24, tokens)]
                    yield tell({"type": "tokens", "round": number, "candidate": index, "tokens": tokens, "reasoning": texts[index][max(0, at):to]})
                    continue
                done.add(index)
                weights = [[5, 4, 3, 3], [12, 3, 2, 1], [30, 2, 1, 0]][min(number, 2)]
                answer = None if lengths[index] >= beta else source.choices(ANSWERS, weights)[0]
                if number == t and answer:
                    answers.append(answer)
                total += tokens
                yield tell({"type": "candidate_done", "round": number, "candidate": index, "tokens": tokens, "reasoning": texts[index],
                            "tail": texts[index][-len(texts[index]) * tau // max(tau, tokens):], "answer": answer,
                            "content": f"The answer is $\\boxed{{{answer}}}$." if answer else "", "end": "finished" if answer else "budget"})
                if number == t:
                    yield tell({"type": "vote", "round": t, "votes": [{"answer": one, "count": answers.count(one)} for one in dict.fromkeys(answers)]})
    best = max(set(answers), key=answers.count)
    yield tell({"type": "done", "answer": best, "stopped": "complete", "new_tokens": total, "seconds": round(now, 1)})


def main():
    for entry in entries(random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 7)):
        print(json.dumps(entry))


if __name__ == "__main__":
    main()
