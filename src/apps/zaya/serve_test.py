#!/usr/bin/env python3
"""zaya serve as a process: configuration, streaming over a socket, signals, and requests that mean harm.

    serve_test.py ZAYA SOURCE_DIRECTORY [unittest arguments]
"""

import http.client
import json
import os
import socket
import sys
import tempfile
import threading
import unittest
import urllib.error
import urllib.request

ZAYA, SOURCE = sys.argv[1], sys.argv[2]
sys.path.insert(0, os.path.join(SOURCE, "tools", "clients"))
from serving import Server  # noqa: E402

os.environ["ZAYA_MODEL"] = os.path.join(SOURCE, "models", "nano")
QUESTION = {"messages": [{"role": "user", "content": "What is 47 * 86?"}], "temperature": 0}


def post(server, path, body, headers=None, raw=False):
    """(status, JSON) of a request; the body is JSON unless `raw`."""
    data = body if raw else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


class Serve(unittest.TestCase):
    def test_streams_over_a_socket_and_logs_no_prompt(self):
        with Server(ZAYA) as server:
            _, whole = post(server, "/v1/chat/completions", QUESTION)
            content = whole["choices"][0]["message"]["content"]
            self.assertIn("4042", content)
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
            connection.request("POST", "/v1/chat/completions", json.dumps({**QUESTION, "stream": True}),
                               {"X-Request-Id": "abc"})
            answer = connection.getresponse()
            self.assertEqual(answer.headers["Content-Type"], "text/event-stream")
            self.assertEqual(answer.headers["X-Request-Id"], "abc")
            events = [line[6:] for line in answer.read().decode().split("\n") if line.startswith("data: ")]
            self.assertEqual(events[-1], "[DONE]")
            deltas = [json.loads(event)["choices"][0]["delta"] for event in events[:-1]]
            self.assertEqual("".join(delta.get("content", "") for delta in deltas), content)
            # The same connection serves the next request.
            connection.request("GET", "/health")
            self.assertEqual(json.load(connection.getresponse()), {"status": "ok"})
            connection.close()
            self.assertEqual(server.settled("zaya_choices_finished_total", 2), 2)
            self.assertEqual(server.stop(), 0)
            lines = server.log()
            self.assertEqual([line["id"] for line in lines][-1], "abc")
            self.assertGreater(lines[-1]["new_tokens"], 10)
            self.assertNotIn("47", json.dumps([line.get("request") for line in lines]))

    def test_configuration_comes_from_flags_then_environment_then_file(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "serve.toml")
            with open(path, "w") as file:
                file.write('# comment\nmodel-name = "from-file"\nmax-n = 2\napi-key = ["one", "two"]\nlog-prompts = true\n')
            env = {**os.environ, "ZAYA_MAX_N": "3", "ZAYA_CONFIG": path}
            with Server(ZAYA, "--max-queue", "7", env=env) as server:
                key = {"Authorization": "Bearer two"}
                self.assertEqual(post(server, "/v1/chat/completions", QUESTION)[0], 401)
                status, answer = post(server, "/v1/chat/completions", {**QUESTION, "n": 3, "max_tokens": 2}, key)
                self.assertEqual((status, answer["model"], len(answer["choices"])), (200, "from-file", 3))
                status, answer = post(server, "/v1/chat/completions", {**QUESTION, "n": 4}, key)
                self.assertEqual((status, answer["error"]["param"]), (400, "n"))
                server.stop()
                self.assertIn("What is 47", json.dumps(server.log()))
            with open(path, "a") as file:
                file.write("no-such-thing = 1\n")
            with self.assertRaisesRegex(RuntimeError, "no-such-thing"):
                Server(ZAYA, "--config", path).__enter__()

    def test_markovian_rsa_whole_and_streaming(self):
        run = {"preset": "tiny", "N": 4, "T": 1, "seed": 5, "early_stop": False}
        body = {"messages": QUESTION["messages"], "markovian_rsa": run}
        with Server(ZAYA, "--deterministic", "--max-runs", "1") as server:
            status, whole = post(server, "/v1/chat/completions", body)
            self.assertEqual(status, 200, whole)
            rounds = whole["usage"]["markovian_rsa"]["rounds"]
            self.assertEqual([one["candidates"] for one in rounds], [4, 4])
            self.assertEqual(sum(one["completion_tokens"] for one in rounds), whole["usage"]["completion_tokens"])
            self.assertEqual(whole["markovian_rsa"]["stopped"], "complete")
            # Three of the first round's four prompts are found in the cache, but for what is computed anew of each.
            self.assertGreater(rounds[0]["cached_tokens"], 0)
            request = urllib.request.Request(server.url + "/v1/chat/completions", json.dumps(
                {**body, "stream": True, "stream_options": {"include_usage": True}}).encode())
            with urllib.request.urlopen(request, timeout=600) as answer:
                events = [line[6:] for line in answer.read().decode().split("\n") if line.startswith("data: ")]
            self.assertEqual(events[-1], "[DONE]")
            chunks = [json.loads(event) for event in events[:-1]]
            lines = [chunk["markovian_rsa"] for chunk in chunks if "markovian_rsa" in chunk]
            kinds = [line["event"] for line in lines if line["event"] != "progress"]
            self.assertEqual((kinds[0], kinds.count("start"), kinds.count("trace"), kinds.count("votes"), kinds[-1]),
                             ("run", 8, 8, 2, "result"))
            deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
            message = whole["choices"][0]["message"]
            self.assertEqual("".join(delta.get("content", "") for delta in deltas), message["content"])
            self.assertEqual("".join(delta.get("reasoning_content", "") for delta in deltas),
                             message.get("reasoning_content", ""))
            # A client that goes away ends its run; the only place is free again.
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
            connection.request("POST", "/v1/chat/completions", json.dumps(
                {**body, "stream": True, "markovian_rsa": {**run, "T": 30}}))
            answer = connection.getresponse()
            self.assertTrue(answer.readline())
            self.assertEqual(post(server, "/v1/chat/completions", body)[0], 429)
            answer.close()
            connection.close()
            status = 429
            while status == 429:
                status, _ = post(server, "/v1/chat/completions", {**body, "markovian_rsa": {**run, "max_seconds": 0}})
            self.assertEqual(status, 200)
            self.assertEqual(server.settled("zaya_choices_running", 0), 0)
            self.assertEqual(server.stop(), 0)

    def test_sigterm_lets_a_stream_end(self):
        with Server(ZAYA) as server:
            answer = urllib.request.urlopen(urllib.request.Request(
                server.url + "/v1/chat/completions", json.dumps({**QUESTION, "stream": True}).encode()), timeout=300)
            answer.readline()
            ended = threading.Thread(target=lambda: self.assertEqual(server.stop(), 0))
            ended.start()
            with answer:
                self.assertTrue(answer.read().decode().endswith("data: [DONE]\n\n"))
            ended.join()

    def test_nothing_that_is_sent_brings_it_down(self):
        deep = b'{"messages": ' + b"[" * 200_000
        numbers = [-1, 0, 1e308, -1e308, 2**63, -(2**63), 2**64, 0.1, 10**400, "1", None, True, [], {}]
        fields = ["temperature", "top_p", "top_k", "min_p", "n", "seed", "max_tokens", "max_completion_tokens", "logprobs",
                  "top_logprobs", "logit_bias", "stop", "presence_penalty", "frequency_penalty", "repetition_penalty",
                  "thinking_budget", "reasoning_effort", "tools", "tool_choice", "stream_options", "chat_template_kwargs",
                  "response_format", "messages", "markovian_rsa"]
        with Server(ZAYA, "--quiet") as server:
            for body in (b"", b"{", b"null", b"[]", b'"x"', deep, b'{"a": "\xff\xfe"}', b"\0" * 1000):
                self.assertEqual(post(server, "/v1/chat/completions", body, raw=True)[0], 400, body[:20])
            self.assertEqual(post(server, "/v1/chat/completions", b"x" * 10_000_000, raw=True)[0], 413)
            for field in fields:
                for value in numbers:
                    body = {**QUESTION, "max_tokens": 1, field: value}
                    status, answer = post(server, "/v1/chat/completions", body)
                    self.assertIn(status, (200, 400), (body, answer))
                    if status == 400:
                        where = answer["error"]["param"] or answer["error"]["message"]
                        self.assertRegex(where, f"{field}|number overflow", body)
            for junk in (b"\r\n" * 500, b"GET", b"\x16\x03\x01\x02", b"POST / HTTP/9.9\r\n\r\n", b"A" * 100_000):
                with socket.create_connection(("127.0.0.1", server.port)) as raw:
                    try:
                        raw.sendall(junk)
                        raw.shutdown(socket.SHUT_WR)
                        while raw.recv(65536):
                            pass
                    except OSError:
                        pass  # reset while we were still sending
            self.assertEqual(post(server, "/v1/chat/completions", {**QUESTION, "max_tokens": 2})[0], 200)
            self.assertEqual(server.settled("zaya_choices_running", 0), 0)
            self.assertEqual(server.settled("zaya_body_memory_bytes", 0), 0)
            self.assertEqual(server.stop(), 0)

    def test_options_that_make_no_sense(self):
        for arguments, word in ((["--port", "70000"], "port"), (["--host", "no.such.host"], "host"),
                                (["--api-key", ""], "key"), (["--api-key-file", "/nonexistent"], "nonexistent")):
            with self.assertRaisesRegex(RuntimeError, word):
                Server(ZAYA, *arguments).__enter__()


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
