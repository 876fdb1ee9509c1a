#!/usr/bin/env python3
"""Load on a running `zaya serve`: many clients at mixed lengths, beside idle connections, slow readers and clients that
vanish; percentiles of what the steady ones saw.

    load.py http://127.0.0.1:8080 --clients 64 --seconds 300 --alone 30 --check --vanish 0.05 --pid $(pidof zaya)
    load.py URL --clients 1 --settle 28 --seconds 10 --idle 1000 --slow 200

Standard library only; what comes is searched, not parsed, so that the clients of one process can follow thousands of
tokens a second beside the server. With --check the requests are greedy and come from a small set, each of which is
asked alone first; start the server with --deterministic for that. It speaks to any server of OpenAI's chat API.
"""

import argparse
import json
import random
import re
import resource
import select
import socket
import statistics
import threading
import time
import urllib.parse

TEXT = re.compile(rb'"(?:reasoning_content|reasoning|content)": ?"((?:[^"\\]|\\.)+)"')
FINISH = re.compile(rb'"finish_reason": ?"')
COUNT = re.compile(rb'"(?:predicted_n|completion_tokens)": ?(\d+)')


def questions(seed, count, scale=1.0):
    """Chat requests at mixed lengths; answers end by themselves or at max_tokens."""
    dice = random.Random(seed)
    out = []
    for _ in range(count):
        turns = []
        for _ in range(dice.choice([0, 0, 0, 1, 3, 6])):
            a, b = dice.randint(10, 99), dice.randint(10, 99)
            turns += [{"role": "user", "content": f"What is {a} + {b}?"}, {"role": "assistant", "content": str(a + b)}]
        a, b = dice.randint(2, 999), dice.randint(2, 99)
        turns.append({"role": "user", "content": f"What is {a} {dice.choice('+-*')} {b}?"})
        out.append({"messages": turns, "temperature": 0, "stream": True,
                    "max_tokens": round(scale * dice.choice([16, 64, 256, 400]))})
    return out


class Stream:
    """One request on a connection of its own: (text as it was escaped, tokens, seconds to the first token, seconds in
    all) when all is well; None when its client left; raises what went wrong."""

    def __init__(self, client, body, vanish_after=None):
        self.start, self.vanish_after = time.monotonic(), vanish_after
        self.data, self.first, self.events, self.vanished = bytearray(), None, 0, False
        self.socket = client.connect()
        self.socket.sendall(client.request(body))
        self.socket.setblocking(False)

    def on_readable(self):
        """How many events came; the stream is over when its socket is closed."""
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        self.data += data
        count = data.count(b"data: {")
        self.events += count
        if self.first is None and TEXT.search(data):
            self.first = time.monotonic()
        self.vanished = self.vanish_after is not None and self.events > self.vanish_after
        if not data or self.vanished or self.data.endswith(b"\r\n0\r\n\r\n") or not self.data.startswith(b"HTTP/1.1 200"):
            self.socket.close()
        return count

    def result(self):
        if self.vanished:
            return None
        if not self.data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(self.data[:400].decode(errors="replace") or "no answer")
        if b"data: [DONE]" not in self.data[-200:] and not FINISH.search(self.data[-2000:]):  # not all say [DONE]
            raise RuntimeError("the stream broke off")
        if b'data: {"error"' in self.data:
            raise RuntimeError(self.data[-600:].decode(errors="replace"))
        counts, texts = COUNT.findall(self.data), TEXT.findall(self.data)
        return (b"".join(texts), int(counts[-1]) if counts else len(texts), self.first and self.first - self.start,
                time.monotonic() - self.start)


class Client:
    def __init__(self, url, key, model=""):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port, self.key, self.model = parts.hostname, parts.port or 80, key, model

    def connect(self):
        return socket.create_connection((self.host, self.port), timeout=60)

    def request(self, body):
        data = json.dumps({**body, "model": self.model} if self.model else body).encode()
        auth = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        return (f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{auth}"
                f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n").encode() + data

    def ask(self, body):
        stream = Stream(self, body)
        stream.socket.setblocking(True)
        while stream.socket.fileno() >= 0:
            stream.on_readable()
        return stream.result()


def percentiles(values, digits=4):
    if len(values) < 2:
        return {"n": len(values)}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"n": len(values), "min": round(min(values), digits),
            **{f"p{p}": round(cuts[p - 1], digits) for p in (10, 50, 90, 99)}, "max": round(max(values), digits)}


class Load:
    """What `count` clients see, each asking one thing after the other for `seconds`; `by_second` is called once in
    each."""

    def __init__(self, client, pool, expected, options):
        self.client, self.pool, self.expected, self.options = client, pool, expected, options
        self.firsts, self.rates, self.errors, self.wrong, self.vanished, self.tokens = [], [], [], 0, 0, 0

    def ask(self, dice):
        which = dice.randrange(len(self.pool))
        leave = dice.randrange(1, 20) if dice.random() < self.options.vanish else None
        return which, Stream(self.client, self.pool[which], leave)

    def take(self, which, stream):
        answer = stream.result()
        if answer is None:
            self.vanished += 1
            return
        text, count, first, seconds = answer
        self.tokens += count
        if first is not None:
            self.firsts.append(first)
            if count > 1 and seconds > first:
                self.rates.append((count - 1) / (seconds - first))
        if self.expected is not None and text != self.expected[which]:
            self.wrong += 1

    def run(self, count, seconds, by_second=lambda: None):
        start, events, next_second = time.monotonic(), [0], time.monotonic() + 1
        poll, open_streams = select.epoll(), {}

        def begin(dice):
            while time.monotonic() < start + seconds:
                try:
                    which, stream = self.ask(dice)
                except OSError as error:
                    self.errors.append(repr(error))
                    continue
                open_streams[stream.socket.fileno()] = (dice, which, stream)
                poll.register(stream.socket.fileno(), select.EPOLLIN)
                return

        for number in range(count):
            begin(random.Random(self.options.seed * 1000 + number))
        while open_streams:
            for number, _ in poll.poll(max(0.0, next_second - time.monotonic())):
                dice, which, stream = open_streams[number]
                events[-1] += stream.on_readable()
                if stream.socket.fileno() >= 0:
                    continue
                del open_streams[number]
                try:
                    self.take(which, stream)
                except RuntimeError as error:
                    self.errors.append(str(error))
                begin(dice)
            if time.monotonic() >= next_second:
                next_second += 1
                events.append(0)
                by_second()
        elapsed = time.monotonic() - start
        return {
            "clients": count, "seconds": round(elapsed, 1), "answers": len(self.firsts), "vanished": self.vanished,
            "errors": len(self.errors), "error_examples": self.errors[:3],
            "tokens_per_second": round(self.tokens / elapsed, 1),
            # Before the clients stop asking: with long answers, few are left towards the end.
            "events_per_second": round(sum(events[:int(seconds)]) / max(1, int(seconds)), 1),
            "events_of_each_second": percentiles(events[1:int(seconds)], 0),
            "first_token_seconds": percentiles(self.firsts), "tokens_per_second_of_one": percentiles(self.rates, 1),
            **({"different_from_alone": self.wrong} if self.expected is not None else {}),
        }


class SlowReaders(threading.Thread):
    """Streams whose clients take a few bytes twice a second."""

    def __init__(self, client, pool, count):
        super().__init__(daemon=True)
        self.client, self.pool, self.stopping = client, pool, threading.Event()
        self.sockets = [self.open(i) for i in range(count)]

    def open(self, number):
        connection = self.client.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(self.client.request({**self.pool[number % len(self.pool)], "max_tokens": 400}))
        connection.setblocking(False)
        return connection

    def run(self):
        while not self.stopping.wait(0.5):
            for number, connection in enumerate(self.sockets):
                try:
                    data = connection.recv(500)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if not data or data.endswith(b"\r\n0\r\n\r\n"):
                    connection.close()
                    self.sockets[number] = self.open(number)


def memory_of(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--key", default="")
    parser.add_argument("--model", default="", help="for servers that want one named")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--alone", type=float, default=0, help="seconds that one client gets alone, before and after")
    parser.add_argument("--idle", type=int, default=0, help="connections that are open and silent")
    parser.add_argument("--slow", type=int, default=0, help="streams whose client hardly reads")
    parser.add_argument("--settle", type=float, default=0, help="seconds that idle and slow ones get first")
    parser.add_argument("--vanish", type=float, default=0, help="share of requests whose client leaves in the middle")
    parser.add_argument("--check", action="store_true", help="compare each answer with the same request alone")
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--scale", type=float, default=1, help="of the answers' lengths (16 to 400 tokens); for slow models")
    parser.add_argument("--pid", type=int, help="of the server, whose memory is then looked at every second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    client, pool = Client(options.url, options.key, options.model), questions(
        options.seed, options.questions, options.scale)
    expected = [client.ask(body)[0] for body in pool] if options.check else None
    alone = [Load(client, pool, expected, options).run(1, options.alone)] if options.alone else []
    idle = [client.connect() for _ in range(options.idle)]
    slow = SlowReaders(client, pool, options.slow)
    slow.start()
    time.sleep(options.settle)
    memory = []
    own = time.process_time()
    report = {"idle": options.idle, "slow": options.slow,
              **Load(client, pool, expected, options).run(
                  options.clients, options.seconds,
                  (lambda: memory.append(memory_of(options.pid))) if options.pid else lambda: None)}
    report["clients_cpu_share"] = round((time.process_time() - own) / report["seconds"], 3)
    if memory:
        report["server_rss_mb"] = {"at_equal_distances": [round(m) for m in memory[::max(1, len(memory) // 20)]],
                                   "greatest_of_first_half": round(max(memory[:len(memory) // 2]), 1),
                                   "greatest_of_second_half": round(max(memory[len(memory) // 2:]), 1)}
    slow.stopping.set()
    slow.join()
    for connection in idle + slow.sockets:
        connection.close()
    if options.alone:
        alone.append(Load(client, pool, expected, options).run(1, options.alone))
        rate = statistics.mean(run["events_per_second"] for run in alone)
        report["alone"] = [{k: run[k] for k in ("events_per_second", "tokens_per_second", "first_token_seconds", "errors")}
                           for run in alone]
        report["times_one_client"] = round(report["events_per_second"] / rate, 2)
    print(json.dumps(report, indent=2))
    raise SystemExit(1 if report["errors"] or report.get("different_from_alone") else 0)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    main()
