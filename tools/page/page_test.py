#!/usr/bin/env python3
"""The page in a real Chromium, against the stand-in server: `./dev page` runs it.

With --server URL a few of the tests, those that need no canned answers, run against a `zaya serve` that is up.
Every visit ends with two checks: the console had nothing to complain about, and no request went anywhere else.
"""

import json
import pathlib
import random
import sys
import tempfile
import time
import unittest

import browser as chromium
import sample_run

SERVER = None  # --server


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mock = chromium.mock()
        cls.server, cls.address = cls.mock.__enter__()
        cls.launched = chromium.chromium()
        cls.browser = cls.launched.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.launched.__exit__(None, None, None)
        cls.mock.__exit__(None, None, None)

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

    # -- the way of a question -------------------------------------------------------------------------------------

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

    def test_failures_are_told_and_tried_again(self):
        visit = self.visit()
        visit.ask("refuse")
        self.assertIn("The queue is full.", visit.last().locator("[role=alert]").inner_text())
        visit.ask("wrong field")
        self.assertIn("temperature must lie", visit.last().locator("[role=alert]").inner_text())
        visit.ask("break off, primes")
        self.assertIn("ended before the answer did", visit.last().locator("[role=alert]").inner_text())
        visit.last().locator("text=Try again").click()
        visit.until("document.querySelector('.message.assistant:last-child .versions')?.textContent.includes('2/2')")
        # What the browser says of the two refusals; they were wanted.
        visit.errors[:] = [error for error in visit.errors if "Failed to load resource" not in error]

    # -- conversations ---------------------------------------------------------------------------------------------

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

    # -- what a model may write ------------------------------------------------------------------------------------

    def test_a_hostile_answer_does_nothing(self):
        visit = self.visit()
        before = visit.page.evaluate("[location.href.split('#')[0], document.querySelectorAll('body *').length]")
        visit.ask("hostile")
        page, last = visit.page, visit.last()
        page.wait_for_selector("text=The end of the hostile answer.")
        last.locator(".thinking summary").click()
        page.wait_for_timeout(300)
        self.assertIsNone(page.evaluate("window.pwned ?? null"))
        self.assertEqual(page.evaluate("location.href.split('#')[0]"), before[0])
        self.assertIn("The end of the hostile answer.", last.inner_text())
        found = page.evaluate("""() => {
          const content = document.querySelector('.message.assistant .content'), all = [...content.querySelectorAll('*')];
          return {
            elements: all.filter((e) => /^(script|img|iframe|object|embed|style|link|meta|base|form|input|video|audio|template|noscript)$/i.test(e.localName)).map((e) => e.outerHTML),
            handlers: all.flatMap((e) => [...e.attributes].filter((a) => /^on|^(id|name|srcset|formaction|action)$/i.test(a.name)).map((a) => a.name)),
            hrefs: [...content.querySelectorAll('[href]')].map((a) => a.getAttribute('href')),
            targets: [...content.querySelectorAll('a')].map((a) => a.target + ' ' + a.rel),
            fixed: all.filter((e) => getComputedStyle(e).position === 'fixed').length,
            wide: content.scrollWidth - content.clientWidth,
          };
        }""")
        self.assertEqual(found["elements"], [])
        self.assertEqual([name for name in found["handlers"]], [])
        self.assertTrue(all(href.startswith(("https://example.org", "http://127.0.0.1:9/")) for href in found["hrefs"]), found["hrefs"])
        self.assertEqual(set(found["targets"]), {"_blank noopener noreferrer nofollow"})
        self.assertEqual(found["fixed"], 0)
        self.assertLessEqual(found["wide"], 1)
        page.reload()
        page.wait_for_selector(".message.assistant .actions")
        self.assertIsNone(page.evaluate("window.pwned ?? null"))

    def test_a_long_answer_keeps_the_page_alive(self):
        visit = self.visit()
        # What the page does at a time, as far as it is not the machine's other work: the median and the sum would
        # grow if every piece rendered all that stands above it.
        visit.page.evaluate("""() => {
          window.work = [];
          const own = window.setTimeout;
          window.setTimeout = (task, ...rest) => own(() => { const start = performance.now(); task(); window.work.push(performance.now() - start); }, ...rest);
        }""")
        visit.page.click("#think-toggle")
        visit.ask("long", wait=False)
        visit.page.wait_for_selector("text=Section 3")
        kept = visit.page.evaluate_handle("document.querySelector('.message.assistant .content > *')")
        visit.done()
        last = visit.last()
        visit.page.wait_for_selector("text=The end of the long answer.")
        self.assertEqual(last.locator(".codebox").count(), 140)
        self.assertEqual(last.locator("ol li").count(), 700)
        # The first element is the one that was there from the beginning.
        self.assertTrue(visit.page.evaluate("(first) => first === document.querySelector('.message.assistant .content > *')", kept))
        text = visit.page.evaluate("document.querySelector('.message.assistant .content').textContent.length")
        self.assertGreater(text, 80000)
        work = sorted(visit.page.evaluate("window.work"))
        print(f"\n  long answer: {len(work)} renderings, median {work[len(work) // 2]:.1f} ms, longest {work[-1]:.0f} ms, all {sum(work):.0f} ms")
        visit.page.click("#new-chat")
        visit.page.click(".entry-open")
        visit.page.wait_for_selector("text=The end of the long answer.")
        self.assertEqual(visit.page.evaluate("document.querySelector('.message.assistant .content').textContent.length"), text)

    def test_an_endless_line(self):
        visit = self.visit()
        visit.ask("endless")
        visit.page.wait_for_selector("text=The end of the line.")
        self.assertEqual(visit.page.evaluate("document.querySelector('.message.assistant .content').textContent.match(/x/g).length"), 120000)

    def test_pieces_do_not_matter(self):
        """However an answer is cut, it ends as the same elements."""
        visit = self.visit()
        result = visit.page.evaluate("""async ([text, cuts]) => {
          const { StreamView } = await import('./js/stream_view.js');
          const shown = [];
          for (const cut of cuts) {
            const root = document.createElement('div'), view = new StreamView(root);
            for (let at = 0; at < text.length; at += cut) {
              view.append(text.slice(at, at + cut));
              if (cut < text.length) await new Promise((done) => setTimeout(done, at % 7 ? 0 : 45));
            }
            await view.finish();
            shown.push(root.innerHTML);
          }
          return shown;
        }""", [CUT_TEXT, [1, 5, 17, 10**6]])
        self.assertEqual(len(set(result)), 1)
        for part in ("<table>", "hl-k", "katex-display", "<ol>", "\tindented by a tab", "<blockquote>", "```"):
            self.assertIn(part, result[0])

    # -- keys, phones, appearances ---------------------------------------------------------------------------------

    def test_keyboard_alone(self):
        visit = self.visit()
        page = visit.page
        visit.until("document.activeElement.id === 'composer-text'")
        page.keyboard.type("short")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("second line")
        page.keyboard.press("Enter")
        visit.done()
        self.assertEqual(page.inner_text(".bubble"), "short\nsecond line")
        page.keyboard.press("Alt+R")
        page.wait_for_selector(".versions")
        visit.done()
        page.keyboard.press("ArrowUp")  # in the empty box: edit what was said last
        page.wait_for_selector(".edit textarea")
        page.keyboard.press("Escape")
        visit.until("document.activeElement.getAttribute('aria-label') === 'Edit'")
        page.keyboard.press("/")
        page.keyboard.type("slow primes")
        page.keyboard.press("Alt+T")
        page.keyboard.press("Enter")
        page.wait_for_selector("#send[aria-label=Stop]")
        page.keyboard.press("Escape")
        visit.done()
        page.keyboard.press("?")
        page.wait_for_selector("#keys[open]")
        page.keyboard.press("Escape")
        page.keyboard.press("Alt+K")
        visit.until("document.activeElement.id === 'search'")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.keyboard.press("Alt+N")
        page.wait_for_selector("#welcome")
        page.keyboard.press("Alt+B")
        page.wait_for_selector(".drop")

    def test_everything_has_a_name(self):
        visit = self.visit()
        visit.ask("primes")
        visit.page.click("#open-settings")
        nameless = visit.page.evaluate("""() => [...document.querySelectorAll('button, input, select, textarea, a[href], [role=button], summary')]
          .filter((e) => !e.hidden && e.type !== 'file' && !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length || e.getAttribute('aria-labelledby')))
          .map((e) => e.outerHTML)""")
        self.assertEqual(nameless, [])
        self.assertEqual(visit.page.evaluate("document.querySelectorAll('main:not([hidden])').length"), 1)

    def test_phone(self):
        visit = self.visit(size=(360, 700), is_mobile=True, has_touch=True, device_scale_factor=2)
        page = visit.page
        self.assertFalse(page.locator("#new-chat").is_visible())
        visit.ask("some math")
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 360)
        box = page.locator("#send").bounding_box()
        self.assertLessEqual(box["x"] + box["width"], 360)
        self.assertLessEqual(box["y"] + box["height"], 700)
        page.tap("#sidebar-open")
        page.wait_for_selector("#new-chat", state="visible")
        page.tap("#new-chat")
        page.wait_for_selector("#welcome")
        visit.until("document.body.classList.contains('sidebar-hidden')")

    def test_appearance_follows_the_system_until_chosen(self):
        visit = self.visit(color_scheme="dark")
        theme = "document.documentElement.dataset.theme"
        self.assertEqual(visit.page.evaluate(theme), "dark")
        visit.page.emulate_media(color_scheme="light")
        visit.until(f"{theme} === 'light'")
        visit.page.click("#theme-toggle")
        self.assertEqual(visit.page.evaluate(theme), "dark")
        visit.page.reload()
        visit.page.wait_for_selector(".dot.up")
        self.assertEqual(visit.page.evaluate(theme), "dark")

    def test_text_is_readable_in_both_appearances(self):
        """Contrast of what is read, as WCAG computes it: 4.5 or more."""
        for scheme in ("light", "dark"):
            visit = self.visit(color_scheme=scheme)
            visit.ask("primes")
            worst = visit.page.evaluate(CONTRAST)
            self.assertGreaterEqual(worst[0], 4.5, f"{scheme}: {worst}")

    # -- the board -------------------------------------------------------------------------------------------------

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
        self.assertEqual(self.server.last_request["markovian_rsa"], {"preset": "small"})
        self.assertEqual(visit.page.locator(".message-board .candidate.done").count(), 48)
        self.assertLessEqual(visit.page.evaluate("document.querySelector('.board-picture').getBoundingClientRect().right"), 390)
        visit.page.reload()
        visit.page.wait_for_selector(".message-board .vote.won")
        visit.page.locator("text=Open on the board").tap()
        visit.page.wait_for_selector(".board-stage .vote.won")
        visit.page.locator(".board-stage [data-name='0:0']").tap()
        visit.page.wait_for_selector(".trace-panel:not([hidden])")


CUT_TEXT = """# Title

A paragraph with **bold**, `code`, $x^2$ and a [link](https://example.org/).
It goes on.

- one
- two

  with a paragraph
- three

1. first

```python
def f(x):
\treturn "``` not a fence"

# a comment
```
2. second
   ```sh
   ls -l
   ```

| a | b |
|--:|---|
| 1 | $y$ |

\\[
\\frac{1}{2}
\\]

> quoted
> twice

~~~
\tindented by a tab
```
~~~

Setext
------
The end with $5 and $6.\r
"""

CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const rgb = (colour, ground) => {
    canvas.fillStyle = `rgb(${ground})`; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (c) => { const [r, g, b] = c.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (e) => e === null ? [255, 255, 255] : rgb(getComputedStyle(e).backgroundColor, ground(e.parentElement));
  let worst = [99, ''];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || e.closest('.visually-hidden, .katex-mathml, :disabled, .toast')) continue;
    const back = ground(e), front = rgb(getComputedStyle(e).color, back), [a, b] = [light(back), light(front)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < worst[0]) worst = [Math.round(ratio * 100) / 100, e.outerHTML.slice(0, 120)];
  }
  return worst;
}"""


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


if __name__ == "__main__":
    if "--server" in sys.argv:
        at = sys.argv.index("--server")
        SERVER = sys.argv[at + 1].rstrip("/") + "/"
        del sys.argv[at:at + 2]
        del PageTest
    else:
        del ServerTest
    unittest.main(verbosity=2)
