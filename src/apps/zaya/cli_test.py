#!/usr/bin/env python3
"""The program as people and programs use it: exit codes, errors, JSON, and a conversation in a real terminal.

    cli_test.py ZAYA SOURCE_DIRECTORY [unittest arguments]
"""

import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

ZAYA, SOURCE = sys.argv[1], sys.argv[2]
NANO = os.path.join(SOURCE, "models", "nano")
CASE = os.path.join(SOURCE, "src", "model", "testdata", "one_layer")
QUESTION = "What is 47 * 86?"
EASY, EASY_ANSWER = "What is 12 + 7?", "19"
os.environ["ZAYA_MODEL"] = NANO  # a build tree may lie anywhere


def zaya(*arguments, stdin=""):
    return subprocess.run([ZAYA, *arguments], input=stdin, capture_output=True, text=True, timeout=300)


class Temporary(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="zaya-cli-")
        self.addCleanup(shutil.rmtree, self.directory)

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, content):
        with open(self.path(name), "w") as file:
            file.write(content)
        return self.path(name)

    def copy_of(self, model):
        shutil.copytree(model, self.path("model"))
        return self.path("model")

    def assert_fails(self, result, *words, code=1):
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("zaya: "), result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)


class Run(Temporary):
    def test_answers_the_first_question_of_the_readme(self):
        result = zaya("run", "-p", QUESTION)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("4042", result.stdout)
        self.assertEqual(len(result.stdout.strip().splitlines()), 1, "a pipe gets the answer alone")

    def test_shows_its_reasoning_when_asked(self):
        self.assertGreater(len(zaya("run", "-p", QUESTION, "--show-thinking").stdout.splitlines()), 3)

    def test_json_tells_everything(self):
        result = json.loads(zaya("run", "-p", QUESTION, "--json", "--logprobs", "2").stdout)
        self.assertIn("4042", result["answer"])
        self.assertEqual(result["finish"], "stop")
        self.assertEqual(len(result["tokens"]), len(result["logprobs"]))
        for record in result["logprobs"]:
            self.assertLessEqual(record["logprob"], 0)
            self.assertEqual(len(record["top"]), 2)

    def test_a_seed_repeats_and_a_prompt_may_come_from_a_pipe(self):
        sampled = [json.loads(zaya("run", "-p", "-", "--json", "--temperature", "1.5", "--seed", "3", "-n", "30",
                                   stdin=QUESTION).stdout)["tokens"] for _ in range(2)]
        self.assertEqual(sampled[0], sampled[1])

    def test_backends_agree(self):
        answers = {zaya("run", "-p", EASY, "--backend", backend).stdout for backend in ("cpu", "reference")}
        self.assertEqual(len(answers), 1)

    def test_isa_cap_is_honoured(self):
        for isa in ("generic", "avx2", "avxvnni"):
            result = subprocess.run([ZAYA, "run", "-p", EASY], capture_output=True, text=True,
                                    env={**os.environ, "ZAYA_ISA": isa})
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(EASY_ANSWER, result.stdout)

    def test_budget_and_no_think(self):
        hurried = json.loads(zaya("run", "-p", QUESTION, "--think-budget", "2", "-n", "60", "--json").stdout)
        self.assertTrue(hurried["budget_spent"])
        direct = json.loads(zaya("run", "-p", EASY, "--no-think", "-n", "60", "--json").stdout)
        self.assertEqual(direct["reasoning"], "")

    def test_misuse_is_2_and_failure_is_1(self):
        self.assert_fails(zaya("run"), "prompt", code=2)
        self.assert_fails(zaya("run", "-p", "x", "--no-such-option"), code=2)
        self.assert_fails(zaya("frobnicate"), code=2)
        self.assert_fails(zaya("run", "-p", "x", "--top-p", "7"), "top_p", code=2)
        self.assert_fails(zaya("run", "/nowhere", "-p", "x"), "/nowhere")
        self.assertEqual(zaya("--help").returncode, 0)
        self.assertIn("Example:", zaya("run", "--help").stdout)

    def test_a_prompt_beyond_the_context_is_refused(self):
        self.assert_fails(zaya("run", "-p", "-", stdin="1 " * 50000), "context")


class BadFiles(Temporary):
    def test_truncated_weights(self):
        model = self.copy_of(NANO)
        weights = os.path.join(model, "model.safetensors")
        os.truncate(weights, os.path.getsize(weights) - 1000)
        self.assert_fails(zaya("run", model, "-p", "x"), "model.safetensors")
        self.assertEqual(zaya("inspect", model).returncode, 1)

    def test_nan_weights_are_reported(self):
        model = self.copy_of(CASE)
        weights = os.path.join(model, "model.safetensors")
        with open(weights, "r+b") as file:
            (header,) = struct.unpack("<Q", file.read(8))
            tensors = json.loads(file.read(header))
            offset = tensors["model.norm.weight"]["data_offsets"][0]
            file.seek(8 + header + offset)
            file.write(struct.pack("<f", float("nan")))
        report = json.loads(zaya("inspect", model, "--json").stdout)
        self.assertTrue(any("NaN" in warning and "model.norm.weight" in warning for warning in report["warnings"]), report["warnings"])

    def test_template_that_never_ends(self):
        loop = self.write("loop.jinja", "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}")
        self.assert_fails(zaya("template", loop, "--messages", self.write("m.json", "[]")))

    def test_tokenizer_that_is_none(self):
        model = self.copy_of(NANO)
        with open(os.path.join(model, "tokenizer.json"), "w") as file:
            file.write('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}')
        self.assert_fails(zaya("run", model, "-p", "x"), "tokenizer.json")


class Plumbing(Temporary):
    def test_logits(self):
        out = [self.path(f"{i}.safetensors") for i in range(3)]
        for file, extra in zip(out, (["--backend", "reference"], [], ["--chunk", "2"])):
            result = zaya("logits", CASE, "--tokens", "2,5, 9 1", "--out", file, *extra)
            self.assertEqual(result.returncode, 0, result.stderr)
        reference, whole, chunked = (pathlib.Path(file).read_bytes() for file in out)
        self.assertEqual(whole, chunked)
        self.assertEqual(len(reference), len(whole))
        self.assert_fails(zaya("logits", CASE, "--tokens", "1,x", "--out", out[0]), "no token id", code=2)
        self.assert_fails(zaya("logits", CASE, "--tokens", "1,99999999", "--out", out[0]), "vocabulary")
        self.assertFalse([name for name in os.listdir(self.directory) if "partial" in name], "no litter after a failure")

    def test_choices_of_experts(self):
        config = json.loads(pathlib.Path(NANO, "config.json").read_text())
        tokens, shape = range(280, 300), [20, config["num_hidden_layers"], config["num_experts_per_tok"]]
        found = []
        for number, extra in enumerate((["--backend", "reference"], [], ["--chunk", "3"])):
            file = self.path(f"{number}.safetensors")
            result = zaya("logits", NANO, "--tokens", ",".join(map(str, tokens)), "--out", file, "--choices", *extra)
            self.assertEqual(result.returncode, 0, result.stderr)
            data = pathlib.Path(file).read_bytes()
            (length,) = struct.unpack_from("<Q", data)
            header = json.loads(data[8 : 8 + length])
            self.assertEqual(list(header), ["logits", "choices"])
            self.assertEqual((header["choices"]["dtype"], header["choices"]["shape"]), ("F32", shape))
            start, end = header["choices"]["data_offsets"]
            found.append(struct.unpack(f"<{(end - start) // 4}f", data[8 + length + start : 8 + length + end]))
        self.assertEqual(found[0], found[1], "both backends choose alike")
        self.assertEqual(found[1], found[2], "whatever a step holds")
        self.assertLessEqual(set(found[0]), set(range(config["num_experts"] + 1)))
        of_tokens = [found[0][at : at + shape[1]] for at in range(0, len(found[0]), shape[1])]
        self.assertGreater(len(set(of_tokens)), 10, "tokens differ")
        self.assertTrue(all(len(set(layer)) > 1 for layer in zip(*of_tokens)), "in every layer")

    def test_tokenize_both_ways(self):
        encoded = json.loads(zaya("tokenize", "-p", "12 + 7").stdout)
        self.assertEqual(len(encoded["ids"]), len(encoded["tokens"]))
        self.assertEqual(json.loads(zaya("tokenize", "--decode", "-p", json.dumps(encoded["ids"])).stdout)["text"], "12 + 7")
        self.assertEqual(json.loads(zaya("tokenize", "--jsonl", stdin='"12 + 7"\n').stdout), encoded["ids"])
        self.assert_fails(zaya("tokenize", "--decode", "-p", "[-1]"), "token id", code=2)

    def test_template(self):
        messages = self.write("m.json", json.dumps([{"role": "user", "content": "2+2?"}]))
        thinking = json.loads(zaya("template", "--messages", messages).stdout)["text"]
        direct = json.loads(zaya("template", "--messages", messages, "--no-think").stdout)["text"]
        self.assertIn("2+2?", thinking)
        self.assertTrue(thinking.rstrip().endswith("<think>"))
        self.assertIn("</think>", direct)

    def test_synth_writes_a_model_that_runs(self):
        result = zaya("synth", self.path("tiny"), "--shape", "tiny")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(zaya("inspect", self.path("tiny")).returncode, 0)
        run = json.loads(zaya("run", self.path("tiny"), "--raw", "-p", "1", "-n", "5", "--ignore-stop", "--json").stdout)
        self.assertEqual(len(run["tokens"]), 5)
        self.assert_fails(zaya("synth", self.path("tiny"), "--shape", "tiny"), "already holds", code=2)


    def test_pack_and_run_what_was_packed(self):
        for name in ("q4", "q8", "bf16"):
            packed = self.path(name)
            report = zaya("pack", NANO, packed, "--format", name, "--json")
            self.assertEqual(report.returncode, 0, report.stderr)
            experts = next(c for c in json.loads(report.stdout)["classes"] if c["class"] == "experts")
            self.assertEqual(experts["decibels"] is None, name == "bf16")  # nano is BF16: nothing is lost
            answer = zaya("run", packed, "-p", QUESTION, "--greedy")
            self.assertIn("4042", answer.stdout, answer.stderr)
            self.assertIn(name, zaya("inspect", packed, "--summary").stdout)
        self.assert_fails(zaya("pack", NANO, packed), "already holds", code=2)
        self.assert_fails(zaya("pack", packed, self.path("again")), "packed already", code=2)
        self.assert_fails(zaya("run", packed, "-p", "1", "--format", "q4"), "is packed as bf16", code=2)
        self.assert_fails(zaya("run", "-p", "1", "--format", "q5"), "q5", code=2)

    def test_bench_prints_shares_and_json(self):
        result = zaya("bench", "--synthetic", "tiny", "--prompt", "16", "--tokens", "2", "--repeat", "1", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        self.assertGreater(report["read_bandwidth"]["lowest"], 0)
        self.assertEqual(report["machine"]["isa"], os.environ.get("ZAYA_ISA", report["machine"]["supported_isa"]))
        self.assertEqual(len(report["figures"]), 2)
        for figure in report["figures"]:
            self.assertEqual(len(figure["repeats"]), 1)
            # With one repetition the share is that of this very pair.
            repeat = figure["repeats"][0]
            share = repeat["tokens_per_second"] * figure["bytes_per_token"] / repeat["read_bandwidth"]
            self.assertAlmostEqual(figure["share_of_bandwidth"]["median"], share, delta=1e-6 * share)
            self.assertGreater(min(s["lowest"] for s in figure["share_of_peak"].values()), 0)
        prompt, decode = report["figures"]
        self.assertLess(prompt["bytes_per_token"], decode["bytes_per_token"])  # a step's tokens share the weights

    def test_pack_calibrates(self):
        lines = ['{"text": "What is 3 + 4?"}', '{"messages": [{"role": "user", "content": "Hello"}]}', "", '{"tokens": [2, 5, 9]}']
        good = self.write("good.jsonl", "\n".join(lines))
        result = zaya("pack", NANO, self.path("calibrated"), "--calibrate", good, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        plain = zaya("pack", NANO, self.path("plain"), "--json")
        # Exactness goes where the text needs it, which plain signal to noise calls a loss.
        noise = [{c["class"]: c["decibels"] for c in json.loads(r.stdout)["classes"]} for r in (result, plain)]
        self.assertLess(noise[0]["experts"], noise[1]["experts"])
        self.assertIn(EASY_ANSWER, zaya("run", self.path("calibrated"), "-p", EASY, "--greedy").stdout)
        for bad, word in ((lines[0] + "\n{}", "bad.jsonl:2"), ('{"tokens": [1, 1.5]}', "integers"),
                          ('{"tokens": [99999999]}', "99999999"), ("", "no text")):
            out = self.path("never")
            failed = zaya("pack", NANO, out, "--calibrate", self.write("bad.jsonl", bad))
            self.assertNotEqual(failed.returncode, 0)
            self.assertIn(word, failed.stderr)
            self.assertFalse(os.path.exists(out))

    def test_doctor_names_kernels_and_limits(self):
        result = zaya("doctor", "--synthetic", "tiny", "--prompt", "32", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        self.assertGreaterEqual(report["machine"]["processors"], report["machine"]["cores"])
        kernels = {k["class"]: k for k in report["kernels"]}
        self.assertEqual((kernels["experts"]["format"], kernels["router"]["format"]), ("q4", "b16"))
        self.assertTrue(all(kernels["head"]["kernel"].values()))
        self.assertEqual(len(report["verdicts"]), 2)
        self.assertGreater(report["verdicts"][0]["expected"], 0)
        self.assertEqual(zaya("doctor", "--synthetic", "9b").returncode, 2)
        text = zaya("doctor", "--synthetic", "tiny", "--prompt", "16", "--deterministic")
        self.assertIn("tok/s", text.stdout)
        self.assertNotIn("amx bf16", text.stdout.split("kernels", 1)[1])

    def test_deterministic_is_activations_in_fp32(self):
        self.assertEqual(zaya("run", "-p", "x", "--deterministic", "--activations", "bf16").returncode, 2)

        def logits(name, *options):
            tokens = ",".join(str(2 + 7 * i) for i in range(20))
            result = zaya("logits", "--tokens", tokens, "--format", "q4", "--out", self.path(name), *options)
            self.assertEqual(result.returncode, 0, result.stderr)
            return pathlib.Path(self.path(name)).read_bytes()

        whole = logits("whole", "--deterministic")
        self.assertEqual(whole, logits("pieces", "--deterministic", "--chunk", "1", "--threads", "3"))
        self.assertEqual(whole, logits("f32", "--activations", "f32", "--chunk", "5"))


class Gym(Temporary):
    def sample(self, *arguments):
        result = zaya("gym", "sample", *arguments, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def check(self, *pairs):
        lines = "".join(json.dumps({"problem": problem, "answer": answer}) + "\n" for problem, answer in pairs)
        result = zaya("gym", "check", stdin=lines)
        self.assertEqual(result.returncode, 0, result.stderr)
        return [json.loads(line)["correct"] for line in result.stdout.splitlines()]

    def test_lists_what_sample_knows(self):
        names = [entry["name"] for entry in json.loads(zaya("gym", "list", "--json").stdout)]
        self.assertGreaterEqual(len(names), 18)
        self.assertEqual({problem["environment"] for problem in self.sample("all")}, set(names))
        for name in names:
            self.assertIn(name, zaya("gym", "list").stdout)

    def test_samples_are_what_was_asked_for_and_check_agrees(self):
        problems = self.sample("addition", "countdown", "-d", "0-2", "-n", "3", "--seed", "7", "--split", "held_out")
        self.assertEqual(len(problems), 18)
        self.assertEqual([p["difficulty"] for p in problems[:9]], [0, 0, 0, 1, 1, 1, 2, 2, 2])
        self.assertEqual({p["seed"] for p in problems}, {7, 8, 9})
        self.assertEqual({p["split"] for p in problems}, {"held_out"})
        self.assertEqual(problems, self.sample("addition", "countdown", "-d", "0-2", "-n", "3", "--seed", "7", "--split", "held_out"))
        right = [(p, "<think>\nhm\n</think>\n\n\\boxed{" + p["answer"] + "}") for p in problems]
        self.assertEqual(self.check(*right), [True] * 18)
        self.assertEqual(self.check(*[(p, "\\boxed{" + p["answer"] + "+1}") for p in problems]), [False] * 18)

    def test_chat_text_is_what_the_template_makes(self):
        problem = self.sample("sorting", "--chat")[0]
        self.assertTrue(problem["chat"].startswith("<bos><|im_start|>user\nSort "), problem["chat"])
        self.assertEqual(problem["chat"].count("<think>\n"), 1)
        self.assertTrue(problem["chat"].endswith("</think>\n\n\\boxed{" + problem["answer"] + "}<|im_end|>\n"), problem["chat"])
        self.assertIn(problem["trace"], problem["chat"])

    def test_misuse_and_bad_lines(self):
        self.assert_fails(zaya("gym"), code=2)
        self.assert_fails(zaya("gym", "sample"), "ENVIRONMENT", code=2)
        self.assert_fails(zaya("gym", "sample", "addition", "--split", "test"), code=2)
        self.assert_fails(zaya("gym", "sample", "no_such"), "no_such", "zaya gym list")
        self.assert_fails(zaya("gym", "sample", "addition", "-d", "4-2"), "4-2", code=2)
        self.assert_fails(zaya("gym", "check", stdin="{}\n"), "line 1")
        self.assert_fails(zaya("gym", "check", stdin='\n{"problem": {"prompt": "?"}, "answer": "1"}\n'), "line 2", "environment")
        for verb in ("list", "sample", "check"):
            self.assertIn("Example:", zaya("gym", verb, "--help").stdout)


class Solve(Temporary):
    SMALL = ("--preset", "tiny", "-N", "4", "-C", "2", "-T", "1", "--seed", "3", "--deterministic")

    def events(self, *arguments):
        result = zaya("solve", "-p", QUESTION, "--json", *self.SMALL, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def test_a_run_is_a_file_that_can_be_shown_and_resumed(self):
        whole = self.path("whole.jsonl")
        events = self.events("--journal", whole)
        with open(whole) as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual([e for e in events if e["event"] != "progress"], lines)
        traces = [line for line in lines if line["event"] == "trace"]
        self.assertEqual(sorted((t["round"], t["candidate"]) for t in traces), [(r, c) for r in (0, 1) for c in range(4)])
        for trace in traces:
            self.assertLessEqual(trace["reasoning"]["tokens"], 256)
            self.assertLessEqual(len(trace["tail"]["tokens"]), 128)
        result = lines[-1]
        self.assertEqual((result["event"], result["stopped"]), ("result", "complete"))
        self.assertEqual(result["new_tokens"], sum(t["new_tokens"] for t in traces))
        # One prompt for four rollouts: the others find it in the cache, but for its last tokens.
        first = [t for t in traces if t["round"] == 0]
        self.assertGreaterEqual(sum(t["cached_prompt_tokens"] for t in first), 3 * (first[0]["prompt_tokens"] - 8))

        # Torn in the middle of a trace, it comes to the same end.
        with open(whole) as file:
            content = file.read()
        torn = self.write("torn.jsonl", content[: content.index('"event":"votes"') - 300])
        resumed = zaya("solve", "--resume", torn)
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        with open(torn) as file:
            again = [json.loads(line) for line in file]
        essence = lambda lines: {(t["round"], t["candidate"]): (t["tail"], t["final"]) for t in lines if t["event"] == "trace"}
        self.assertEqual(essence(again), essence(lines))
        for key in ("answer", "votes", "new_tokens", "candidate"):
            self.assertEqual(again[-1][key], result[key])
        shown = zaya("solve", "--show", torn)
        self.assertIn("2 sessions", shown.stdout)
        self.assertIn(QUESTION, shown.stdout)
        self.assertEqual(json.loads(zaya("solve", "--show", torn, "--json").stdout)["answer"], result["answer"])

    def test_methods_share_one_accounting(self):
        for method, traces in (("single", 1), ("vote", 4), ("delethink", 8), ("pacore", 5)):
            events = self.events("--no-journal", "--method", method)
            made = [e for e in events if e["event"] == "trace"]
            carried = 8 - len(made) if method == "delethink" else 0  # finished chains are handed on
            self.assertEqual(len(made) + carried, traces, method)
            self.assertEqual(events[-1]["new_tokens"], sum(t["new_tokens"] for t in made), method)

    def test_limits_end_with_an_answer(self):
        events = self.events("--no-journal", "--max-new-tokens", "600")
        self.assertLessEqual(events[-1]["new_tokens"], 600)
        self.assertTrue(events[-1]["answer"])
        self.assertEqual(self.events("--no-journal", "--max-rounds", "0")[-1]["round"], 0)

    def test_estimate_and_compare(self):
        estimate = json.loads(zaya("solve", "-p", QUESTION, "--estimate", "--json", *self.SMALL).stdout)
        self.assertEqual([case["candidates"] for case in estimate["cases"]], [8, 8, 8])
        self.assertGreater(estimate["decode_tokens_per_second"], 0)
        compared = zaya("solve", "--compare-answers", stdin='{"gold": "1/2", "text": "\\\\boxed{0.5}"}\n')
        self.assertEqual(json.loads(compared.stdout), {"answer": "0.5", "same": True})

    def test_misuse(self):
        self.assert_fails(zaya("solve"), "-p", code=2)
        self.assert_fails(zaya("solve", "-p", "x", "-N", "2", "-C", "3"), "without replacement", code=2)
        self.assert_fails(zaya("solve", "-p", "x", "--method", "magic"), "markovian-rsa", code=2)
        self.assert_fails(zaya("solve", "-p", "x", "--preset", "headline", "--no-journal"), "2048")
        self.assert_fails(zaya("solve", "-p", "x", "--method", "best-of", "--no-journal"), "verifier", code=2)
        self.assert_fails(zaya("solve", "--resume", "/nowhere"), "/nowhere")
        self.assert_fails(zaya("solve", "--show", self.write("empty.jsonl", "")), "empty.jsonl")
        self.assert_fails(zaya("solve", "-p", "x", "--endpoint", "nonsense"), "http", code=2)
        self.assert_fails(zaya("solve", "-p", "x", "--journal", self.write("there.jsonl", "")), "--resume", code=2)


class Terminal:
    """zaya chat behind a pseudo-terminal."""

    def __init__(self, *arguments):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm", LC_ALL="C")
            os.execv(ZAYA, [ZAYA, "chat", *arguments])
        self.text = ""

    def expect(self, pattern, timeout=60):
        """Reads until the pattern shows up behind what was expected before; returns the text up to its end."""
        deadline = time.monotonic() + timeout
        while True:
            found = re.search(pattern, self.text)
            if found:
                before, self.text = self.text[:found.end()], self.text[found.end():]
                return before
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"no {pattern!r} in {self.text!r}")
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"ended without {pattern!r}: {self.text!r}") from None

    def send(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        """Leaves with Ctrl-D, once more each second: one sent while the line editor is away from the terminal is lost."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                self.send("\x04")
                while select.select([self.fd], [], [], 1)[0]:
                    os.read(self.fd, 65536)
            except OSError:
                return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError("Ctrl-D did not end the program")


class Chat(unittest.TestCase):
    def test_a_conversation(self):
        chat = Terminal()
        chat.expect(r"> ")
        chat.send("/help\n")
        chat.expect(r"/budget N")
        chat.send(QUESTION + "\n")
        answer = chat.expect(r"tok/s[^\n]*\]")
        self.assertIn("\x1b[2m", answer)  # reasoning is dimmed
        self.assertIn("4042", answer)
        chat.send("/think off\n")
        chat.expect("reasoning off")
        chat.send("What is \\\n")
        chat.send("5 + 6?\n")
        chat.expect(r"tok/s[^\n]*\]")
        chat.send("/reset\n")
        chat.expect("new conversation")
        chat.send("/nonsense é的😀\n")
        chat.expect("no such command: /nonsense é的😀")
        self.assertEqual(chat.close(), 0)

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        # At this temperature the small model babbles, so that there is something to stop.
        chat = Terminal("--temperature", "50", "--top-p", "1")
        chat.expect(r"> ")
        chat.send("Hello\n")
        time.sleep(0.3)
        os.kill(chat.pid, signal.SIGINT)
        chat.expect(r"stopped\]|tok/s[^\n]*\]")
        chat.expect(r"> ")
        for _ in range(5):  # at the prompt it only says how to leave, however soon it comes
            os.kill(chat.pid, signal.SIGINT)
            chat.expect("Ctrl-D leaves")
            chat.expect(r"> ")
        self.assertEqual(chat.close(), 0)

    def test_works_from_a_pipe(self):
        result = zaya("chat", "--greedy", stdin=EASY + "\n/quit\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(EASY_ANSWER, result.stdout)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
