"""What the tests of the page share: one Chromium and one stand-in server for all of them."""

import unittest

import browser as chromium


class PageCase(unittest.TestCase):
    """Every visit ends with two checks: the console had nothing to complain about, and no request went anywhere else."""

    opened = None  # (server, address, browser), shared by all classes and closed by close()
    contexts = []

    @classmethod
    def setUpClass(cls):
        if PageCase.opened is None:
            PageCase.contexts = [chromium.mock(), chromium.chromium()]
            server, address = PageCase.contexts[0].__enter__()
            PageCase.opened = (server, address, PageCase.contexts[1].__enter__())
        cls.server, cls.address, cls.browser = PageCase.opened

    @staticmethod
    def close():
        for context in reversed(PageCase.contexts):
            context.__exit__(None, None, None)

    def visit(self, **options):
        visit = chromium.Visit(self.browser, self.address, **options)
        self.addCleanup(self.leave, visit)
        return visit

    def leave(self, visit):
        visit.close()
        self.assertEqual(visit.errors, [])
        self.assertEqual(visit.outside, [])

    def paused(self, visit, text):
        """A slow answer that has begun to stream."""
        visit.ask(text, wait=False)
        visit.page.wait_for_selector(".message.assistant .prose p")
