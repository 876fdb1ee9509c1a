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


def entries(source, n=16, c=4, t=2, beta=8192, tau=2048, pace=0.0, progress=True):
    """The lines as dicts, in the order of a run; `pace` sleeps for each, `progress` adds what only live runs tell."""
    now = 0.0

    def tell(entry, at=True):
        if pace:
            time.sleep(pace)
        return {"event": entry["event"], "at": round(now, 3), **entry} if at else entry

    yield tell({"event": "run", "version": 1, "id": "sample", "problem": QUESTION, "rounds": t + 1, "model": "ZAYA1-8B",
                "settings": {"method": "markovian_rsa", "N": n, "C": c, "T": t, "beta": beta, "tau": tau, "seed": 7, "widths": []}}, at=False)
    total, shown, cached = 0, 0, 0
    for number in range(t + 1):
        lengths = [int(beta * min(1.0, max(0.16, source.gauss(0.62 - 0.11 * number, 0.19)))) for _ in range(n)]
        texts = [" ".join(source.sample(STEPS, len(STEPS))) + "\n\n" + " ".join(source.sample(STEPS, 4)) for _ in range(n)]
        for index in range(n):
            now += 0.02
            yield tell({"event": "start", "round": number, "candidate": index, "parents": sorted(source.sample(range(n), c)) if number else []})
        begun, done, votes = now, set(), {}
        for tick in range(1, 25):
            now = begun + tick * 9.0
            for index in range(n):
                if index in done or lengths[index] > tick * beta // 24:
                    continue
                done.add(index)
                weights = [[5, 4, 3, 3], [12, 3, 2, 1], [30, 2, 1, 0]][min(number, 2)]
                answer = None if lengths[index] >= beta else source.choices(ANSWERS, weights)[0]
                if answer:
                    votes.setdefault(answer, []).append(index)
                total += lengths[index]
                prompt = 96 + (c * tau + 60 if number else 0)
                shown, cached = shown + prompt, cached + (prompt // 3 if number else 95)
                tail = texts[index][-(len(texts[index]) * tau // max(tau, lengths[index])):]
                yield tell({"event": "trace", "round": number, "candidate": index, "end": "stop" if answer else "length", "closed": not answer,
                            "answer": answer, "new_tokens": lengths[index], "prompt_tokens": prompt, "cached_prompt_tokens": prompt // 3 if number else 95,
                            "reasoning": {"text": texts[index], "tokens": lengths[index]}, "tail": {"text": tail},
                            "final": {"text": f"The answer is $\\boxed{{{answer}}}$." if answer else "", "tokens": 9 if answer else 0}})
            running = [{"round": number, "candidate": index, "new_tokens": tick * beta // 24} for index in range(n) if index not in done]
            if progress and running:
                yield tell({"event": "progress", "running": running})
        classes = [{"answer": answer, "votes": len(given), "finished": len(given), "candidates": given} for answer, given in votes.items()]
        yield tell({"event": "votes", "round": number, "votes": classes})
    best = max(classes, key=lambda one: one["votes"])
    yield tell({"event": "result", "answer": best["answer"], "text": f"The answer is {best['answer']}.", "round": t, "candidate": best["candidates"][0],
                "choice": "vote", "stopped": "complete", "votes": classes, "new_tokens": total, "wasted_tokens": 0,
                "prompt_tokens": shown, "cached_prompt_tokens": cached})


def main():
    for entry in entries(random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 7), progress=False):
        print(json.dumps(entry))


if __name__ == "__main__":
    main()
