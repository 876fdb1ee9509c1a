"""What a model may write, and what people see of it: hostile and long answers, keys, phones, appearances."""

from cases import PageCase

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


class AnswersTest(PageCase):
    """What a model may write."""

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

    def test_arithmetic_and_lines_stay_as_they_are(self):
        visit = self.visit()
        shown = visit.page.evaluate("""async () => {
          const { StreamView } = await import('./js/stream_view.js');
          const root = document.body.appendChild(document.createElement('div'));
          await new StreamView(root).set('47*86 6*7+0=42|2\\n6*4+4=28, *em* and **strong** and a*(b+c)*d');
          return [root.innerText, root.querySelectorAll('em').length, root.querySelectorAll('strong').length];
        }""")
        self.assertEqual(shown, ["47*86 6*7+0=42|2\n6*4+4=28, em and strong and a*(b+c)*d", 1, 1])

    def test_what_stands_is_not_rendered_again(self):
        """The work grows with an answer's length, not with its square: elements are made once, but for those at the end."""
        visit = self.visit()
        made, there = visit.page.evaluate("""async () => {
          const { StreamView } = await import('./js/stream_view.js');
          const root = document.createElement('div'), view = new StreamView(root);
          let made = 0;
          const count = (records) => { for (const { addedNodes } of records) made += addedNodes.length; };
          const observer = new MutationObserver(count);
          observer.observe(root, { childList: true });
          for (let number = 0; number < 120; ++number) {
            view.append(`Paragraph ${number} of many.\\n\\n`);
            await new Promise((done) => setTimeout(done, 60));
          }
          await view.finish();
          count(observer.takeRecords());
          return [made, root.children.length];
        }""")
        self.assertEqual(there, 120)
        self.assertLess(made, 8 * there)

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
        }""", [CUT_TEXT, [1, 2, 3, 5, 17, 10**6]])
        self.assertEqual(len(set(result)), 1)
        for part in ("<table>", "hl-k", "katex-display", "<ol>", "\tindented by a tab", "<blockquote>", "```"):
            self.assertIn(part, result[0])


class UseTest(PageCase):
    """By keyboard, on phones, in light and dark."""

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
