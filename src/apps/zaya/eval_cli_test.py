#!/usr/bin/env python3
"""zaya eval as people and programs use it: whole evaluations on the embedded model, small ones.

    eval_cli_test.py ZAYA SOURCE_DIRECTORY [unittest arguments]
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

from cli_test import NANO, SOURCE, ZAYA, Temporary, zaya

PROBLEMS = [("What is 12 + 7?", 19), ("What is 47 * 86?", 4042), ("What is 9 - 5?", 4), ("What is 8 * 7?", 56)]
SMALL = ("--preset", "tiny", "--answer-kind", "number", "--beta", "160", "--final-budget", "32", "--deterministic")


class Eval(Temporary):
    def setUp(self):
        super().setUp()
        self.set = self.write("sums.jsonl", "".join(
            json.dumps({"problem": question, "answer": answer, "subject": "sums"}) + "\n" for question, answer in PROBLEMS))

    def read(self, name):
        return pathlib.Path(self.path(name)).read_text()

    def evaluate(self, name, *arguments, code=0):
        result = zaya("eval", NANO, "--set", self.set, *SMALL, "--out", self.path(name), *arguments)
        self.assertEqual(result.returncode, code, result.stderr)
        return result

    def lines(self, name):
        with open(os.path.join(self.path(name), "journal.jsonl")) as file:
            return [json.loads(line) for line in file]

    def samples(self, name):
        """What does not depend on the clock."""
        kept = ("strategy", "item", "sample", "right", "answer", "new_tokens", "rounds")
        return sorted(json.dumps({key: line[key] for key in kept}) for line in self.lines(name) if line["event"] == "sample")

    def test_an_evaluation_is_a_directory_with_a_report(self):
        result = self.evaluate("one", "-k", "2", "--temperature", "0.5")
        self.assertIn("| single |", result.stdout)
        lines = self.lines("one")
        self.assertEqual(lines[0]["event"], "eval")
        self.assertEqual(len(lines), 1 + 2 * len(PROBLEMS))
        right = sum(line["right"] for line in lines[1:])
        self.assertGreaterEqual(right, 5, "the model knows these sums")
        summary = json.loads(self.read("one/summary.json"))["strategies"][0]
        self.assertAlmostEqual(summary["accuracy"]["value"], right / 8)
        self.assertEqual(summary["interval"], "bootstrap over items")
        report = self.read("one/report.md")
        self.assertIn(f"{100 * right / 8:.1f} %", report)
        self.assertIn("![accuracy.svg](accuracy.svg)", report)
        self.assertIn("<svg", self.read("one/accuracy.svg"))
        os.remove(self.path("one/report.md"))
        self.assertEqual(zaya("eval", "report", self.path("one")).returncode, 0)
        self.assertEqual(self.read("one/report.md"), report)
        self.assert_fails(zaya("eval", NANO, "--set", self.set, "--out", self.path("one")), "--resume", code=2)

    def test_kill_and_resume_gives_the_same(self):
        arguments = ("-k", "3", "--strategy", "single", "--strategy", "markovian-rsa:N=2,C=2,T=1,tau=64", "--traces")
        self.evaluate("whole", *arguments)
        process = subprocess.Popen([ZAYA, "eval", NANO, "--set", self.set, *SMALL, "--out", self.path("cut"), *arguments],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        journal = pathlib.Path(self.path("cut")) / "journal.jsonl"
        while process.poll() is None and not (journal.exists() and len(journal.read_bytes().splitlines()) > 5):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with open(journal, "ab") as file:
            file.write(b'{"event":"sample","str')  # torn
        result = zaya("eval", "--resume", self.path("cut"), "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout.splitlines()[-1])["event"], "summary")
        self.assertEqual(self.samples("cut"), self.samples("whole"))
        self.write("sums.jsonl", json.dumps({"problem": "Another?", "answer": 1}) + "\n")
        self.assert_fails(zaya("eval", "--resume", self.path("cut")), "are not those", code=2)

    def test_strategies_at_equal_tokens_are_compared(self):
        self.evaluate("four", "--equal-tokens", "-N", "2", "-C", "2", "-T", "1", "--tau", "64")
        names = [strategy["name"] for strategy in self.lines("four")[0]["strategies"]]
        self.assertEqual(names, ["single", "vote", "rsa", "markovian-rsa"])
        matched = next(line for line in self.lines("four") if line["event"] == "matched")
        self.assertEqual((matched["strategy"], matched["tokens_of"]), ("vote", "markovian-rsa"))
        self.assertIn("Against the first", self.read("four/report.md"))
        pair = zaya("eval", "compare", self.path("four"), "--a", "single", "--b", "vote", "--json")
        pair = json.loads(pair.stdout)
        self.assertEqual((pair["test"], pair["items"]), ("mcnemar", len(PROBLEMS)))
        both = zaya("eval", "compare", self.path("four"), self.path("four"))
        self.assertEqual(both.stdout.count("McNemar"), 4)
        self.assert_fails(zaya("eval", "compare", self.path("four")), "--a and --b", code=2)
        self.assert_fails(zaya("eval", "compare", self.path("four"), "--a", "nothing"), "there are single", code=2)

    def test_the_gym_is_a_set(self):
        result = zaya("eval", NANO, "--set", "gym:addition", "--difficulty", "0,1", "-n", "2", *SMALL, "--json",
                      "--out", self.path("gym"))
        self.assertEqual(result.returncode, 0, result.stderr)
        plan = json.loads(result.stdout.splitlines()[0])
        self.assertEqual((plan["items"], plan["set"]["split"]), (4, "held_out"))
        self.assertIn("addition d1", self.read("gym/report.md"))

    def test_examples_ask_what_solve_asks(self):
        """The tails and prompts of training examples are those of a run with the same seeds, to the letter."""
        common = (NANO, "--set", "gym:addition", "--split", "train", "--difficulty", "1", "-n", "2", "--preset", "tiny",
                  "--beta", "96", "--final-budget", "24", "--deterministic", "--seed", "5")
        rollouts = self.path("rollouts.jsonl")
        made = zaya("eval", *common, "-k", "4", "--rollouts", rollouts, "--json")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertEqual(json.loads(made.stdout)["rollouts"], 8)
        again = zaya("eval", *common, "-k", "4", "--rollouts", rollouts, "--json")
        self.assertEqual(json.loads(again.stdout)["skipped"], 2)
        self.assert_fails(zaya("eval", *common, "-k", "3", "--rollouts", rollouts), "other problems or settings", code=2)
        examples = self.path("examples.jsonl")
        made = zaya("eval", "make-aggregation", rollouts, examples, "-C", "2", "--tau", "24", "--per-problem", "4",
                    "--seed", "5", "--prompt-tokens", "--json")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertEqual(json.loads(made.stdout)["examples"], 8)

        solved = zaya("eval", *common, "--strategy", "rsa=markovian-rsa:N=4,C=2,T=1,tau=24", "--traces", "--out",
                      self.path("run"))
        self.assertEqual(solved.returncode, 0, solved.stderr)
        asked, lengths = {}, {}
        for file in (pathlib.Path(self.path("run")) / "runs" / "rsa").iterdir():
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            problem = lines[0]["problem"]
            for line in lines:
                if line.get("round") == 1 and line["event"] == "start":
                    asked[problem, line["candidate"]] = line["prompt"]
                if line.get("round") == 1 and line["event"] == "trace":
                    lengths[problem, line["candidate"]] = line["prompt_tokens"]
        seen = set()
        for line in self.read("examples.jsonl").splitlines():
            example = json.loads(line)
            user, assistant = example["messages"]
            self.assertEqual((user["role"], assistant["role"]), ("user", "assistant"))
            problem = next(problem for problem, _ in asked if problem in user["content"])
            candidate = int(example["id"].rsplit("/", 1)[1])
            self.assertEqual(user["content"], asked[problem, candidate])
            self.assertEqual(len(example["prompt_tokens"]), lengths[problem, candidate])
            self.assertTrue(assistant["content"].startswith("<think>\n"))
            self.assertIn("</think>\n\n\\boxed{", assistant["content"])
            seen.add((problem, candidate))
        self.assertEqual(seen, set(asked))

    def test_misuse_is_explained(self):
        self.assert_fails(zaya("eval", NANO, "--set", self.set), "--out", code=2)
        out = ("--out", self.path("no"))
        self.assert_fails(zaya("eval", NANO, "--set", self.path("none.jsonl"), *out), "none.jsonl")
        bad = self.write("bad.jsonl", "{\"text\": 1}\n")
        self.assert_fails(zaya("eval", NANO, "--set", bad, *out), "nothing in it is understood", "docs/eval.md")
        self.assert_fails(zaya("eval", "--set", self.set, "--strategy", "magic", *out), "magic", code=2)
        self.assert_fails(zaya("eval", "--set", self.set, "--strategy", "vote:M=3", *out), "no setting \"M\"", code=2)
        self.assert_fails(zaya("eval", "--set", "gym:nothing", *out), "no environment")
        self.assert_fails(zaya("eval", "--set", "gym", "--difficulty", "3-1", *out), "3-1", code=2)
        self.assert_fails(zaya("eval", "--resume", self.path("nothing")), "nothing")
        self.assertFalse(os.path.exists(self.path("no")))
        self.assertIn("Example:", zaya("eval", "--help").stdout)
        self.assertIn("Example:", zaya("eval", "make-aggregation", "--help").stdout)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
