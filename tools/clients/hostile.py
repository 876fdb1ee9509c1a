#!/usr/bin/env python3
"""What ill-meaning, broken and departing clients do to a running `zaya serve`, for a while; afterwards it must answer as
before, hold nothing of them, and have grown little.

    hostile.py http://127.0.0.1:8080 --seconds 600 --pid $(pidof zaya)

Malformed HTTP (mutations of valid requests), wrong UTF-8, unbounded nesting, every numeric field with absurd values, a
10 MB prompt, requests that never end (slowloris), and clients that vanish in the middle of a stream, whose place must be
free within one step of the engine: the script counts the engine's steps from the moment the client is gone. Standard
library only.
"""

import argparse
import json
import random
import re
import socket
import sys
import threading
import time
import urllib.parse

ABSURD = [-1, 0, -2**31, 2**31, 2**53, 2**63, -2**63 - 1, 10**30, 1e308, -1e308, 1e-308, 0.5, -0.0, "1", "", [], {}, [1], True, None]
FIELDS = {
    "/v1/chat/completions": ["temperature", "top_p", "top_k", "min_p", "n", "max_tokens", "max_completion_tokens", "seed",
                             "presence_penalty", "frequency_penalty", "repetition_penalty", "top_logprobs",
                             "thinking_budget", "logit_bias", "stop", "stream_options", "tools", "messages"],
    "/v1/completions": ["temperature", "top_p", "n", "best_of", "max_tokens", "logprobs", "seed", "prompt", "echo"],
    "/v1/responses": ["temperature", "top_p", "max_output_tokens", "input", "tools", "reasoning", "text"],
    "/v1/messages": ["max_tokens", "temperature", "top_p", "top_k", "thinking", "messages", "system", "tools"],
    "/tokenize": ["content"], "/detokenize": ["tokens"], "/apply-template": ["messages"],
}
RUN_FIELDS = ["N", "C", "T", "beta", "tau", "final_budget", "seed", "temperature", "max_seconds", "max_new_tokens",
              "max_rounds", "head_length", "widths", "preset"]
BASE = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "1+1?"}], "max_tokens": 2},
    "/v1/completions": {"prompt": "1+1", "max_tokens": 2}, "/v1/responses": {"input": "1+1?", "max_output_tokens": 2},
    "/v1/messages": {"messages": [{"role": "user", "content": "1+1?"}], "max_tokens": 2},
    "/tokenize": {"content": "x"}, "/detokenize": {"tokens": [7]},
    "/apply-template": {"messages": [{"role": "user", "content": "x"}]},
}


class Target:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.address = (parts.hostname, parts.port)

    def connect(self):
        return socket.create_connection(self.address, timeout=60)

    def head(self, path, length, method="POST"):
        return f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n".encode()

    def raw(self, data, half_close=True):
        """What comes back, until the server closes; b"" too when it resets."""
        answer = b""
        try:
            with self.connect() as connection:
                connection.sendall(data)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65536):
                    answer += part
        except ConnectionError:
            pass
        return answer

    def post(self, path, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.raw(self.head(path, len(data)) + data, half_close=False)
        status = re.match(rb"HTTP/1\.1 (\d+)", answer)
        return int(status[1]) if status else 0, answer.partition(b"\r\n\r\n")[2]

    def metric(self, name):
        answer = self.raw(self.head("/metrics", 0, "GET"), half_close=False).decode()
        return float(re.search(rf"^{name} (\S+)$", answer, re.M)[1])


def memory_of(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024


def numbers(target, say):
    """Every field with every absurd value: an answer or an error with a status, never silence."""
    statuses = {}
    for path, fields in FIELDS.items():
        for field in fields:
            for value in ABSURD:
                status, _ = target.post(path, json.dumps({**BASE[path], field: value}).encode())
                statuses[status] = statuses.get(status, 0) + 1
                if status not in (200, 400, 413, 429):
                    raise AssertionError(f"{path}: {field} = {value!r} brought status {status}")
    for field in RUN_FIELDS:
        for value in ABSURD:
            run = {"preset": "tiny", "N": 1, "C": 1, "T": 0, "beta": 2, "tau": 1, "final_budget": 2, field: value}
            body = {**BASE["/v1/chat/completions"], "max_tokens": 40, "markovian_rsa": run}
            status, _ = target.post("/v1/chat/completions", body)
            statuses[status] = statuses.get(status, 0) + 1
            if status not in (200, 400, 429):
                raise AssertionError(f"markovian_rsa.{field} = {value!r} brought status {status}")
    say(f"absurd values: {sum(statuses.values())} requests, statuses {statuses}")


def large_things(target, say):
    prompt = json.dumps({"messages": [{"role": "user", "content": "x" * 10_000_000}]}).encode()
    deep = b'{"messages": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    wide = json.dumps({"messages": [{"role": "user", "content": "x"}], **{f"f{i}": i for i in range(100_000)}}).encode()
    found = {
        "10 MB prompt": target.post("/v1/chat/completions", prompt)[0],
        "depth 200,000": target.post("/v1/chat/completions", deep)[0],
        "100,000 members": target.post("/v1/chat/completions", wide)[0],
        "wrong UTF-8": target.post("/v1/chat/completions", b'{"messages": "\xff\xc0\x80\xed\xa0\x80"}')[0],
        "head of 1 MB": int((target.raw(b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n") or b"HTTP/1.1 431")[9:12]),
    }
    say(f"large things: {found}")
    if set(found.values()) - {400, 413, 431}:
        raise AssertionError(f"not all of them were refused: {found}")


def vanish(target, dice, times, say):
    """Steps of the engine that a stream's place is still taken after its client is gone."""
    body = json.dumps({"messages": [{"role": "user", "content": "What is 123456 + 654321?"}], "stream": True,
                       "max_tokens": 1500, "stop": [], "logit_bias": {"5": -100}}).encode()
    late = []
    for _ in range(times):
        gone_before = target.metric("zaya_choices_cancelled_total")
        connection = target.connect()
        connection.sendall(target.head("/v1/chat/completions", len(body)) + body)
        seen = 0
        while seen < dice.randrange(1, 30):
            seen += connection.recv(4096).count(b"data: ")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, as of a crash
        connection.close()
        steps = target.metric("zaya_engine_steps_total")  # some steps after the close: the question takes time itself
        while target.metric("zaya_choices_cancelled_total") == gone_before:
            if target.metric("zaya_choices_running") == 0 and target.metric("zaya_choices_cancelled_total") == gone_before:
                break  # it had ended by itself
        late.append(target.metric("zaya_engine_steps_total") - steps)
    say(f"vanished clients: {times}, steps between a question after the close and a place that is free: at most {max(late):.0f}")
    if max(late) > 1:
        raise AssertionError(f"a place was taken for {max(late)} steps")


def malformed(target, dice, until, counts):
    """Mutations of valid requests, and floods of bytes."""
    valid = []
    for path, body in BASE.items():
        data = json.dumps(body).encode()
        valid.append(target.head(path, len(data)) + data)
        valid.append(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
                     + b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))
    tokens = [b"\r\n", b"\0", b"\xff\xfe", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n",
              b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffff\r\n", b"Expect: 100-continue\r\n", b"[" * 5000,
              b'{"a":' * 500, b"\\ud800", b"1e999", b"HTTP/9.9", b"Connection: upgrade\r\n", b"Origin: null\r\n", b": \r\n"]
    while time.monotonic() < until:
        data = bytearray(dice.choice(valid))
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(data) + 1)
            kind = dice.randrange(5)
            if kind == 0 and data:
                data[min(at, len(data) - 1)] = dice.randrange(256)
            elif kind == 1:
                data[at:at] = dice.choice(tokens)
            elif kind == 2:
                del data[at:at + dice.randrange(1, 40)]
            elif kind == 3:
                data[at:at] = dice.choice(valid)[:dice.randrange(1, 300)]
            else:
                data = data[:max(1, at)]
        answer = target.raw(bytes(data))
        status = answer[9:12].decode(errors="replace") if answer.startswith(b"HTTP/1.1 ") else "closed"
        counts[status] = counts.get(status, 0) + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pid", type=int, help="of the server, whose memory is then looked at")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    target, dice = Target(options.url), random.Random(options.seed)
    question = {"messages": [{"role": "user", "content": "What is 47 * 86?"}], "temperature": 0, "max_tokens": 60}

    def say(text):
        print(text, flush=True)

    before = json.loads(target.post("/v1/chat/completions", question)[1])["choices"]
    slow = [target.connect() for _ in range(200)]  # slowloris: heads that never end
    for connection in slow:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-")
    numbers(target, say)
    large_things(target, say)
    vanish(target, dice, 30, say)
    memory = [memory_of(options.pid)] if options.pid else []

    counts, until = {}, time.monotonic() + options.seconds
    threads = [threading.Thread(target=malformed, args=(target, random.Random(options.seed + i), until, counts))
               for i in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(1)
        if options.pid:
            memory.append(memory_of(options.pid))
    say(f"malformed requests in {options.seconds:.0f} s: {sum(counts.values())}, answers {counts}")

    closed = 0  # slow heads have been given up long since
    for connection in slow:
        try:
            connection.settimeout(30)
            while connection.recv(4096):
                pass
            closed += 1
        except ConnectionError:
            closed += 1
        except TimeoutError:
            pass
    say(f"slow heads closed by the server: {closed} of {len(slow)}")
    if memory:
        say(f"server's memory: {memory[0]:.0f} MB before, {max(memory[:len(memory) // 2 + 1]):.0f} in the first half, "
            f"{max(memory[len(memory) // 2:]):.0f} in the second")
    time.sleep(1)
    left = {name: target.metric(f"zaya_{name}") for name in ("choices_running", "choices_queued", "body_memory_bytes")}
    after = json.loads(target.post("/v1/chat/completions", question)[1])["choices"]
    if closed < len(slow) or any(left.values()) or after != before:
        sys.exit(f"not as before: {left}, closed {closed}, answer {'the same' if after == before else 'another'}")
    say("the server answers as before, and nothing is left")


if __name__ == "__main__":
    main()
