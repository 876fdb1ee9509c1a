#!/usr/bin/env python3
"""A run of `zaya solve` over three real servers, of which one is killed in the middle and one answers every third
request with 429 or 500; checks that the run completes and that nothing is counted twice.

    tools/reasoning/endpoints.py --zaya build/zaya

The servers are `zaya serve` on the embedded model; the failing one stands behind a proxy in this script.
"""

import argparse
import http.client
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time


class Flaky(http.server.BaseHTTPRequestHandler):
    """Passes requests on to `target`, except every third POST."""

    protocol_version = "HTTP/1.1"
    target, posts, refused = 0, 0, {429: 0, 500: 0}
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.forward(None)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with Flaky.lock:
            Flaky.posts += 1
            status = (429, 500)[Flaky.posts // 3 % 2] if Flaky.posts % 3 == 0 else 200
            if status != 200:
                Flaky.refused[status] += 1
        if status == 200:
            return self.forward(body)
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def forward(self, body):
        connection = http.client.HTTPConnection("127.0.0.1", Flaky.target)
        connection.request(self.command, self.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type"))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            while data := answer.read1(65536):
                self.wfile.write(data)
        except OSError:  # rollouts are cut off at their budget
            connection.close()


def serve(zaya, model):
    process = subprocess.Popen([zaya, "serve", model, "--port", "0", "--quiet", "--threads", "1"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return process, int(re.search(r":(\d+)$", process.stdout.readline().strip())[1])


def count(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    return float(re.search(rf"^{name} (\S+)$", connection.getresponse().read().decode(), re.M)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zaya", default="build/zaya")
    parser.add_argument("--model", default="models/nano")
    parser.add_argument("--arguments", default="--preset tiny -N 16 -C 4 -T 2 --tau 64 --beta 160 --no-early-stop")
    args = parser.parse_args()

    servers = [serve(args.zaya, args.model) for _ in range(3)]
    Flaky.target = servers[1][1]
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    ports = [servers[0][1], proxy.server_port, servers[2][1]]
    with tempfile.TemporaryDirectory() as directory:
        journal = os.path.join(directory, "run.jsonl")
        endpoints = [word for port in ports for word in ("--endpoint", f"http://127.0.0.1:{port}/v1")]
        begin = time.monotonic()
        run = subprocess.Popen([args.zaya, "solve", args.model, *endpoints, "-p", "What is 4736 * 58?", "--seed", "5",
                                "--journal", journal, "--answer-kind", "number", *args.arguments.split()],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        # In the middle of a round, with work under way there.
        while run.poll() is None and count(ports[0], "zaya_choices_running") < 2:
            time.sleep(0.02)
        time.sleep(0.3)
        under_way = count(ports[0], "zaya_choices_running") if run.poll() is None else 0
        servers[0][0].kill()
        said = run.communicate()[1]
        took = time.monotonic() - begin
        with open(journal) as file:
            lines = [json.loads(line) for line in file]
    made = [count(port, "zaya_new_tokens_total") for port in (servers[1][1], servers[2][1])]
    for process, _ in servers:
        process.kill()
        process.wait()

    settings = lines[0]["settings"]
    traces = [line for line in lines if line["event"] == "trace"]
    places = {(line["round"], line["candidate"]) for line in traces}
    result = next(line for line in lines if line["event"] == "result")
    wanted = settings["N"] * (settings["T"] + 1)
    counted = sum(line["new_tokens"] for line in traces)
    print(f"{took:.1f} s; killed with {under_way:.0f} candidates under way; refused {Flaky.refused}; "
          f"{len(traces)} traces, {counted} new tokens, {result['wasted_tokens']} wasted; "
          f"the two servers that live made {made[0]:.0f} + {made[1]:.0f}; stopped: {result['stopped']}")
    problems = []
    if run.returncode != 0 or result["stopped"] != "complete":
        problems.append(f"the run did not complete: {said[-500:]}")
    if len(traces) != wanted or len(places) != wanted:
        problems.append(f"{len(traces)} traces of {len(places)} candidates; {wanted} were to be made")
    if counted != result["new_tokens"]:
        problems.append(f"the traces have {counted} new tokens, the result says {result['new_tokens']}")
    if under_way < 1 or not all(Flaky.refused.values()):
        problems.append("the faults did not happen while there was work")
    # What the killed server made is missing from the servers' own count, and some tokens have no text.
    if sum(made) > counted + result["wasted_tokens"] + 16 * wanted:
        problems.append("the servers made more than was counted")
    print("\n".join(problems) or "complete, and nothing counted twice")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
