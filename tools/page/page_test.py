#!/usr/bin/env python3
"""The page in a real Chromium, against the stand-in server: `./dev page` runs it.

With --server URL the tests that need no canned answers run against a `zaya serve` that is up; --journal FILE gives
them a journal of `zaya solve` besides, and --shots DIRECTORY keeps pictures of both runs.
"""

import json
import sys
import unittest

import browser as chromium
import cases
from answers_test import AnswersTest, UseTest
from board_test import BoardTest
from chat_test import AskingTest, ConversationsTest

SERVER = JOURNAL = SHOTS = None  # --server, --journal, --shots


def keep(visit, name):
    if SHOTS:
        visit.page.screenshot(path=f"{SHOTS}/{name}.png")


def votes_of(lines):
    """Of a run's result: (the answer that won, its votes)."""
    result = next(line for line in lines if line["event"] == "result")
    return result["answer"], next((one["votes"] for one in result["votes"] if one["answer"] == result["answer"]), 0)


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

    def test_a_live_run(self):
        """Markovian RSA by the switch in the composer: the board grows while the engine works."""
        with chromium.chromium() as launched:
            visit = chromium.Visit(launched, SERVER, size=(1360, 900))
            page = visit.page
            page.click("#rsa-toggle")
            visit.ask("What is 473 * 58?", wait=False)
            page.wait_for_selector(".message-board .fact.live")
            page.wait_for_selector(".message-board .candidate.done >> nth=3")
            page.wait_for_selector(".message-board .link", state="attached")  # the next round reads the one before
            keep(visit, "board-real-live")
            visit.done()
            candidates = page.locator(".message-board .candidate.done").count()
            self.assertGreaterEqual(candidates, 16)
            self.assertEqual(page.locator(".message-board .vote.won").count(), 1)
            page.locator(".message-board").scroll_into_view_if_needed()
            keep(visit, "board-real-chat")
            # It is kept, opens on the board, and a candidate shows its trace there.
            page.reload()
            page.wait_for_selector(".message-board .vote.won")
            page.locator("text=Open on the board").click()
            page.wait_for_selector(".board-stage .vote.won")
            self.assertEqual(page.locator(".board-stage .candidate.done").count(), candidates)
            page.locator(".board-stage [data-name='1:0']").click()
            page.wait_for_selector(".trace-panel:not([hidden])")
            self.assertGreater(len(page.inner_text(".trace-panel .tail-text")), 0)
            keep(visit, "board-real-trace")
            visit.close()
            self.assertEqual(visit.errors, [])
            self.assertEqual(visit.outside, [])

    def test_a_journal(self):
        if JOURNAL is None:
            self.skipTest("no --journal")
        with open(JOURNAL) as file:
            lines = [json.loads(line) for line in file]
        with chromium.chromium() as launched:
            visit = chromium.Visit(launched, SERVER, size=(1360, 860), path="#/board", color_scheme="dark")
            page = visit.page
            page.set_input_files("input[aria-label=Journal]", JOURNAL)
            page.wait_for_selector(".candidate.done")
            self.assertEqual(page.locator(".candidate.done").count(), sum(line["event"] == "trace" for line in lines))
            self.assertEqual(page.locator(".link").count(), sum(len(line.get("parents", [])) for line in lines if line["event"] == "start"))
            answer, votes = votes_of(lines)
            self.assertEqual(page.locator(".vote.won .vote-answer").text_content(), answer)
            self.assertIn(str(votes), page.locator(".vote.won").text_content())
            keep(visit, "board-real-journal")
            visit.close()
            self.assertEqual(visit.errors, [])


def load_tests(loader, _tests, _pattern):
    chosen = [ServerTest] if SERVER else [AskingTest, ConversationsTest, AnswersTest, UseTest, BoardTest]
    suite = unittest.TestSuite()
    for case in chosen:
        suite.addTests(case(name) for name in loader.getTestCaseNames(case))
    return suite


if __name__ == "__main__":
    for name in ("--server", "--journal", "--shots"):
        if name in sys.argv:
            at = sys.argv.index(name)
            globals()[name[2:].upper()] = sys.argv[at + 1]
            del sys.argv[at:at + 2]
    if SERVER:
        SERVER = SERVER.rstrip("/") + "/"
    program = unittest.main(verbosity=2, exit=False)
    cases.PageCase.close()
    sys.exit(not program.result.wasSuccessful())
