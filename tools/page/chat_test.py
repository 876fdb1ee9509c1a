"""Asking, stopping, answering again, settings, conversations."""

import json
import pathlib
import tempfile
import time

import browser as chromium
from cases import PageCase


class AskingTest(PageCase):
    """The way of a question."""

    def test_sends_streams_and_shows_figures(self):
        visit = self.visit()
        visit.ask("What is the sum of all primes below 100?", wait=False)
        visit.page.wait_for_selector(".thinking.live[open] .trace p")  # reasoning is shown while it is made
        visit.until("document.querySelector('#readout').textContent.includes('tok/s')")
        visit.done()
        last = visit.last()
        self.assertIsNone(last.locator(".thinking").get_attribute("open"))  # and folded behind
        self.assertRegex(last.locator(".thinking summary").inner_text(), r"Thought for .*tokens")
        self.assertEqual(last.locator("table tbody tr").count(), 5)
        self.assertGreater(last.locator(".katex").count(), 2)
        self.assertEqual(last.locator(".codebox .hl-k").first.inner_text(), "def")
        self.assertRegex(last.locator(".stats").inner_text(), r"(?s)tok/s.*first after.*tokens.*context [\d,]+ of 131,072")
        self.assertEqual(visit.page.title(), "What is the sum of all primes below 100? · zaya")
        self.assertEqual(self.server.last_request["messages"], [{"role": "user", "content": "What is the sum of all primes below 100?"}])
        last.locator(".thinking summary").click()
        visit.page.wait_for_selector(".thinking[open] .trace .katex")

    def test_formulas(self):
        visit = self.visit()
        visit.ask("some math")
        last = visit.last()
        self.assertEqual(last.locator(".content .katex-display").count(), 3)
        self.assertEqual(last.locator(".content .math-source").count(), 0)
        self.assertIn("It costs $5 and $10", last.locator(".content").inner_text())

    def test_code_is_copied_as_it_is(self):
        visit = self.visit(permissions=["clipboard-read", "clipboard-write"])
        visit.ask("primes")
        visit.last().locator(".copy").click()
        copied = visit.page.evaluate("navigator.clipboard.readText()")
        self.assertTrue(copied.startswith("def primes_below(limit):\n    \"\"\""), copied)
        self.assertTrue(copied.endswith("# 1060"), copied)
        visit.last().locator("[aria-label=Copy]").click()
        self.assertIn("| decade | primes |", visit.page.evaluate("navigator.clipboard.readText()"))

    def test_formulas_are_copied_as_tex(self):
        visit = self.visit(permissions=["clipboard-read", "clipboard-write"])
        visit.page.click("#think-toggle")
        visit.ask("some math")
        visit.page.evaluate("getSelection().selectAllChildren(document.querySelector('.message.assistant .content'))")
        visit.page.keyboard.press("Control+C")
        copied = visit.page.evaluate("navigator.clipboard.readText()")
        self.assertTrue(copied.startswith(r"Let $S(x) = \sum_{n \ge 1} \frac{x^n}{n^2}$ for $|x| \le 1$. Then"), copied)
        self.assertIn(r"$$\zeta(2) = S(1) = \sum_{n=1}^{\infty} \frac{1}{n^2} = \frac{\pi^2}{6}.$$", copied)

    def test_events_however_they_are_cut(self):
        visit = self.visit()
        shown = visit.page.evaluate("""async (text) => {
          const { EventParser } = await import('./js/sse.js');
          const shown = new Set();
          for (let cut = 0; cut <= text.length; ++cut) {
            const parser = new EventParser();
            shown.add(JSON.stringify([...parser.feed(text.slice(0, cut)), ...parser.feed(text.slice(cut))]));
          }
          return [...shown];
        }""", ": a comment\r\ndata: {\"a\":1}\r\n\r\nevent: odd\r\ndata:two\r\ndata: lines\n\nretry: 5\n\ndata\r\rdata: [DONE]\n\ndata: cut off")
        self.assertEqual([json.loads(one) for one in shown], [[
            {"event": "message", "data": '{"a":1}'}, {"event": "odd", "data": "two\nlines"}, {"event": "message", "data": ""},
            {"event": "message", "data": "[DONE]"}]])

    def test_stop(self):
        visit = self.visit()
        gone = self.server.gone
        visit.page.click("#think-toggle")
        self.paused(visit, "slow primes")
        visit.page.click("#send[aria-label=Stop]")
        visit.done()
        self.assertIn("Stopped.", visit.last().inner_text())
        self.assertNotIn("1060.", visit.last().locator(".content").inner_text()[60:])
        deadline = time.monotonic() + chromium.PATIENCE / 1000
        while self.server.gone == gone and time.monotonic() < deadline:  # the server hears of it
            time.sleep(0.05)
        self.assertEqual(self.server.gone, gone + 1)

    def test_settings_reach_the_server(self):
        visit = self.visit()
        visit.page.click("#open-settings")
        for name, value in {"system": "Be brief.", "temperature": "0.6", "topP": "0.9", "maxTokens": "77", "budget": "20", "seed": "5"}.items():
            visit.page.fill(f"[data-setting={name}]", value)
        visit.page.keyboard.press("Escape")
        visit.ask("short")
        request = self.server.last_request
        self.assertEqual(request["messages"][0], {"role": "system", "content": "Be brief."})
        self.assertEqual([request[name] for name in ("temperature", "top_p", "max_completion_tokens", "thinking_budget", "seed")], [0.6, 0.9, 77, 20, 5])
        visit.page.click("#think-toggle")
        visit.ask("short")
        request = self.server.last_request
        self.assertEqual(request["chat_template_kwargs"], {"enable_thinking": False})
        self.assertNotIn("thinking_budget", request)
        self.assertFalse(visit.last().locator(".thinking").is_visible())
        visit.ask("primes please")
        self.assertIn("limit of new tokens", visit.last().inner_text())

    def test_answer_again_edit_and_versions(self):
        visit = self.visit()
        visit.ask("short")
        visit.last().locator("[aria-label='Answer again']").click()
        visit.page.wait_for_selector(".message.assistant .versions")
        visit.done()
        self.assertEqual(visit.last().locator(".versions span").inner_text(), "2/2")
        visit.page.locator(".message.user").hover()
        visit.page.click(".message.user [aria-label=Edit]")
        visit.page.fill(".edit textarea", "short, edited")
        visit.page.press(".edit textarea", "Enter")
        visit.page.wait_for_selector(".message.user .versions")
        visit.done()
        self.assertEqual(self.server.last_request["messages"], [{"role": "user", "content": "short, edited"}])
        visit.page.click(".message.user [aria-label='Earlier version']")
        visit.until("document.querySelector('.bubble').textContent === 'short'")
        self.assertEqual(visit.page.locator(".message").count(), 2)

    def test_edit_and_delete_while_it_is_written(self):
        visit = self.visit()
        visit.page.click("#think-toggle")
        self.paused(visit, "slow primes")
        visit.page.hover(".message.user")
        visit.page.click(".message.user [aria-label=Edit]")
        visit.page.fill(".edit textarea", "slow primes, edited")
        visit.page.press(".edit textarea", "Enter")
        visit.until("document.querySelector('.bubble')?.textContent === 'slow primes, edited'")
        visit.page.wait_for_selector(".message.assistant .prose p")
        visit.page.wait_for_timeout(500)
        self.assertEqual(visit.page.get_attribute("#send", "aria-label"), "Stop")  # the second goes on
        visit.page.hover(".entry")
        visit.page.click(".entry [aria-label^=Delete]")
        visit.page.click("#ask-ok")
        visit.page.wait_for_selector("#welcome", state="visible")
        visit.page.wait_for_timeout(2500)  # longer than it takes to be saved
        visit.page.reload()
        visit.page.wait_for_selector(".conversations .empty")

    def test_failures_are_told_and_tried_again(self):
        visit = self.visit()
        visit.ask("refuse")
        self.assertIn("The queue is full. It asks to wait 3.0 s.", visit.last().locator("[role=alert]").inner_text())
        visit.ask("wrong field")
        self.assertIn("temperature must lie", visit.last().locator("[role=alert]").inner_text())
        visit.ask("break off, primes")
        self.assertIn("ended before the answer did", visit.last().locator("[role=alert]").inner_text())
        visit.last().locator("text=Try again").click()
        visit.until("document.querySelector('.message.assistant:last-child .versions')?.textContent.includes('2/2')")
        # What the browser says of the two refusals; they were wanted.
        visit.errors[:] = [error for error in visit.errors if "Failed to load resource" not in error]


class ConversationsTest(PageCase):
    """What the browser keeps."""

    def test_history_survives_a_reload(self):
        visit = self.visit()
        visit.ask("short one")
        visit.page.click("#new-chat")
        visit.ask("primes, the second")
        before = visit.last().locator(".content").inner_text()
        visit.page.reload()
        visit.page.wait_for_selector(".message.assistant .actions")
        self.assertEqual(visit.last().locator(".content").inner_text(), before)
        self.assertEqual(visit.page.locator(".entry").count(), 2)
        visit.page.fill("#search", "four")  # in the text of the first
        self.assertEqual(visit.page.locator(".entry-open").all_inner_texts(), ["short one"])
        visit.page.click(".entry-open")
        visit.until("document.querySelector('.bubble').textContent === 'short one'")

    def test_a_reload_in_the_middle_keeps_what_came(self):
        visit = self.visit()
        visit.page.click("#think-toggle")
        self.paused(visit, "slow primes")
        visit.page.wait_for_timeout(2500)
        visit.page.reload()
        visit.page.wait_for_selector(".message.assistant .cut")
        self.assertIn("Interrupted", visit.last().inner_text())
        self.assertIn("The sum of all primes", visit.last().inner_text())

    def test_other_conversations_while_one_is_written(self):
        visit = self.visit()
        visit.page.click("#think-toggle")
        self.paused(visit, "slow primes")
        visit.page.click("#new-chat")
        visit.ask("short")
        self.assertEqual(visit.page.locator(".entry.busy").count(), 1)
        visit.page.click(".entry.busy .entry-open")
        visit.page.wait_for_selector("#send[aria-label=Stop]")
        length = "document.querySelector('.message.assistant .content').textContent.length"
        before = visit.page.evaluate(length)
        visit.until(f"{length} > {before}")
        visit.page.click("#send")
        visit.done()

    def test_rename_export_delete_import(self):
        visit = self.visit()
        visit.ask("short")
        visit.page.hover(".entry")
        visit.page.click(".entry [aria-label^=Rename]")
        visit.page.fill("#ask-input", "A new name")
        visit.page.press("#ask-input", "Enter")
        visit.until("document.querySelector('.entry-open').textContent === 'A new name'")
        self.assertEqual(visit.page.inner_text("#title"), "A new name")
        visit.page.click("#open-settings")
        with visit.page.expect_download() as download, tempfile.TemporaryDirectory() as directory:
            visit.page.click("#export-all")
            file = pathlib.Path(directory) / "out.json"
            download.value.save_as(file)
            exported = json.loads(file.read_text())
        self.assertEqual(exported["conversations"][0]["title"], "A new name")
        visit.page.click("#delete-all")
        visit.page.click("#ask-ok")
        visit.page.wait_for_selector(".conversations .empty")
        # Once as it was, once as somebody hostile would write it.
        nodes = exported["conversations"][0]["nodes"]
        exported["conversations"] += [{"title": {"x": 1}, "nodes": [
            {"id": "a", "parent": "b", "role": "assistant", "content": "<img src=x onerror=window.pwned=1>", "stats": {"rate": "<b>"}},
            {"id": "b", "parent": "a", "role": "user", "content": 7}, {"id": "c", "role": "system", "content": "no"}, None]}, {"nodes": 3}, None]
        visit.page.click("#open-settings")
        visit.page.set_input_files("#import-file", {"name": "in.json", "mimeType": "application/json", "buffer": json.dumps(exported).encode()})
        visit.until("document.querySelectorAll('.entry').length === 2")
        visit.page.set_input_files("#import-file", {"name": "in.json", "mimeType": "application/json", "buffer": b"[1, 2"})
        visit.page.wait_for_selector("text=The file is not JSON.")
        visit.page.keyboard.press("Escape")
        for entry in visit.page.locator(".entry-open").all():
            entry.click()
            visit.page.wait_for_selector(".message .actions")
        self.assertIsNone(visit.page.evaluate("window.pwned ?? null"))
        self.assertEqual(len(nodes), 2)
