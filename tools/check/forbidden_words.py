#!/usr/bin/env python3
"""Checks tracked text files for what must not be in them: see RULES."""

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Rule:
    pattern: re.Pattern
    files: re.Pattern
    reason: str


ANYTHING = r"."
CODE = r"\.(cc|h|py|cmake|sh)$|CMakeLists\.txt$"
SOURCES = r"^(src|include)/.*\.(cc|h)$"
# The rooms below the command line: a bad file or request must come back as a Status from there. The trainer is a program
# of its own.
ROOMS = r"^src/(?!apps/|train/)(?!.*_(test|fuzz)\.cc$).*\.(cc|h)$"


def rule(pattern: str, files: str, reason: str) -> Rule:
    return Rule(re.compile(pattern), re.compile(files), reason)


# Some patterns have a bracketed letter so that they do not find themselves.
RULES = [
    rule(r"^(<{7} |>{7} |={7}$)", ANYTHING, "a conflict marker"),
    rule(r"(^|[^\w.])/([w]ork|[f]arm|[h]ome|[U]sers)/", ANYTHING, "a path of somebody's machine"),
    rule(r"[ \t]+$", CODE, "a space at the end of a line"),
    rule(r"\b(TOD[O]|FIXM[E]|XX[X])\b", CODE, "unfinished work: finish it or open an issue"),
    rule(r"\t", SOURCES, "a tab"),
    rule(r"\busing namespace std\b", SOURCES, "using namespace std"),
    rule(r"\b(atoi|atol|atof|strtok|sprintf|strcpy|strcat|gets|alloca)\s*\(", SOURCES, "an unsafe C function"),
    rule(r"\bstd::(format|expected|print|println|mdspan)\b", SOURCES, "not in g++ 12's library"),
    rule(r"\b(abort|exit|_exit|quick_exit|terminate)\s*\(", ROOMS, "ends the process: return a Status"),
    rule(r"\b(std::(cout|cerr)|printf|fmt::print|puts)\b\s*(\(|<<)", ROOMS, "prints: output belongs to src/apps"),
]


def tracked_files(root: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"], check=True, capture_output=True
    )
    return [name for name in listed.stdout.decode().split("\0") if name]


def findings(root: Path, names: list[str]):
    for name in names:
        path = root / name
        # Licences and data are not ours to tidy.
        if name == "LICENSE" or "/testdata/" in name or name.startswith("models/") or not path.is_file():
            continue
        rules = [r for r in RULES if r.files.search(name)]
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for r in rules:
                if match := r.pattern.search(line):
                    yield f"{name}:{number}: {r.reason}: {match[0]!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    root = parser.parse_args().root
    found = list(findings(root, tracked_files(root)))
    for sentence in found:
        print(sentence)
    print(f"forbidden words: {len(found)}" if found else "forbidden words: none")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
