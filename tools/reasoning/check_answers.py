#!/usr/bin/env python3
"""Compares how answers are read and compared here with math-verify, on math-verify's own test cases.

    python3 -m venv build/math-verify
    build/math-verify/bin/pip install math-verify antlr4-python3-runtime
    build/math-verify/bin/pip download --no-deps --no-binary :all: math-verify -d build/math-verify/sdist
    build/math-verify/bin/python tools/reasoning/check_answers.py --zaya build/zaya \
        --sdist build/math-verify/sdist/math_verify-*.tar.gz

The cases are (gold, prediction, expected) triples of the parametrised tests in the source distribution; they are read
there and kept nowhere. Printed are the agreement with what the cases expect, of this program and of math-verify itself
in the version that is installed, and with --show the cases in which this program differs.
"""

import argparse
import ast
import json
import subprocess
import sys
import tarfile


def cases_of(sdist):
    """(file, gold, prediction, expected) of every parametrised test with these three arguments first."""
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            if "/tests/test_" not in member.name or not member.name.endswith(".py"):
                continue
            tree = ast.parse(archive.extractfile(member).read())
            for node in ast.walk(tree):
                if not (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "parametrize"):
                    continue
                names = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
                if [n.strip() for n in names.split(",")][:2] != ["gold", "pred"]:
                    continue
                for element in node.args[1].elts:
                    try:
                        values = ast.literal_eval(element)
                    except ValueError:
                        continue
                    arguments = dict(zip([n.strip() for n in names.split(",")], values))
                    expected = arguments.get("expected", arguments.get("result"))
                    plain = set(arguments) <= {"gold", "pred", "expected", "result"}
                    if plain and isinstance(arguments["gold"], str) and isinstance(arguments["pred"], str):
                        yield member.name.rsplit("/", 1)[1], arguments["gold"], arguments["pred"], bool(expected)


def theirs(gold, prediction):
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    targets = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    return bool(verify(parse(gold, targets), parse(prediction, targets)))


def ours(zaya, cases):
    lines = "".join(json.dumps({"gold": gold, "text": text}) + "\n" for _, gold, text, _ in cases)
    result = subprocess.run([zaya, "solve", "--compare-answers"], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in result.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zaya", required=True)
    parser.add_argument("--sdist", required=True, help="source distribution of math-verify")
    parser.add_argument("--show", action="store_true", help="print the cases that differ")
    parser.add_argument("--only-ours", action="store_true", help="do not run math-verify itself")
    args = parser.parse_args()

    cases = list(cases_of(args.sdist))
    answers = ours(args.zaya, cases)
    assert len(answers) == len(cases), (len(answers), len(cases))
    table = {}
    for (name, gold, prediction, expected), answer in zip(cases, answers):
        row = table.setdefault(name, [0, 0, 0, 0, 0])
        row[0] += 1
        row[1] += answer["same"] == expected
        row[2] += answer["same"] and not expected
        row[3] += not answer["same"] and expected
        if not args.only_ours:
            try:
                row[4] += theirs(gold, prediction) == expected
            except Exception:  # a crash of theirs is no agreement
                pass
        if args.show and answer["same"] != expected:
            print(f"{name}: expected {expected}\n  gold {gold!r}\n  text {prediction!r}\n  read {answer['answer']!r}")
    print("| cases | count | agree | wrongly the same | wrongly different | math-verify itself |\n|---|---|---|---|---|---|")
    total = [sum(row[i] for row in table.values()) for i in range(5)]
    for name, row in [*sorted(table.items()), ("all", total)]:
        itself = "" if args.only_ours else f"{100 * row[4] / row[0]:.1f} %"
        print(f"| {name} | {row[0]} | {100 * row[1] / row[0]:.1f} % | {row[2]} | {row[3]} | {itself} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
