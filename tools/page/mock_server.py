#!/usr/bin/env python3
"""A small stand-in for `zaya serve`, to develop and test the page without a model.

    mock_server.py [--port 8090]

Serves the page as the program does (same files, same headers) and answers /health, /v1/models and streaming
/v1/chat/completions with canned text that words in the question choose: see ANSWERS and Answer.parts. Nothing here is
part of the program.
"""

import argparse
import http.server
import json
import os
import pathlib
import random
import re
import socketserver
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "src" / "server" / "page"
sys.path.insert(0, str(PAGE))
sys.path.insert(0, str(HERE))

import embed  # noqa: E402
import sample_run  # noqa: E402
from answers import ANSWERS, REASONING  # noqa: E402


def security_policy():
    """From page.h, so that the tests run under the policy that the program sends."""
    header = (PAGE.parent / "page.h").read_text()
    declaration = re.search(r"kPageSecurityPolicy =(.*?);\n", header, re.S).group(1)
    return "".join(re.findall(r'"([^"]*)"', declaration))


def pieces_of(text, size=4):
    """Token-like pieces: a few characters each."""
    return [text[start:start + size] for start in range(0, len(text), size)]


class Answer:
    """What to stream for a request: (kind, text, pause) in order."""

    def __init__(self, request):
        messages = request.get("messages") or [{}]
        self.question = str(messages[-1].get("content", ""))
        self.thinks = request.get("chat_template_kwargs", {}).get("enable_thinking", True)
        self.prompt_tokens = sum(len(str(message.get("content", ""))) for message in messages) // 4 + 8
        self.limit = request.get("max_completion_tokens") or 10**9
        self.budget = request.get("thinking_budget")
        self.key = next((key for key in ANSWERS if key in self.question.lower()), "default")

    def parts(self):
        pause = 0.08 if "slow" in self.question.lower() else 0 if self.key in ("endless", "hostile") else 0.0005 if self.key == "long" else 0.012
        size = 24 if self.key in ("long", "endless", "hostile") else 4
        if self.thinks:
            pieces = pieces_of(REASONING.get(self.key, REASONING["default"]), size)
            for piece in pieces[:self.budget]:
                yield "reasoning_content", piece, pause
        text = ANSWERS[self.key]
        for piece in pieces_of(text() if callable(text) else text, size):
            yield "content", piece, pause


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    assets = {}
    policy = ""

    def log_message(self, *_):
        pass

    def do_GET(self):  # noqa: N802
        path = self.path.split("?")[0]
        if path == "/health":
            self.send(200, b'{"status":"ok"}', "application/json")
        elif path == "/v1/models":
            model = {"id": "ZAYA1-8B", "object": "model", "owned_by": "zyphra", "max_model_len": 131072, "markovian_rsa": True}
            self.send(200, json.dumps({"object": "list", "data": [model]}).encode(), "application/json")
        elif path in self.assets:
            asset = self.assets[path]
            if PAGE in asset.source.parents and path != "/licenses":
                asset = embed.Asset(path, asset.source.read_bytes(), asset.source)  # a reload shows what was changed
            extra = {"Content-Security-Policy": self.policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
                     "ETag": asset.etag, "Cache-Control": "no-cache"}
            if asset.gzip:
                extra["Content-Encoding"] = "gzip"
            if self.headers.get("If-None-Match") == asset.etag:
                self.send(304, b"", asset.type, extra)
            else:
                self.send(200, asset.bytes, asset.type, extra)
        else:
            self.send(404, b'{"error":{"message":"there is no such page"}}', "application/json")

    def do_POST(self):  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.path != "/v1/chat/completions":
            self.send(404, b"{}", "application/json")
            return
        answer = Answer(body)
        if "refuse" in answer.question:
            self.send(429, b'{"error":{"message":"The queue is full.","type":"rate_limit"}}', "application/json", {"Retry-After": "3"})
            return
        if "wrong field" in answer.question:
            self.send(400, b'{"error":{"message":"temperature must lie between 0 and 2","param":"temperature"}}', "application/json")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.server.last_request = body
        try:
            self.stream(body, answer)
        except (BrokenPipeError, ConnectionResetError):
            self.server.gone += 1

    def event(self, data, name=None):
        text = (f"event: {name}\n" if name else "") + f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n"
        self.wfile.write(text.encode())
        self.wfile.flush()

    def chunk(self, delta, finish=None, **more):
        self.event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": int(time.time()), "model": "ZAYA1-8B",
                    "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})

    def stream(self, body, answer):
        start, first, count, thought = time.monotonic(), None, 0, 0
        self.chunk({"role": "assistant", "content": ""})
        time.sleep(0.15)
        if body.get("markovian_rsa") is not None:
            for entry in sample_run.entries(random.Random(7), pace=0.03):
                self.event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": int(time.time()),
                            "model": "ZAYA1-8B", "choices": [], "markovian_rsa": entry})
        finish = "stop"
        for kind, text, pause in answer.parts():
            if count >= answer.limit:
                finish = "length"
                break
            first = first or time.monotonic()
            self.chunk({kind: text})
            count += 1
            thought += kind != "content"
            if "break off" in answer.question and count > 40:
                return
            if pause:
                time.sleep(pause)
        self.chunk({}, finish)
        took = max(1e-6, time.monotonic() - (first or start))
        self.event({"object": "chat.completion.chunk", "choices": [],
                    "usage": {"prompt_tokens": answer.prompt_tokens, "completion_tokens": count, "total_tokens": answer.prompt_tokens + count,
                              "completion_tokens_details": {"reasoning_tokens": thought}, "prompt_tokens_details": {"cached_tokens": 0}},
                    "timings": {"predicted_n": count, "predicted_ms": 1000 * took, "predicted_per_second": (count - 1) / took}})
        self.event("[DONE]")

    def send(self, status, body, content_type, extra=None):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if status != 304:
            self.wfile.write(body)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    gone = 0          # clients that left before the end
    last_request = None


def make_server(port=0):
    Handler.assets = {asset.path: asset for asset in embed.collect(pathlib.Path(os.environ.get("ZAYA_PAGE_ROOT", "/")))}
    Handler.policy = security_policy()
    return Server(("127.0.0.1", port), Handler)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8090)
    server = make_server(parser.parse_args().port)
    print(f"http://127.0.0.1:{server.server_port}/")
    server.serve_forever()


if __name__ == "__main__":
    main()
