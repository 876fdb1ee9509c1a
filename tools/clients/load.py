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
import asyncio
import collections
import json
import random
import re
import resource
import statistics
import time
import urllib.parse

TEXT = re.compile(rb'"(?:reasoning_content|reasoning|content)": ?"((?:[^"\\]|\\.)+)"')
COUNT = re.compile(rb'"(?:predicted_n|completion_tokens)": ?(\d+)')


def questions(seed, count):
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
        out.append({"messages": turns, "temperature": 0, "max_tokens": dice.choice([16, 64, 256, 400]), "stream": True})
    return out


class Stream(asyncio.Protocol):
    """One request; `done` gets None at the stream's end, or what went wrong."""

    def __init__(self, request, events_by_second, vanish_after):
        self.request, self.events_by_second, self.vanish_after = request, events_by_second, vanish_after
        self.done = asyncio.get_running_loop().create_future()
        self.data, self.first, self.events, self.vanished = bytearray(), None, 0, False

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data):
        self.data += data
        count = data.count(b"data: {")
        self.events += count
        self.events_by_second[int(time.monotonic())] += count
        if self.first is None and TEXT.search(data):
            self.first = time.monotonic()
        if self.vanish_after is not None and self.events > self.vanish_after:
            self.vanished = True
            self.transport.abort()
        elif data.endswith(b"\r\n0\r\n\r\n") or b"\r\n\r\n" in self.data[:4096] and not self.data.startswith(b"HTTP/1.1 200"):
            self.transport.close()

    def connection_lost(self, error):
        if not self.done.done():
            self.done.set_result(error)

    def check(self):
        if not self.data.startswith(b"HTTP/1.1 200"):
            return self.data[:400].decode(errors="replace") or "no answer"
        if b"data: [DONE]" not in self.data[-200:]:
            return "the stream broke off"
        return self.data[-600:].decode(errors="replace") if b'data: {"error"' in self.data else None


class Client:
    def __init__(self, url, key, model=""):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port, self.key, self.model = parts.hostname, parts.port or 80, key, model
        self.events_by_second = collections.Counter()

    async def open(self, limit=65536):
        return await asyncio.open_connection(self.host, self.port, limit=limit)

    def request(self, body):
        data = json.dumps({**body, "model": self.model} if self.model else body).encode()
        auth = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        return (f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{auth}"
                f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n").encode() + data

    async def stream(self, body, vanish_after=None):
        """(text as it was escaped, tokens, seconds to the first token, seconds in all); None when it vanished."""
        start, stream = time.monotonic(), Stream(self.request(body), self.events_by_second, vanish_after)
        await asyncio.get_running_loop().create_connection(lambda: stream, self.host, self.port)
        await stream.done
        if stream.vanished:
            return None
        if problem := stream.check():
            raise RuntimeError(problem)
        counts = COUNT.findall(stream.data)
        texts = TEXT.findall(stream.data)
        return (b"".join(texts), int(counts[-1]) if counts else len(texts), stream.first and stream.first - start,
                time.monotonic() - start)

    async def read_slowly(self, body, pause):
        reader, writer = await self.open(limit=4096)
        try:
            writer.write(self.request(body))
            while await reader.readline():
                await asyncio.sleep(pause)
        finally:
            writer.close()


def percentiles(values, digits=4):
    if len(values) < 2:
        return {"n": len(values)}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"n": len(values), "min": round(min(values), digits),
            **{f"p{p}": round(cuts[p - 1], digits) for p in (10, 50, 90, 99)}, "max": round(max(values), digits)}


class Load:
    """What `count` clients see, each asking one thing after the other until `stop`."""

    def __init__(self, client, pool, expected, options):
        self.client, self.pool, self.expected, self.options = client, pool, expected, options
        self.firsts, self.rates, self.errors, self.wrong, self.vanished, self.tokens = [], [], [], 0, 0, 0

    async def one(self, number, stop):
        dice = random.Random(self.options.seed * 1000 + number)
        while time.monotonic() < stop:
            which = dice.randrange(len(self.pool))
            leave = dice.randrange(1, 20) if dice.random() < self.options.vanish else None
            try:
                answer = await self.client.stream(self.pool[which], vanish_after=leave)
            except (OSError, RuntimeError) as error:
                self.errors.append(repr(error))
                continue
            if answer is None:
                self.vanished += 1
                continue
            text, count, first, seconds = answer
            self.tokens += count
            if first is not None:
                self.firsts.append(first)
                if count > 1 and seconds > first:
                    self.rates.append((count - 1) / (seconds - first))
            if self.expected is not None and text != self.expected[which]:
                self.wrong += 1

    async def run(self, count, seconds):
        start, self.client.events_by_second = time.monotonic(), collections.Counter()
        await asyncio.gather(*(self.one(i, start + seconds) for i in range(count)))
        elapsed = time.monotonic() - start
        whole = [n for second, n in self.client.events_by_second.items() if start + 1 < second < start + seconds - 1]
        return {
            "clients": count, "seconds": round(elapsed, 1), "answers": len(self.firsts), "vanished": self.vanished,
            "errors": len(self.errors), "error_examples": self.errors[:3],
            "tokens_per_second": round(self.tokens / elapsed, 1),
            "events_of_each_second": percentiles(whole, 0),
            "first_token_seconds": percentiles(self.firsts), "tokens_per_second_of_one": percentiles(self.rates, 1),
            **({"different_from_alone": self.wrong} if self.expected is not None else {}),
        }


async def sample_memory(pid, into):
    while True:
        with open(f"/proc/{pid}/status") as status:
            into.append(int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024)
        await asyncio.sleep(1)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--key", default="")
    parser.add_argument("--model", default="", help="for servers that want one named")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--alone", type=float, default=0, help="seconds that one client gets alone, before and after")
    parser.add_argument("--idle", type=int, default=0, help="connections that are open and silent")
    parser.add_argument("--slow", type=int, default=0, help="streams whose client hardly reads")
    parser.add_argument("--settle", type=float, default=0, help="seconds that idle and slow ones get before the rest begins")
    parser.add_argument("--vanish", type=float, default=0, help="share of requests whose client leaves in the middle")
    parser.add_argument("--check", action="store_true", help="compare each answer with the same request alone")
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--pid", type=int, help="of the server, whose memory is then looked at every second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    client, pool = Client(options.url, options.key, options.model), questions(options.seed, options.questions)
    expected = [(await client.stream(body))[0] for body in pool] if options.check else None
    alone = [await Load(client, pool, expected, options).run(1, options.alone)] if options.alone else []
    idle = [await client.open() for _ in range(options.idle)]
    stop = time.monotonic() + options.settle + options.seconds

    async def slow(number):
        body = {**pool[number % len(pool)], "max_tokens": 400}
        while time.monotonic() < stop:
            try:
                await asyncio.wait_for(client.read_slowly(body, 0.5), max(0.1, stop - time.monotonic()))
            except (asyncio.TimeoutError, OSError):
                pass

    slow_tasks = [asyncio.create_task(slow(i)) for i in range(options.slow)]
    await asyncio.sleep(options.settle)
    memory = []
    sampler = asyncio.create_task(sample_memory(options.pid, memory)) if options.pid else None
    own = time.process_time()
    report = {"idle": options.idle, "slow": options.slow,
              **await Load(client, pool, expected, options).run(options.clients, options.seconds)}
    report["clients_cpu_share"] = round((time.process_time() - own) / report["seconds"], 3)
    if sampler is not None:
        sampler.cancel()
        step = max(1, len(memory) // 20)
        report["server_rss_mb"] = {"every_20th": [round(m) for m in memory[::step]],
                                   "greatest_of_first_half": round(max(memory[:len(memory) // 2]), 1),
                                   "greatest_of_second_half": round(max(memory[len(memory) // 2:]), 1)}
    await asyncio.gather(*slow_tasks)
    for _, writer in idle:
        writer.close()
    if options.alone:
        alone.append(await Load(client, pool, expected, options).run(1, options.alone))
        rate = statistics.mean(run["tokens_per_second"] for run in alone)
        report["alone"] = [{k: run[k] for k in ("tokens_per_second", "first_token_seconds", "errors")} for run in alone]
        report["times_one_client"] = round(report["tokens_per_second"] / rate, 2)
    print(json.dumps(report, indent=2))
    raise SystemExit(1 if report["errors"] or report.get("different_from_alone") else 0)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(main())
