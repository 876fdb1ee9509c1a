"""What the stand-in server says. The hostile answer holds what must do nothing on the page."""

DEFAULT = """The sum of all primes below 100 is **1060**.

There are 25 of them, from $2$ to $97$. Adding them in decades keeps the arithmetic easy to check:

| decade | primes | sum |
|:--|:--|--:|
| 0–9 | 2, 3, 5, 7 | 17 |
| 10–19 | 11, 13, 17, 19 | 60 |
| 20–29 | 23, 29 | 52 |
| 30–39 | 31, 37 | 68 |
| 40–99 | 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97 | 863 |

Adding the last column gives $17 + 60 + 52 + 68 + 863 = \\boxed{1060}$.

A few lines of Python agree:

```python
def primes_below(limit):
    \"\"\"The sieve of Eratosthenes.\"\"\"
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\\0\\0"
    for n in range(2, int(limit ** 0.5) + 1):
        if sieve[n]:
            sieve[n * n::n] = bytes(len(sieve[n * n::n]))
    return [n for n in range(limit) if sieve[n]]

print(sum(primes_below(100)))  # 1060
```
"""

MATH = """Let $S(x) = \\sum_{n \\ge 1} \\frac{x^n}{n^2}$ for $|x| \\le 1$. Then

$$\\zeta(2) = S(1) = \\sum_{n=1}^{\\infty} \\frac{1}{n^2} = \\frac{\\pi^2}{6}.$$

**Euler's product.** Since $\\sin(\\pi x)$ vanishes exactly at the integers,

\\[
\\frac{\\sin \\pi x}{\\pi x} = \\prod_{n=1}^{\\infty} \\left(1 - \\frac{x^2}{n^2}\\right),
\\]

and comparing the coefficients of \\(x^2\\) on both sides gives

\\begin{align}
-\\frac{\\pi^2}{6} &= -\\sum_{n=1}^{\\infty} \\frac{1}{n^2} \\\\
\\sum_{n=1}^{\\infty} \\frac{1}{n^2} &= \\boxed{\\frac{\\pi^2}{6}}
\\end{align}

A matrix for good measure: $\\begin{pmatrix} \\cos\\theta & -\\sin\\theta \\\\ \\sin\\theta & \\cos\\theta \\end{pmatrix}$ turns the plane by $\\theta$. It costs $5 and $10 to print, which is no formula.
"""

HOSTILE = """Before <script>window.pwned = 1</script> after.

<img src=x onerror="window.pwned = 2"> <img src="http://127.0.0.1:9/leak.png"> <svg onload="window.pwned = 3"><a xlink:href="javascript:window.pwned=4"><text>svg</text></a></svg>

<iframe srcdoc="<script>parent.pwned = 5</script>"></iframe><object data="data:text/html,<script>parent.pwned=6</script>"></object>

[click](javascript:window.pwned=7) [data](data:text/html;base64,PHNjcmlwdD5wYXJlbnQucHduZWQ9ODwvc2NyaXB0Pg==) [vb](vbscript:x) <a href="&#106;avascript:window.pwned=9">entity</a> <a href="java
script:window.pwned=10">line</a> [ok](https://example.org/)

![picture](http://127.0.0.1:9/picture.png) ![x](javascript:window.pwned=11 "t\\" onerror=\\"window.pwned=12")

<style>body { display: none }</style><link rel=stylesheet href="http://127.0.0.1:9/x.css"><meta http-equiv=refresh content="0;url=http://127.0.0.1:9/"><base href="http://127.0.0.1:9/">

<form action="http://127.0.0.1:9/"><input name=body><button formaction="javascript:window.pwned=13">go</button></form>

<div id="composer-text" class="settings" style="position:fixed;inset:0;background:red" onclick="window.pwned=14">overlay</div>

<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=window.pwned=15&gt;">

<noscript><p title="</noscript><img src=x onerror=window.pwned=16>"></noscript><template><script>window.pwned=17</script></template>

$\\href{javascript:window.pwned=18}{x}$ $\\includegraphics{http://127.0.0.1:9/m.png}$ $\\htmlData{a=b}{x}$ $\\def\\a{\\a\\a}\\a$ $\\rule{99999em}{99999em}$

<span data-math="\\href{javascript:window.pwned=19}{y}"></span> <details open ontoggle="window.pwned=20"><summary>s</summary>d</details>

```html
<script>window.pwned = 21</script>
```

`<img src=x onerror=window.pwned=22>` <b>bold <i>nested <a href="https://example.org" onmouseover="window.pwned=23" target="_self">deep</b></i></a>

""" + ">" * 3000 + " deep quotes\n\n" + "- " * 400 + "deep list\n\n" + "<div>" * 3000 + "deep elements\n\n" + "*a " * 6000 + "\n\n" + \
    "[" * 5000 + "\n\nThe end of the hostile answer."


def long_answer():
    """Some 120,000 characters of everything."""
    parts = []
    for number in range(1, 141):
        parts.append(f"## Section {number}\n\nThe value is $x_{{{number}}} = {number}^2 = {number * number}$, so **nothing** is left to "
                     f"chance in `part {number}`; [a link](https://example.org/{number}) leads on. " + "Words follow words. " * 18 + "\n\n"
                     + "".join(f"{item}. item {item} of section {number}, with $\\frac{{{item}}}{{{number}}}$\n" for item in range(1, 6))
                     + f"\n```cpp\nint section_{number}() {{ return {number} * {number}; }}  // a comment\n```\n\n")
    return "".join(parts) + "The end of the long answer."


ANSWERS = {
    "math": MATH,
    "1/n²": MATH,
    "hostile": HOSTILE,
    "long": long_answer,
    "endless": "x" * 120000 + "\n\nThe end of the line.",
    "short": "Four.",
    "two and two": "Four.",
    "default": DEFAULT,
}
REASONING = {
    "default": """The user wants the sum of all primes below 100. Let me list them by decades.

2, 3, 5, 7 make 17. Then 11 + 13 + 17 + 19 = 60. In the twenties there are only 23 and 29, so 52. The thirties give 31 + 37 = 68.

The forties: 41 + 43 + 47 = 131. Fifties: 53 + 59 = 112. Sixties: 61 + 67 = 128. Seventies: 71 + 73 + 79 = 223. Eighties: 83 + 89 = 172. Nineties: 97.

So far: $17 + 60 = 77$, $77 + 52 = 129$, $129 + 68 = 197$, $197 + 131 = 328$, $328 + 112 = 440$, $440 + 128 = 568$, $568 + 223 = 791$, $791 + 172 = 963$, $963 + 97 = 1060$.

Let me check the count: 4 + 4 + 2 + 2 + 3 + 2 + 2 + 3 + 2 + 1 = 25, and $\\pi(100) = 25$. Good.
""",
    "short": "Two and two.",
    "two and two": "Two and two.",
    "hostile": "<script>window.pwned = 30</script> thinking <img src=x onerror=window.pwned=31> about it",
    "endless": "y" * 30000,
    "long": "Planning the sections.\n\n" * 200,
}
