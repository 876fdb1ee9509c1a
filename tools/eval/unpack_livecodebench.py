#!/usr/bin/env python3
"""LiveCodeBench's private tests as plain JSON, so that `zaya eval` can read them.

    tools/eval/unpack_livecodebench.py test6.jsonl > test6-plain.jsonl

They circulate as base64 of zlib of a pickled text of JSON. A pickle can run code when it is read; this one may hold
nothing but texts and lists of them, and whatever else it names is refused.
"""

import argparse
import base64
import io
import json
import pickle
import sys
import zlib

LARGEST = 1 << 30


class Plain(pickle.Unpickler):
    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"the tests name {module}.{name}, which no list of tests needs")


def unpack(packed):
    try:
        return json.loads(packed)
    except json.JSONDecodeError:
        pass
    inflate = zlib.decompressobj()
    data = inflate.decompress(base64.b64decode(packed), LARGEST)
    if inflate.unconsumed_tail:
        raise ValueError(f"the tests are larger than {LARGEST} bytes")
    tests = Plain(io.BytesIO(data)).load()
    return json.loads(tests) if isinstance(tests, (str, bytes)) else tests


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    for file in parser.parse_args().files:
        with open(file, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                problem = json.loads(line)
                if isinstance(problem.get("private_test_cases"), str):
                    try:
                        problem["private_test_cases"] = unpack(problem["private_test_cases"])
                    except (ValueError, zlib.error, pickle.UnpicklingError, EOFError) as error:
                        print(f"{file}:{number}: {error}", file=sys.stderr)
                        return 1
                print(json.dumps(problem))
    return 0


if __name__ == "__main__":
    sys.exit(main())
