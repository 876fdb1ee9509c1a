"""Chromium as the tests and the screenshots use it: no network but the server's address, every complaint collected."""

import contextlib
import os
import shutil
import threading
import time

from playwright.sync_api import sync_playwright

import mock_server

PATIENCE = int(os.environ.get("PATIENCE", 150000))  # ms; machines that build at the same time are slow


@contextlib.contextmanager
def mock():
    """A running stand-in server and its address."""
    server = mock_server.make_server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def chromium():
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        # Without a user namespace of its own (containers, root) Chromium's sandbox cannot start.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--font-render-hinting=none"])
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One browser context with the page in it, and what went wrong meanwhile: `errors`, `outside` (foreign requests)."""

    def __init__(self, browser, address, size=(1280, 860), path="", **options):
        self.address, self.errors, self.outside = address, [], []
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        self.context.set_default_timeout(PATIENCE)
        self.context.on("request", self.on_request)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.add_init_script("addEventListener('securitypolicyviolation', (event) => console.error('policy: ' + event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sample))")
        self.page.goto(address + path)
        self.page.wait_for_selector(".dot.up")

    def on_request(self, request):
        if not request.url.startswith((self.address, "blob:", "data:")):
            self.outside.append(request.url)

    def ask(self, text, wait=True):
        self.page.fill("#composer-text", text)
        self.page.press("#composer-text", "Enter")
        if wait:
            self.done()

    def done(self):
        self.page.wait_for_selector(".message.assistant:last-child .actions")
        self.page.wait_for_selector("#send[aria-label=Send]")

    def until(self, condition):
        """Waits for a JavaScript expression; wait_for_function would need eval(), which the page's policy forbids."""
        deadline = time.monotonic() + PATIENCE / 1000
        while not self.page.evaluate(condition):
            if time.monotonic() > deadline:
                raise AssertionError(f"never: {condition}")
            self.page.wait_for_timeout(50)

    def last(self):
        return self.page.locator(".message.assistant").last

    def close(self):
        self.context.close()
