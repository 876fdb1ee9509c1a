"""Starts `zaya serve` on a free port for the time of a test, and reads what it logs."""

import json
import re
import signal
import subprocess
import threading
import time
import urllib.request


class Server:
    """with Server(zaya, "--api-key", "k") as server: server.url is http://127.0.0.1:PORT"""

    def __init__(self, zaya, *arguments, env=None):
        self.command = [zaya, "serve", "--port", "0", "--threads", "1", *arguments]
        self.env = env
        self.lines = []

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        first = self.process.stdout.readline()
        match = re.search(r"(http://\S+):(\d+)", first)
        if not match:
            said = self.process.communicate(timeout=300)[1]
            raise RuntimeError(f"the server did not start: {first}{said}")
        self.url, self.port = match[0], int(match[2])
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self.reader.start()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()

    def stop(self, sign=signal.SIGTERM):
        """Ends the server and returns its exit code."""
        self.process.send_signal(sign)
        code = self.process.wait(timeout=300)
        self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def log(self):
        """The request log so far: one dict per line."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=300) as answer:
            return answer.read().decode()

    def metric(self, name):
        return float(re.search(rf"^{name} (\S+)$", self.get("/metrics"), re.M)[1])

    def settled(self, name, value, seconds=60):
        """The metric once it is `value`, or what it still is after so long: a client has its answer a moment before the
        thread that handled the request lets go of it, so what is counted at rest is asked for until it is."""
        end = time.monotonic() + seconds
        while (now := self.metric(name)) != value and time.monotonic() < end:
            time.sleep(0.01)
        return now
