#!/usr/bin/env python3
"""Writes src/text/utf8_word_ranges.h: the characters that `tokenizers` takes for parts of a word.

An added token with `single_word` matches only where its neighbours are no word characters, so asking the library
about each character in turn gives the class by the Unicode version that it really uses.
"""

import pathlib

import tokenizers

TOKEN = "@@"


def word_characters():
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={}, merges=[]))
    tokenizer.add_tokens([tokenizers.AddedToken(TOKEN, single_word=True, normalized=False)])
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:  # surrogates are no characters
            continue
        text = chr(code) + TOKEN
        if chr(code) == TOKEN[0]:  # would match one character earlier; "@" is punctuation
            continue
        if not tokenizer.encode(text, add_special_tokens=False).ids:
            yield code


def ranges(codes):
    first = last = None
    for code in codes:
        if first is None:
            first = last = code
        elif code == last + 1:
            last = code
        else:
            yield first, last
            first = last = code
    if first is not None:
        yield first, last


def main():
    found = list(ranges(word_characters()))
    cells = [f"{{0x{first:X}, 0x{last:X}}}," for first, last in found]
    lines, line = [], ""
    for cell in cells:
        if len(line) + len(cell) + 1 > 118:
            lines.append(line)
            line = ""
        line += (" " if line else "    ") + cell
    lines.append(line)
    path = pathlib.Path(__file__).resolve().parents[2] / "src/text/utf8_word_ranges.h"
    path.write_text(
        "// Made by tools/reference/make_word_ranges.py: Unicode's word characters (UTS 18, \\w) in order,\n"
        f"// as tokenizers {tokenizers.__version__} knows them. Ends are included.\n"
        "#pragma once\n\n"
        "namespace zaya::text {\n\n"
        "struct WordRange {\n  char32_t first;\n  char32_t last;\n};\n\n"
        "// clang-format off\n"
        f"inline constexpr WordRange kWordRanges[{len(found)}] = {{\n" + "\n".join(lines) + "\n};\n"
        "// clang-format on\n\n"
        "}  // namespace zaya::text\n"
    )


if __name__ == "__main__":
    main()
