#!/usr/bin/env python3
"""The page in a real Chromium, against the stand-in server: `./dev page` runs it.

With --server URL the one test that needs no canned answers runs against a `zaya serve` that is up.
"""

import sys
import unittest

import browser as chromium
import cases
from answers_test import AnswersTest, UseTest
from board_test import BoardTest
from chat_test import AskingTest, ConversationsTest

SERVER = None  # --server


class ServerTest(unittest.TestCase):
    """Against a real server, named with --server."""

    def test_a_conversation(self):
        with chromium.chromium() as launched:
            visit = chromium.Visit(launched, SERVER)
            visit.ask("What is 47 * 86?")
            self.assertEqual(visit.page.locator("[role=alert]").count(), 0, visit.last().inner_text())
            self.assertGreater(len(visit.last().locator(".content").inner_text()), 0)
            self.assertIn("tok/s", visit.last().locator(".stats").inner_text())
            visit.page.reload()
            visit.page.wait_for_selector(".message.assistant .actions")
            visit.ask("What is 12 + 30?", wait=False)
            visit.page.keyboard.press("Escape")
            visit.done()
            visit.close()
            self.assertEqual(visit.errors, [])
            self.assertEqual(visit.outside, [])


def load_tests(loader, _tests, _pattern):
    chosen = [ServerTest] if SERVER else [AskingTest, ConversationsTest, AnswersTest, UseTest, BoardTest]
    suite = unittest.TestSuite()
    for case in chosen:
        suite.addTests(case(name) for name in loader.getTestCaseNames(case))
    return suite


if __name__ == "__main__":
    if "--server" in sys.argv:
        at = sys.argv.index("--server")
        SERVER = sys.argv[at + 1].rstrip("/") + "/"
        del sys.argv[at:at + 2]
    program = unittest.main(verbosity=2, exit=False)
    cases.PageCase.close()
    sys.exit(not program.result.wasSuccessful())
