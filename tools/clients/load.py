#!/usr/bin/env python3
"""Load on a running `zaya serve`: many clients at mixed lengths, beside idle connections, slow readers and clients that
vanish; percentiles of what the steady ones saw.

    load.py http://127.0.0.1:8080 --clients 64 --seconds 300 --idle 1000 --slow 200 --vanish 0.05
    load.py URL --clients 16 --seconds 60 --check        every answer must equal the same request alone

Standard library only. With --check the requests are greedy and come from a small set, each of which is asked alone
first; start the server with --deterministic for that.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
import urllib.parse


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


class Client:
    def __init__(self, url, key):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port, self.key = parts.hostname, parts.port or 80, key

    async def open(self, limit=65536):
        return await asyncio.open_connection(self.host, self.port, limit=limit)

    def request(self, path, body):
        data = json.dumps(body).encode()
        auth = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        head = f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{auth}Content-Length: {len(data)}\r\n\r\n"
        return head.encode() + data

    async def stream(self, body, vanish_after=None, pause=0.0):
        """(text, tokens, seconds to the first token, seconds in all); None when it vanished; raises on errors."""
        reader, writer = await self.open(limit=4096 if pause else 1 << 20)
        try:
            start = time.monotonic()
            writer.write(self.request("/v1/chat/completions", body))
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                length = int(next(l for l in head.lower().split(b"\r\n") if l.startswith(b"content-length"))[15:])
                raise RuntimeError((head.split(b"\r\n", 1)[0] + b" " + await reader.readexactly(length)).decode())
            text, first, events, predicted = "", None, 0, 0
            async for line in reader:
                if pause:
                    await asyncio.sleep(pause)
                if not line.startswith(b"data: "):
                    continue
                if line.startswith(b"data: [DONE]"):
                    return text, predicted, first, time.monotonic() - start
                event = json.loads(line[6:])
                if "error" in event:
                    raise RuntimeError(str(event))
                for choice in event["choices"]:
                    delta = choice["delta"].get("reasoning_content", "") + (choice["delta"].get("content") or "")
                    text += delta
                    if delta and first is None:
                        first = time.monotonic() - start
                    predicted = event.get("timings", {}).get("predicted_n", predicted)
                events += 1
                if vanish_after is not None and events > vanish_after:
                    return None
            raise RuntimeError("the stream broke off")
        finally:
            writer.close()


def percentiles(values):
    if len(values) < 2:
        return {"n": len(values)}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"n": len(values), **{f"p{p}": round(cuts[p - 1], 4) for p in (50, 90, 99)}, "max": round(max(values), 4)}


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--key", default="")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--idle", type=int, default=0, help="connections that are open and silent")
    parser.add_argument("--slow", type=int, default=0, help="streams whose client hardly reads")
    parser.add_argument("--settle", type=float, default=0, help="seconds that idle and slow ones get before the rest begins")
    parser.add_argument("--vanish", type=float, default=0, help="share of requests whose client leaves in the middle")
    parser.add_argument("--check", action="store_true", help="compare each answer with the same request alone")
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    client, pool = Client(options.url, options.key), questions(options.seed, options.questions)
    expected = [(await client.stream(body))[0] for body in pool] if options.check else None
    idle = [await client.open() for _ in range(options.idle)]
    stop = time.monotonic() + options.settle + options.seconds
    firsts, rates, errors, wrong, vanished, tokens = [], [], [], 0, 0, 0

    async def slow(number):
        body = {**pool[number % len(pool)], "max_tokens": 400}
        while time.monotonic() < stop:
            try:
                await asyncio.wait_for(client.stream(body, pause=0.5), max(0.1, stop - time.monotonic()))
            except (asyncio.TimeoutError, OSError, RuntimeError):
                pass

    async def steady(number):
        nonlocal wrong, vanished, tokens
        dice = random.Random(options.seed * 1000 + number)
        while time.monotonic() < stop:
            which = dice.randrange(len(pool))
            leave = dice.randrange(1, 20) if dice.random() < options.vanish else None
            try:
                answer = await client.stream(pool[which], vanish_after=leave)
            except (OSError, RuntimeError, asyncio.IncompleteReadError) as error:
                errors.append(repr(error))
                continue
            if answer is None:
                vanished += 1
                continue
            text, count, first, seconds = answer
            tokens += count
            if first is not None:
                firsts.append(first)
                if count > 1 and seconds > first:
                    rates.append((count - 1) / (seconds - first))
            if expected is not None and text != expected[which]:
                wrong += 1

    slow_tasks = [asyncio.create_task(slow(i)) for i in range(options.slow)]
    await asyncio.sleep(options.settle)
    start = time.monotonic()
    await asyncio.gather(*(steady(i) for i in range(options.clients)))
    elapsed = time.monotonic() - start
    await asyncio.gather(*slow_tasks)
    for _, writer in idle:
        writer.close()
    report = {
        "clients": options.clients, "idle": options.idle, "slow": options.slow, "seconds": round(elapsed, 1),
        "answers": len(firsts), "vanished": vanished, "errors": len(errors), "error_examples": errors[:3],
        "tokens_per_second": round(tokens / elapsed, 1),
        "first_token_seconds": percentiles(firsts), "tokens_per_second_of_one": percentiles(rates),
    }
    if expected is not None:
        report["different_from_alone"] = wrong
    print(json.dumps(report, indent=2))
    raise SystemExit(1 if errors or wrong else 0)


if __name__ == "__main__":
    asyncio.run(main())
