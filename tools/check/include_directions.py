#!/usr/bin/env python3
"""Checks that rooms include only the rooms they may know.

Each folder under src/ is a room. ALLOWED is the one place where the directions are written down; docs/architecture.md
gives the reasons. A room may always include itself. Run without arguments for this repository, with --root DIR for
another tree (the self-test uses that).
"""

import argparse
import re
import sys
from pathlib import Path

# Room -> the other rooms whose headers it may include, in the order in which the rooms build on each other.
# `public` is include/zaya, the library's own header.
ALLOWED = {
    "base": set(),
    "cpu": {"base"},
    "checkpoint": {"base"},
    "text": {"base"},
    "ops": {"base", "cpu"},
    "model": {"base", "cpu", "checkpoint", "ops"},
    "engine": {"base", "cpu", "checkpoint", "text", "model"},
    "reasoning": {"base", "text", "engine"},
    "libzaya": {"public", "base", "cpu", "checkpoint", "text", "ops", "model", "engine"},
    "gym": {"base"},
    "eval": {"base", "text", "reasoning", "gym"},
    "server": {"public", "base", "text", "engine", "reasoning", "libzaya"},
    "train": {"base", "checkpoint", "text", "gym"},
    "apps": {"public", "base", "cpu", "checkpoint", "text", "ops", "model", "engine", "reasoning", "libzaya", "gym",
             "eval", "server"},
    # base/status.h is installed with the public header; nothing else is.
    "public": {"base"},
}

# Tests may also reach what they compare against: the engine's tests build models out of operations.
ALLOWED_IN_TESTS = {
    "model": {"text"},
    "engine": {"ops"},
}

QUOTED = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
ANGLED = re.compile(r"^\s*#\s*include\s*<(zaya/[^>]+)>")
SUFFIXES = {".cc", ".h", ".inc"}


def room_of(path: Path, root: Path) -> str | None:
    """The room that a source file of ours belongs to."""
    parts = path.relative_to(root).parts
    if parts[0] == "include":
        return "public"
    return parts[1] if len(parts) > 2 else None


def included_room(line: str) -> tuple[str, str] | None:
    """(room, path as written) of an include of ours; nothing for other lines and other libraries."""
    if match := ANGLED.match(line):
        return "public", match[1]
    if not (match := QUOTED.match(line)):
        return None
    written = match[1]
    first = written.split("/", 1)[0]
    return ("public" if first == "zaya" else first), written


def violations(root: Path):
    """Yields one sentence per include that goes the wrong way."""
    files = [p for top in ("src", "include") for p in sorted((root / top).rglob("*")) if p.suffix in SUFFIXES]
    for path in files:
        name = path.relative_to(root)
        room = room_of(path, root)
        if room is None or room not in ALLOWED:
            yield f"{name}: no room of the list in tools/check/include_directions.py"
            continue
        allowed = {room} | ALLOWED[room]
        if path.stem.endswith(("_test", "_fuzz", "_bench", "_test_support")) or path.stem.startswith("test_"):
            allowed |= ALLOWED_IN_TESTS.get(room, set())
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            found = included_room(line)
            if found is None:
                continue
            target, written = found
            if target not in ALLOWED or ".." in written.split("/"):
                # Another library's header is nobody's business here; one of ours must be named in full.
                if ".." in written.split("/") or (path.parent / written).exists() or (root / "src" / written).exists():
                    yield f'{name}:{number}: "{written}" must be written from src/ROOM/ on, as in "base/status.h"'
            elif target not in allowed:
                knows = ", ".join(r for r in ALLOWED if r in allowed and r != room) or "no other room"
                yield f"{name}:{number}: {room} includes {written}, but {room} may know only: {knows}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    root = parser.parse_args().root
    found = list(violations(root))
    for sentence in found:
        print(sentence)
    print(f"include directions: {len(found)} wrong" if found else "include directions: fine")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
