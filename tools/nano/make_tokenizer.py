"""Writes tokenizer.json, tokenizer_config.json and chat_template.jinja for the demo model, in the form of ZAYA1's.

    python tools/nano/make_tokenizer.py --out models/nano

ZAYA1 has Gemma-3's tokenizer, so this is a BPE with byte fallback over a text whose spaces became U+2581, one word from
end to end. Merges are learnt from the task generator's own text with the digits taken out: every digit stays one token,
which is what makes column arithmetic learnable.
"""

import argparse
import collections
import json
import pathlib
import random
import re

import tasks

SPACE = "\u2581"
SPECIALS = [
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<|im_start|>",
    "<|im_end|>",
    "<think>",
    "</think>",
    "<zyphra_tool_call>",
    "</zyphra_tool_call>",
    "<zyphra_tool_response>",
    "</zyphra_tool_response>",
]
EXTRA_CHARACTERS = "×÷−–’“”€£éüöäñ"

# Our own short template in ZAYA1's format: earlier answers lose their reasoning, the generation prompt opens the think
# block or, with enable_thinking false, holds an empty one.
CHAT_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
{%- set content = message.content if message.content is string else '' %}
{%- if message.role == 'assistant' and '</think>' in content %}
{%- set content = content.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and not enable_thinking %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- else %}
{{- '<think>\\n' }}
{%- endif %}
{%- endif %}
"""


def word_counts(seed, samples):
    """Words (with the space before them, if any) of generated conversations; no digits, no punctuation."""
    rng, counts = random.Random(seed), collections.Counter()
    for _ in range(samples):
        example = tasks.conversation(rng)
        for message in example["messages"] + [{"content": example["answer"]}, {"content": example["steps"]}]:
            counts.update(re.findall(f"{SPACE}?[A-Za-z]+", message["content"].replace(" ", SPACE)))
        counts.update(("system", "user", "assistant"))
    return counts


def learn_merges(counts, wanted):
    """Plain byte-pair merging over whole words; ties go to the pair that sorts first."""
    words = {tuple(word): count for word, count in counts.items()}
    merges = []
    while len(merges) < wanted:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        merged = {}
        for word, count in words.items():
            parts, i = [], 0
            while i < len(word):
                if word[i : i + 2] == best:
                    parts.append(word[i] + word[i + 1])
                    i += 2
                else:
                    parts.append(word[i])
                    i += 1
            merged[tuple(parts)] = count
        words = merged
    return merges


def build(size, seed, samples):
    vocab = {}
    add = lambda token: vocab.setdefault(token, len(vocab))
    for token in SPECIALS:
        add(token)
    for byte in range(256):
        add(f"<0x{byte:02X}>")
    add("\n")
    for code in range(0x21, 0x7F):
        add(chr(code))
    for character in SPACE + EXTRA_CHARACTERS:
        add(character)
    add("\n\n")
    merges = [("\n", "\n")]
    for left, right in learn_merges(word_counts(seed, samples), 10 * size):
        if len(vocab) == size:
            break
        add(left + right)
        merges.append((left, right))
    special = lambda token: {
        "id": vocab[token],
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    one = lambda token: {"SpecialToken": {"id": token, "type_id": 0}}
    text = lambda name, kind: {"Sequence": {"id": name, "type_id": kind}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [special(token) for token in SPECIALS],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [one("<bos>"), text("A", 0), one("<|im_end|>")],
            "pair": [
                one("<bos>"),
                text("A", 0),
                one("<|im_end|>"),
                {"SpecialToken": {"id": "<bos>", "type_id": 1}},
                text("B", 1),
                {"SpecialToken": {"id": "<|im_end|>", "type_id": 1}},
            ],
            "special_tokens": {
                token: {"id": token, "ids": [vocab[token]], "tokens": [token]} for token in ("<bos>", "<|im_end|>")
            },
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [list(pair) for pair in merges],
        },
    }


def write(out, size=640, seed=7, samples=20000):
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    dump = lambda name, value: (out / name).write_text(
        json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    dump("tokenizer.json", build(size, seed, samples))
    dump(
        "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<bos>",
            "eos_token": "<|im_end|>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "clean_up_tokenization_spaces": False,
            "model_max_length": 2048,
            "padding_side": "left",
        },
    )
    (out / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder to write to")
    write(parser.parse_args().out)
