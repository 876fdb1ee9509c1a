"""The reasoning board."""

import json
import random

import sample_run
from cases import PageCase


class BoardTest(PageCase):
    """Journals dropped onto the board, and runs in answers."""

    def open_journal(self, visit, lines):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        visit.page.set_input_files("input[aria-label=Journal]", {"name": "run.jsonl", "mimeType": "application/json", "buffer": text.encode()})

    def test_board_of_a_journal(self):
        visit = self.visit(path="#/board")
        lines = list(sample_run.entries(random.Random(7), progress=False))
        self.open_journal(visit, lines)
        page = visit.page
        page.wait_for_selector(".candidate.done")
        self.assertEqual(page.locator(".candidate").count(), 48)
        self.assertEqual(page.locator(".link").count(), 2 * 16 * 4)
        votes = next(line for line in lines if line["event"] == "result")["votes"]
        best = max(votes, key=lambda one: one["votes"])
        self.assertEqual(page.locator(".vote.won .vote-answer").text_content(), best["answer"])
        self.assertEqual(page.locator(".ribbon").count(), sum(one["votes"] for one in votes))
        # A candidate's trace, with its tail; from there to one that it read.
        parents = next(line for line in lines if line["event"] == "start" and line["round"] == 1 and line["candidate"] == 2)["parents"]
        page.locator("[data-name='1:2']").click()
        page.wait_for_selector(".trace-panel .tail-text .katex")
        self.assertEqual(page.locator(".candidate.near").count(), page.evaluate("new Set([...document.querySelectorAll('.candidate.near')].map((e) => e.dataset.name)).size"))
        self.assertEqual(page.locator(".link.near").count() > 4, True)
        page.click(f".trace-row button[aria-label='Round 0, candidate {parents[0] + 1}']")
        self.assertEqual(page.inner_text(".trace-head h3"), f"Round 0, candidate {parents[0] + 1}")
        page.keyboard.press("Escape")
        visit.until("document.querySelector('.trace-panel').hidden")
        # By keys: the arrows walk, Enter opens.
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_selector(".trace-panel:not([hidden])")
        self.assertEqual(page.inner_text(".trace-head h3"), f"Round 1, candidate {min(16, parents[0] + 2)}")
        # Back to an earlier moment, and the replay.
        page.locator(".board-controls input").fill("60")
        page.wait_for_selector(".candidate.running")
        self.assertEqual(page.locator(".vote").count(), 0)
        page.click("[aria-label=Replay]")
        page.wait_for_selector(".vote.won")

    def test_board_of_odd_journals(self):
        visit = self.visit(path="#/board")
        self.open_journal(visit, [{"event": "nothing"}])
        visit.page.wait_for_selector("text=This is no journal of a run")
        lines = list(sample_run.entries(random.Random(3), n=4, c=2, t=1, progress=False))
        hostile = {"event": "trace", "round": 0, "candidate": 1, "answer": "<img src=x onerror=window.pwned=1>", "end": {}, "new_tokens": -5,
                   "reasoning": {"text": "<script>window.pwned=2</script>", "tokens": "x"}, "tail": {"text": 7}, "final": None}
        odd = [{"event": "trace", "round": 1e9, "candidate": 0}, {"event": "start", "round": 1, "candidate": 1e6, "parents": [1e9, -1, "x"]},
               {"event": "votes", "round": "x", "votes": 3}, {"event": "progress", "running": [None, {"round": -1}]}, 7, None, [], hostile]
        self.open_journal(visit, lines[:6] + odd)
        visit.page.wait_for_selector(".candidate.done")
        visit.page.locator("[data-name='0:1']").click()
        visit.page.wait_for_selector(".trace-panel:not([hidden])")
        self.assertEqual(visit.page.locator(".candidate").count(), 8)
        self.assertIsNone(visit.page.evaluate("window.pwned ?? null"))

    def test_board_lives_in_a_chat(self):
        visit = self.visit(size=(390, 844), is_mobile=True, has_touch=True)
        visit.page.tap("#rsa-toggle")
        visit.ask("short", wait=False)
        visit.page.wait_for_selector(".message-board .candidate.running")
        visit.page.wait_for_selector(".message-board .fact.live")
        visit.done()
        self.assertEqual(self.server.last_request["markovian_rsa"], {})
        self.assertEqual(visit.page.locator(".message-board .candidate.done").count(), 48)
        self.assertLessEqual(visit.page.evaluate("document.querySelector('.board-picture').getBoundingClientRect().right"), 390)
        visit.page.reload()
        visit.page.wait_for_selector(".message-board .vote.won")
        visit.page.locator("text=Open on the board").tap()
        visit.page.wait_for_selector(".board-stage .vote.won")
        visit.page.locator(".board-stage [data-name='0:0']").tap()
        visit.page.wait_for_selector(".trace-panel:not([hidden])")
