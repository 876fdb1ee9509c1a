"""Trains a tokenizer for small models on the gym's text, in the file form of ZAYA1's own (Gemma 3's): BPE with byte
fallback over a text whose spaces became U+2581.

    pip install tokenizers
    zaya gym sample all -d 0-6 -n 200 --json > problems.jsonl
    python tools/gym/make_tokenizer.py problems.jsonl --out DIRECTORY [--size 896]

Every digit and every capital letter stays one token, which makes column arithmetic and work on strings learnable; so
does every bracket and line break of a trace. What is merged are the words of prompts and traces, with the space before
them, and the pieces that always stand together (" = ", "\\boxed{"). Writes tokenizer.json, tokenizer_config.json and
chat_template.jinja; the special tokens, their ids and the template are those of models/nano.
"""

import argparse
import collections
import json
import pathlib
import re

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPACE = "\u2581"
# Pieces within which merges may happen while training: a word of small letters, also with a capital in front when it is a
# word of prose, with the space before it. Everything else is one character.
PIECES = re.compile(rf"{SPACE}?[A-Z]?[a-z]{{2,}}|\\boxed\{{|{SPACE}[-+=*/]{SPACE}|[,.:]{SPACE}|\n\n", re.S)
# Whole pieces that are worth a token however rare they are in the sample.
ALWAYS = ["\n\n", "\\boxed{"]
EXTRA_CHARACTERS = "×÷−–’“”€£éüöäñ"
# Plain conversation, which the sample does not hold; the words of the aggregation prompts come from their source.
CONVERSATION = """
Hello! I am a small model that was trained on tasks. What can you do? I can add, sort, count and solve small puzzles.
The answer is. Think step by step. system user assistant
"""


def more_text():
    prompts = (ROOT / "src/reasoning/prompts.cc").read_text(encoding="utf-8")
    return CONVERSATION + " ".join(re.findall(r'R"\((.*?)\)"', prompts, re.S))


def texts(path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            problem = json.loads(line)
            yield f"{problem['prompt']}\n{problem['trace']}\n\n\\boxed{{{problem['answer']}}}"


def piece_counts(path):
    counts = collections.Counter()
    total = 0
    for text in texts(path):
        total += 1
        counts.update(PIECES.findall(text.replace(" ", SPACE)))
    for piece in PIECES.findall(more_text().replace("\n", " ").replace(" ", SPACE)):
        counts[piece] += max(total // 200, 1)
    return counts


def build(path, size):
    special = json.loads((ROOT / "models/nano/tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    specials = [token["content"] for token in sorted(special, key=lambda token: token["id"])]
    characters = ["\n"] + [chr(c) for c in range(0x21, 0x7F)] + [SPACE] + list(EXTRA_CHARACTERS)
    fixed = specials + [f"<0x{byte:02X}>" for byte in range(256)] + characters

    # The trainer learns the merges; the final vocabulary puts the fixed tokens first, so that ids do not depend on it.
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Split(Regex(r"\x00"), behavior="removed")
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(fixed) + len(characters), initial_alphabet=characters, show_progress=False, min_frequency=3
    )
    counts = piece_counts(path)
    learner.train_from_iterator((piece for piece, n in sorted(counts.items()) for _ in range(n)), trainer, length=sum(counts.values()))
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]

    vocabulary = {token: i for i, token in enumerate(fixed)}
    kept = []
    for piece in ALWAYS:  # each needs a chain of merges from its left end
        for end in range(2, len(piece) + 1):
            kept.append((piece[: end - 1], piece[end - 1]))
    kept = list(dict.fromkeys(kept))
    for pair in kept + merges:
        if len(vocabulary) == size and "".join(pair) not in vocabulary:
            break
        vocabulary.setdefault("".join(pair), len(vocabulary))
        if pair not in kept:
            kept.append(pair)
    return specials, vocabulary, kept


def assemble(specials, vocabulary, merges):
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <|im_end|>",
        pair="<bos> $A <|im_end|> <bos>:1 $B:1 <|im_end|>:1",
        special_tokens=[(token, vocabulary[token]) for token in ("<bos>", "<|im_end|>")],
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return tokenizer


def check(tokenizer, vocabulary):
    """One token per digit, per capital letter; nothing that mixes a digit with anything."""
    for token in vocabulary:
        plain = token.startswith("<") and token.endswith(">")
        if not plain and len(token) > 1 and (re.search(r"\d", token) or re.search(r"[A-Z]{2}", token)):
            raise SystemExit(f"the token {token!r} hides a digit or a letter")
    for text in ("What is 4758 + 967?", "XTAL\nDKEAA", "\u00e9 \u4e2d \U0001f600", "a  b\n\n\nc"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if tokenizer.decode(ids, skip_special_tokens=False) != text:
            raise SystemExit(f"{text!r} does not come back")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", help="JSON lines of `zaya gym sample --json`")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--size", type=int, default=896, help="tokens; at most 1024 (default: 896)")
    args = parser.parse_args()
    if not 500 <= args.size <= 1024:
        parser.error("--size is from 500 to 1024")
    specials, vocabulary, merges = build(args.problems, args.size)
    tokenizer = assemble(specials, vocabulary, merges)
    check(tokenizer, vocabulary)
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(args.out / "tokenizer.json"), pretty=True)
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        (args.out / name).write_text((ROOT / "models/nano" / name).read_text(encoding="utf-8"), encoding="utf-8")
    print(f"{len(vocabulary)} tokens, {len(merges)} merges (tokenizers {tokenizers.__version__})")


if __name__ == "__main__":
    main()
