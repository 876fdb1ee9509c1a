"""200 chat prompts of all kinds, thinking on and off, one to three turns, on which greedy texts are compared."""

import random

import tasks

FIXED = [
    [{"role": "user", "content": "What is 47 * 86?"}],
    [{"role": "user", "content": "Hello"}],
    [{"role": "user", "content": "Who are you?"}],
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "user", "content": "347+586="}],
    [{"role": "user", "content": "1000000 - 999999"}],
    [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "What is 12 - 345?"}],
    [{"role": "user", "content": "Grüß Gott, 漢字 🙂!"}],
    [{"role": "user", "content": ""}],
    [
        {"role": "user", "content": "What is 12 + 30?"},
        {"role": "assistant", "content": "The answer is 42."},
        {"role": "user", "content": "Multiply that by 3."},
    ],
]


def prompts(count=200, seed=3):
    """Dicts with messages and enable_thinking; problems are held out from training where a problem can be."""
    rng = random.Random(f"prompts/{seed}")
    result = [{"messages": messages, "enable_thinking": True} for messages in FIXED]
    kinds = list(tasks.KINDS)
    while len(result) < count:
        i = len(result)
        example = tasks.conversation(
            rng,
            kind=kinds[i % len(kinds)],
            turns=1 if i % 5 else rng.choice((2, 3)),
            thinking=i % 7 != 0,
            want_held_out=True,
        )
        result.append({"messages": example["messages"], "enable_thinking": example["enable_thinking"]})
    return result
