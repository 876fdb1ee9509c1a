#!/usr/bin/env python3
"""Writes src/text/testdata/tokenizer: a small tokenizer.json of Gemma's form, trained on text of our own, and what
Hugging Face's `tokenizers` makes of many strings with it and with variants of it.

goldens.json: {"variants": [{"name", "patch", "encode": [...], "decode": [...]}]}. `patch` is a JSON merge patch
(RFC 7396) on tokenizer.json. An encode case is [text or {"bytes": hex}, ids, ids with special tokens, ids of the text as
plain text]; a decode case is [ids, text, text without special tokens]. The program's tests replay them without Python.
"""

import copy
import json
import pathlib
import random

import check_tokenizer
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers

DIRECTORY = pathlib.Path(__file__).resolve().parents[2] / "src/text/testdata/tokenizer"

TEXT = """
A tokenizer cuts a text into pieces that a model knows. The pieces are words, parts of words, single letters, and at
the very end bytes. The longer the pieces, the fewer steps the model needs; the more pieces there are, the larger the
table that holds them. This little text has to do for a table of a few hundred pieces, so it repeats the common words of
the language: the, of, and, to, in, that, it, is, was, for, on, with, as, at, by, this, had, not, are, but, from, or,
have, an, they, which, one, were, all, there, would, their, we, him, been, has, when, who, will, more, no, if, out.
Thinking about the thing, the thinker thought through thirty-three thorough theories in the theatre.
A cat sat on a mat; the cats and the mats were flat. One hello, two hellos: hello world, hello there, other worlds.
Ein Tokenizer zerlegt einen Text in Stücke, die ein Modell kennt: Wörter, Wortteile, Buchstaben und schließlich Bytes.
Un texte est découpé en morceaux que le modèle connaît déjà, même s'il n'a pas été très bien élevé.
Ένα κείμενο κόβεται σε κομμάτια. Текст режется на части, и модель знает эти части. 文字列を部品に分ける。文を分ける。
for (int i = 0; i < n; ++i) { sum += x[i] * y[i]; } return sum;   // 1 + 2 = 3, 10 + 20 = 30, 100 + 200 = 300
def f(x): return [g(y) for y in x if y is not None]
"""

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]

PLAIN_ADDED = [
    AddedToken("\n\n", normalized=False),
    AddedToken("\n\n\n", normalized=False),
    AddedToken("\n\n\n\n", normalized=False),
    AddedToken("\u2581\u2581", normalized=False),
    AddedToken("<table>", normalized=False),
    AddedToken("<tool_call>", normalized=False),
    AddedToken("<tool_call>x", normalized=False),
    AddedToken("hello world", normalized=True),
    AddedToken("mat", normalized=False, single_word=True),
    AddedToken("[L]", normalized=False, lstrip=True),
    AddedToken("[R]", normalized=False, rstrip=True),
    AddedToken("[LR]", normalized=False, lstrip=True, rstrip=True),
    AddedToken("größe", normalized=True, single_word=True),
]

TEXTS = [
    "", " ", "  ", "   ", "a", " a", "a ", "The cat sat on the mat.", "the thinking thinker  thinks", "hello world",
    "hello  world", "say hello world!", "Hello world", "\n", "\n\n", "\n\n\n", "\n" * 5, "\n" * 9, "a\n\nb\n\n\nc", "\t\t x",
    "mat", "mats", "a mat.", "mat mat", "_mat", "матmat", "é mat é", "mat\u0301", "\u200dmat", "5mat", "-mat-",
    "a [L] b", "a   [L]   b", "[L]", " [L]", "a\n\u3000[L]b", "a [R] b", "a[R]   b", "[R]\n\n\n x", "[R]  [L]", "[R] \u2581\u2581 x",
    "a  [LR]  [LR]  b", "[R]\u2581\u2581", "x[LR]\n\ny", "größe", "die größe", "größen", "größe größe",
    "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n<think>\nno</think>\n\nyes<|im_end|>", "<bos>", "<bos><bos>",
    "a<eos>b", "<unk>", "<think", "<think>", "</think>>", "<<think>>", "<table><tool_call><tool_call>x<tool_call>y",
    "\u2581", "\u2581\u2581\u2581", "\u2581the", "a\u2581b c", "<0x41>", "<0x41", "\0", "a\0b", "\x01\x02\x7f\x80\x9f",
    "日本語を分ける", "文字列", "Ελλάδα κείμενο", "Привет, модель", "שלום", "مرحبا", "नमस्ते", "ไทย", "한국어", "𝒳𝓎", "\U0010ffff",
    "e\u0301\u0302\u0303", "\u200b\u200c\u200d\ufeff", "ﬁﬂ", "ｆｕｌｌ", "\r\n\r\n", "\u2028\u2029\u0085\u00a0",
    "\ufffd", "\ufffd\ufffd", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "thethethethethethethe" * 3, "x" * 100, "=" * 70,
    *check_tokenizer.SENTENCES, *check_tokenizer.EMOJI, "a".join(check_tokenizer.EMOJI),
]  # fmt: skip

BYTE_TEXTS = [
    b"\xff", b"\xc0\x80", b"\xe2\x82", b"\xe2\x82a", b"\xf0\x9f\x98", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\x80\x80", b"a\xe2\x82\xac\xe2", b"\xc3\xc3\xa9", b"<bos>\xff<eos>", b"\xf8\x88\x80\x80\x80",
    b"\xe1\x80\xe1\x80\x80\xf1\x80\x80", b"\xf0\x9f\xf0\x9f\x98\x80", b" \xc2 \xa0",
]  # fmt: skip

METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
REPLACE_BACK = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
LLAMA_DECODER = {
    "type": "Sequence",
    "decoders": [REPLACE_BACK, {"type": "ByteFallback"}, {"type": "Fuse"},
                 {"type": "Strip", "content": " ", "start": 1, "stop": 0}],
}  # fmt: skip


def split(pattern, behavior, invert=False):
    return {"pre_tokenizer": {"type": "Split", "pattern": {"String": pattern}, "behavior": behavior, "invert": invert}}


def variants(base):
    """Name → merge patch. Every component the program reads, in every mode."""
    vocab = base["model"]["vocab"]
    yield "gemma", {}
    yield "no normalizer", {"normalizer": None}
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        yield f"split {behavior}", split("\u2581", behavior)
        yield f"split {behavior} inverted", split("\u2581", behavior, True)
    yield "split of two characters", split("th", "MergedWithNext")
    yield "split sequence", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        split("\u2581", "MergedWithNext")["pre_tokenizer"], split("t", "Isolated")["pre_tokenizer"]]}}
    for scheme in ["always", "first", "never"]:
        space = {**METASPACE, "prepend_scheme": scheme}
        yield f"metaspace {scheme}", {"normalizer": None, "pre_tokenizer": space, "decoder": space}
        yield f"metaspace {scheme} unsplit", {
            "normalizer": None, "pre_tokenizer": {**space, "split": False},
            "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, space]}}  # fmt: skip
    yield "llama", {"decoder": LLAMA_DECODER, "pre_tokenizer": None, "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}}
    yield "replace of several", {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"String": "th"}, "content": "d"},
        {"type": "Replace", "pattern": {"String": "  "}, "content": " "},
        {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}]}}
    yield "unknown fused", {"model": {"byte_fallback": False, "fuse_unk": True}}
    yield "unknown apart", {"model": {"byte_fallback": False, "fuse_unk": False}}
    yield "unknown dropped", {"model": {"byte_fallback": False, "unk_token": None}}
    yield "bytes without unknown", {"model": {"unk_token": None}}
    # Without a token for 0xE6 some characters fall back to bytes and others to <unk>.
    yield "byte missing", {"model": {"vocab": {"<0xE6>": None, "byte E6": vocab["<0xE6>"]}, "fuse_unk": True}}
    yield "byte missing, unknown apart", {
        "model": {"vocab": {"<0xE6>": None, "byte E6": vocab["<0xE6>"]}, "fuse_unk": False}}  # fmt: skip
    yield "ignore merges", {**split("\u2581", "MergedWithNext"), "model": {"ignore_merges": True}}
    yield "ignore merges, whole texts", {"model": {"ignore_merges": True, "merges": base["model"]["merges"][::2]}}
    yield "merges reversed", {"model": {"merges": base["model"]["merges"][::-1]}}
    yield "merges as strings", {"model": {"merges": [f"{a} {b}" for a, b in base["model"]["merges"]]}}
    yield "merges listed twice", {"model": {"merges": base["model"]["merges"] + base["model"]["merges"][:40:2]}}
    yield "few merges", {"model": {"merges": base["model"]["merges"][::3][:40]}, "added_tokens": None}
    # In place of <0xFF>, which no text needs: with another entry, `tokenizers` would count the added tokens on from there.
    yield "byte tokens that merge", {"model": {
        "vocab": {"<0xFF>": None, "<0xF0><0x9F>": vocab["<0xFF>"]},
        "merges": base["model"]["merges"] + [["<0xF0>", "<0x9F>"]]}}  # fmt: skip
    yield "no decoder", {"decoder": None}
    yield "decoder replace", {"decoder": REPLACE_BACK}
    yield "decoder strips tokens", {"decoder": {"type": "Sequence", "decoders": [
        {"type": "Strip", "content": "\u2581", "start": 1, "stop": 0}, {"type": "ByteFallback"}]}}
    yield "decoder replaces across tokens", {"decoder": {"type": "Sequence", "decoders": [
        {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Replace", "pattern": {"String": "\u2581th"}, "content": "[TH]"},
        REPLACE_BACK]}}
    yield "decoder metaspace after fuse", {"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, METASPACE]}}
    yield "no post-processor", {"post_processor": None}
    template = base["post_processor"]
    yield "post-processor sequence", {"post_processor": {"type": "Sequence", "processors": [template]}}


def merge_patch(target, patch):
    """RFC 7396: members that are null go."""
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            merge_patch(target[key], value)
        elif value is None:
            target.pop(key, None)
        else:
            target[key] = value
    return target


def load(document):
    return tokenizers.Tokenizer.from_str(json.dumps(document))


def make_tokenizer():
    tokenizer = tokenizers.Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")  # for training only: no merges across words
    trainer = trainers.BpeTrainer(vocab_size=760, special_tokens=SPECIAL + BYTES, show_progress=False)
    lines = [line for line in TEXT.splitlines() if line]
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    end = tokenizer.token_to_id("<|im_end|>")
    bos = tokenizer.token_to_id("<bos>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <|im_end|>", pair="<bos> $A $B", special_tokens=[("<bos>", bos), ("<|im_end|>", end)])  # fmt: skip
    document = json.loads(tokenizer.to_str())
    # Byte tokens belong to the model alone, as in Gemma's file.
    document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] not in BYTES]
    tokenizer = load(document)
    tokenizer.add_tokens(PLAIN_ADDED)
    return json.loads(tokenizer.to_str())


def encode_cases(document, inputs):
    tokenizer = load(document)
    plain = copy.deepcopy(document)
    plain["added_tokens"] = []
    plain = load(plain)
    for value in inputs:
        text = check_tokenizer.to_text(value)
        yield [
            {"bytes": value.hex()} if isinstance(value, bytes) else value,
            tokenizer.encode(text, add_special_tokens=False).ids,
            tokenizer.encode(text).ids,
            plain.encode(text, add_special_tokens=False).ids,
        ]


def decode_cases(document, id_lists):
    tokenizer = load(document)
    for ids in id_lists:
        yield [ids, tokenizer.decode(ids, skip_special_tokens=False), tokenizer.decode(ids, skip_special_tokens=True)]


def dump(value):
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def main():
    rng = random.Random(7)
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    base = make_tokenizer()
    (DIRECTORY / "tokenizer.json").write_text(json.dumps(base, ensure_ascii=True, separators=(",", ":")) + "\n")
    tokenizer = load(base)
    added = [token["content"] for token in base["added_tokens"]]
    makers = [check_tokenizer.with_added_tokens(added), check_tokenizer.with_vocabulary(sorted(base["model"]["vocab"]))]
    made = [rng.choice(makers)(rng, rng.randint(1, 60)) for _ in range(60)]
    id_lists = check_tokenizer.make_id_lists(rng, tokenizer, 80)

    blocks = []
    for name, patch in variants(base):
        document = merge_patch(copy.deepcopy(base), copy.deepcopy(patch))
        some = name != "gemma"  # all of it for the main form, a sample for the others
        inputs = (TEXTS + BYTE_TEXTS)[some * 3::9 if some else 1] + made[:6 if some else 40]
        lists = id_lists[:10 if some else 60]
        encoded = list(encode_cases(document, inputs))
        lists = lists + [case[1] for case in encoded[::5]]
        cases = ",\n".join(dump(case) for case in encoded)
        texts = ",\n".join(dump(case) for case in decode_cases(document, lists))
        blocks.append(f'{{"name":{dump(name)},"patch":{dump(patch)},\n"encode":[\n{cases}],\n"decode":[\n{texts}]}}')
    (DIRECTORY / "goldens.json").write_text('{"variants":[\n' + ",\n".join(blocks) + "\n]}\n")
    print(f"{len(blocks)} variants; tokenizers {tokenizers.__version__}")


if __name__ == "__main__":
    main()
