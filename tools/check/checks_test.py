#!/usr/bin/env python3
"""Tests of the checks beside this file: each passes on a good tree and fails on one that breaks its rule."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent


class CheckTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run_check(self, name: str) -> tuple[int, str]:
        result = subprocess.run(
            [sys.executable, str(HERE / name), "--root", str(self.root)], capture_output=True, text=True
        )
        return result.returncode, result.stdout + result.stderr


class IncludeDirections(CheckTest):
    def check(self) -> tuple[int, str]:
        return self.run_check("include_directions.py")

    def test_accepts_what_each_room_may_know(self):
        self.write("src/base/status.cc", '#include "base/status.h"\n#include <fmt/format.h>\n')
        self.write("src/engine/engine.cc", '#include "base/status.h"\n#include "model/model.h"\n')
        self.write("src/ops/cpu/linear.cc", '#include "cpu/thread_team.h"\n#include "ops/backend.h"\n')
        self.write("src/libzaya/zaya.cc", '#include <zaya/zaya.h>\n#include "engine/engine.h"\n')
        self.write("src/apps/zaya/main.cc", '#include "libzaya/loader.h"\n')
        code, output = self.check()
        self.assertEqual(code, 0, output)

    def test_rejects_each_forbidden_direction(self):
        for name, include in [
            ("src/base/file.cc", "cpu/isa.h"),
            ("src/cpu/isa.cc", "checkpoint/tensor.h"),
            ("src/text/tokenizer.cc", "checkpoint/config.h"),
            ("src/ops/reference/embed.cc", "checkpoint/tensor.h"),
            ("src/model/forward.cc", "engine/sequence.h"),
            ("src/engine/engine.cc", "apps/zaya/run.h"),
            ("src/engine/engine.cc", "zaya/zaya.h"),
        ]:
            with self.subTest(name=name, include=include):
                self.write(name, f'// first line\n#include "{include}"\n')
                code, output = self.check()
                self.assertEqual(code, 1, output)
                self.assertIn(f"{name}:2:", output)
                self.assertIn(include, output)
                (self.root / name).unlink()

    def test_the_public_header_knows_only_base(self):
        self.write("include/zaya/zaya.h", '#include "base/status.h"\n')
        self.assertEqual(self.check()[0], 0)
        self.write("include/zaya/zaya.h", '#include "engine/engine.h"\n')
        code, output = self.check()
        self.assertEqual(code, 1, output)
        self.assertIn("include/zaya/zaya.h:1:", output)

    def test_an_angled_include_of_the_public_header_counts_too(self):
        self.write("src/engine/engine.cc", "#include <zaya/zaya.h>\n")
        self.assertEqual(self.check()[0], 1)

    def test_only_tests_may_reach_further(self):
        self.write("src/engine/engine_test.cc", '#include "ops/backend.h"\n')
        self.assertEqual(self.check()[0], 0)
        self.write("src/engine/engine.cc", '#include "ops/backend.h"\n')
        self.assertEqual(self.check()[0], 1)

    def test_rejects_ways_around_the_room_in_the_path(self):
        self.write("src/base/status.h", "\n")
        self.write("src/base/top.h", "\n")
        for include in ["status.h", "../base/status.h", "base/../cpu/isa.h", "top.h"]:
            with self.subTest(include=include):
                self.write("src/base/status.cc", f'#include "{include}"\n')
                code, output = self.check()
                self.assertEqual(code, 1)
                self.assertIn("src/base/status.cc:1:", output)

    def test_other_libraries_are_no_room(self):
        self.write("src/text/json.cc", '#include "nlohmann/json.hpp"\n#include "simdjson.h"\n#include <thread>\n')
        self.assertEqual(self.check()[0], 0)

    def test_a_folder_that_is_no_room_is_named(self):
        self.write("src/helpers/misc.h", "\n")
        code, output = self.check()
        self.assertEqual(code, 1)
        self.assertIn("src/helpers/misc.h", output)


class FileLengths(CheckTest):
    def test_warns_then_fails(self):
        self.write("src/base/a.cc", "\n" * 400)
        self.assertEqual(self.run_check("file_lengths.py"), (0, "file lengths: fine\n"))
        self.write("src/base/a.cc", "\n" * 401)
        code, output = self.run_check("file_lengths.py")
        self.assertEqual(code, 0)
        self.assertIn("warning: long, 401 lines", output)
        self.write("src/base/a.cc", "\n" * 801)
        code, output = self.run_check("file_lengths.py")
        self.assertEqual(code, 1)
        self.assertIn("src/base/a.cc: too long, 801 lines", output)


class ForbiddenWords(CheckTest):
    def setUp(self):
        super().setUp()
        subprocess.run(["git", "init", "-q", str(self.root)], check=True)

    def check(self) -> tuple[int, str]:
        return self.run_check("forbidden_words.py")

    def test_accepts_a_good_tree(self):
        self.write("src/base/a.cc", "void f() { next(); }\n")
        self.write("src/apps/zaya/main.cc", "int main() { std::exit(2); }\n")
        self.write("docs/a.md", "A line break:  \nnot a problem in Markdown.\n")
        code, output = self.check()
        self.assertEqual(code, 0, output)

    def test_rejects(self):
        for name, line in [
            ("src/base/a.cc", "void f() { std::abort(); }"),
            ("src/base/a.cc", "void f() { exit(1); }"),
            ("src/base/a.cc", 'void f() { printf("x"); }'),
            ("src/base/a.cc", "void f() { std::cout << 1; }"),
            ("src/base/a.cc", "\tint tabbed;"),
            ("src/base/a.cc", "int trailing; "),
            ("src/base/a.cc", "// TO" + "DO later"),
            ("src/text/a.h", "using namespace std;"),
            ("src/text/a.cc", "int n = atoi(text);"),
            ("docs/a.md", "see /wo" + "rk/notes"),
            ("README.md", "<<<<<<< HEAD"),
        ]:
            with self.subTest(name=name, line=line):
                self.write(name, f"fine\n{line}\n")
                code, output = self.check()
                self.assertEqual(code, 1, output)
                self.assertIn(f"{name}:2:", output)
                (self.root / name).unlink()

    def test_test_data_is_exempt(self):
        self.write("src/text/testdata/strings.txt", "<<<<<<< HEAD\n")
        self.assertEqual(self.check()[0], 0)


if __name__ == "__main__":
    unittest.main()
