#!/usr/bin/env python3
"""Checks that source files stay short: a warning above 400 lines, a failure above 800."""

import argparse
import sys
from pathlib import Path

WARN, FAIL = 400, 800
TOPS = ("src", "include", "tools", "examples", "cmake")
SUFFIXES = {".cc", ".h", ".inc", ".py", ".sh", ".cmake", ".js", ".css"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    root = parser.parse_args().root
    failed = 0
    for top in TOPS:
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in SUFFIXES or not path.is_file():
                continue
            with path.open("rb") as file:
                lines = sum(1 for _ in file)
            if lines <= WARN:
                continue
            kind = "too long" if lines > FAIL else "warning: long"
            failed += lines > FAIL
            print(f"{path.relative_to(root)}: {kind}, {lines} lines (aim for {WARN}, never above {FAIL})")
    print(f"file lengths: {failed} too long" if failed else "file lengths: fine")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
