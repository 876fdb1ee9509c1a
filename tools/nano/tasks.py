"""Conversations about integer arithmetic, with worked steps, for the embedded demo model.

Every example is a list of chat messages plus the text the assistant should write: the steps (which go inside the
think block) and a one-sentence answer. The steps are written so that each line needs only a lookup in a small table
and digits that are easy to find:

* columns run from the last digit to the first, one line each: `7+6+0=13|3` is "7 plus 6 plus carry 0 makes 13", and
  what stands behind the bar are the result's digits found so far. The carry of the next line is the first digit of
  the sum on this one; the place of the column is the number of digits behind the bar.
* a subtraction first compares the numbers, digit by digit from the left (`3?3=,4?6<`) or by their number of digits
  (`#4?2>`), and swaps them when the result is negative. `12-8-0=4|4` has borrowed; the next line then subtracts 1 more.
* a product is one block of columns for each non-zero digit of the shorter factor (`*50` starts its digits with the
  zero), added up as soon as there are two.
* a long division goes from the left: `27/6=4(24)r3|14` is "6 goes 4 times, that is 24, remainder 3".
* an expression of three numbers is rewritten after every operation.

Problems are drawn from a `random.Random`, so a seed fixes them. `held_out` keeps one problem in 32 away from training.
"""

import random
import zlib

MAX_DIGITS = 6


def held_out(op, a, b):
    """True for problems that training never shows; only those with an operand of two digits or more qualify."""
    return max(a, b) >= 10 and zlib.crc32(f"{a}{op}{b}".encode()) % 32 == 0


# ---------------------------------------------------------------------------------------------------------------------
# Worked steps. Each function returns a list of lines, the last of which is "=" and the result.


def digits(n):
    """Digits from the last to the first."""
    return [int(c) for c in reversed(str(n))]


def add_columns(a, b):
    lines, carry, found = [], 0, ""
    da, db = digits(a), digits(b)
    width = max(len(da), len(db))
    for i in range(width):
        x = da[i] if i < len(da) else 0
        y = db[i] if i < len(db) else 0
        total = x + y + carry
        found = (str(total) if i == width - 1 else str(total % 10)) + found
        lines.append(f"{x}+{y}+{carry}={total}|{found}")
        carry = total // 10
    return lines


def add_steps(a, b):
    return [f"{a}+{b}", *add_columns(a, b), f"={a + b}"]


def compare_line(a, b):
    """Why a < b, a > b or a = b: by number of digits, else the digits from the left up to the first difference."""
    sign = lambda x, y: "<" if x < y else ">" if x > y else "="
    sa, sb = str(a), str(b)
    if len(sa) != len(sb):
        return f"#{len(sa)}?{len(sb)}{sign(len(sa), len(sb))}"
    pairs = []
    for x, y in zip(sa, sb):
        pairs.append(f"{x}?{y}{sign(x, y)}")  # the sign last: both digits are at hand by then
        if x != y:
            break
    return ",".join(pairs)


def compare_steps(a, b):
    sign = "<" if a < b else ">" if a > b else "="
    return [f"{a}?{b}", compare_line(a, b), f"{a}{sign}{b}"]


def sub_columns(a, b):
    lines, borrow, found = [], 0, ""
    da, db = digits(a), digits(b)
    for i, x in enumerate(da):
        y = db[i] if i < len(db) else 0
        if x - y - borrow < 0:
            x += 10
        rest = x - y - borrow
        found = str(rest) + found
        lines.append(f"{x}-{y}-{borrow}={rest}|{found}")
        borrow = x // 10
    return lines


def sub_steps(a, b):
    lines = [f"{a}-{b}", compare_line(a, b)]
    if a < b:
        lines += [f"-({b}-{a})", *sub_columns(b, a)]
    elif a > b:
        lines += sub_columns(a, b)
    return lines + [f"={a - b}"]


def mul_columns(a, digit, zeros):
    lines, carry, found = [], 0, "0" * zeros
    da = digits(a)
    for i, x in enumerate(da):
        total = x * digit + carry
        found = (str(total) if i == len(da) - 1 else str(total % 10)) + found
        lines.append(f"{x}*{digit}+{carry}={total}|{found}")
        carry = total // 10
    return lines


def mul_steps(a, b):
    top, bottom = (b, a) if len(str(a)) < len(str(b)) else (a, b)
    lines, total = [f"{top}*{bottom}"], None
    if top and bottom:
        for zeros, digit in enumerate(digits(bottom)):
            if digit == 0:
                continue
            part = top * digit * 10**zeros
            lines += [f"*{digit}" + "0" * zeros, *mul_columns(top, digit, zeros)]
            if total is None:
                total = part
            else:
                lines += [f"{total}+{part}", *add_columns(total, part)]
                total += part
    return lines + [f"={a * b}"]


def div_steps(a, b):
    lines, rest, found = [f"{a}/{b}"], 0, ""
    for c in str(a):
        value = rest * 10 + int(c)
        rest = value % b
        found += str(value // b)
        lines.append(f"{value}/{b}={value // b}({value - rest})r{rest}|{found}")
    return lines + [f"={a // b}" + (f"r{rest}" if rest else "")]


STEPS = {"+": add_steps, "-": sub_steps, "*": mul_steps, "/": div_steps}
APPLY = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a // b}


# ---------------------------------------------------------------------------------------------------------------------
# Problems: each returns (question, steps, answer).

NAMES = (
    "Anna Ben Clara David Emma Felix Grace Henry Ida Jack Kate Leo Maria Nina Oscar Paul Rosa Sam Tina Tom Mia "
    "Noah Olivia Liam Lucy Max"
).split()
ITEMS = (
    "apples books pens coins stamps cards marbles eggs stickers balls flowers cookies oranges pencils shells "
    "stones tickets cups bottles toys"
).split()
PLACES = (
    "France Japan Italy Brazil Canada Egypt Norway Kenya India China Spain Peru Germany Poland Greece "
    "Australia Mexico Turkey"
).split()
TOPICS = (
    "music history cats dogs football cooking poetry physics trees the moon the weather chess the ocean birds "
    "art politics philosophy trains movies coffee gardening space dinosaurs love Paris computers"
).split()
WORDS = (
    "the a my your big small red old new house car river city story day night friend idea green light water dream "
    "book music world people time year way thing man woman child school state family student group country "
    "problem hand part place case week company system program question work night point home room mother area "
    "money fact month right study job word business issue side kind head service power is was has are do make "
    "know think see come want look use find give tell ask seem feel try leave call good first last long great "
    "little own other some about with from into over after why when where how who which could would should please "
    "write explain describe translate sing play run walk eat sleep read"
).split()

OPS = {
    "+": ("+", "+", "+", "+", "plus"),
    "-": ("-", "-", "-", "-", "minus", "−"),
    "*": ("*", "*", "*", "x", "×", "times", "times", "multiplied by"),
    "/": ("/", "/", "/", "÷", "divided by", ":"),
}
FORMS = (
    "What is {e}?",
    "What is {e}?",
    "What is {e}?",
    "What's {e}?",
    "Compute {e}.",
    "Compute {e}",
    "Calculate {e}.",
    "{e}",
    "{e}",
    "{e} =",
    "{e} = ?",
    "{e}=",
    "{e}=?",
    "How much is {e}?",
    "How much is {e}?",
    "Solve {e}.",
    "Please compute {e}.",
    "Please calculate {e}.",
    "Can you tell me what {e} is?",
    "Evaluate {e}.",
    "Evaluate: {e}",
    "Hey, what is {e}?",
    "Hi! What is {e}?",
    "I need {e}.",
    "Tell me {e}.",
    "Work out {e}.",
    "What does {e} equal?",
    "What is the result of {e}?",
    "Find {e}.",
    "Could you compute {e} for me?",
    "What is the value of {e}?",
    "Give me {e}.",
)
SPOKEN = {
    "+": ("Add {a} and {b}.", "Add {b} to {a}.", "What is the sum of {a} and {b}?", "Find the sum of {a} and {b}."),
    "-": ("Subtract {b} from {a}.", "What is the difference between {a} and {b}?", "Take {b} away from {a}."),
    "*": (
        "Multiply {a} by {b}.",
        "Multiply {a} and {b}.",
        "What is the product of {a} and {b}?",
        "Find the product of {a} and {b}.",
    ),
    "/": ("Divide {a} by {b}.", "What is {a} divided by {b}, with remainder?", "How many times does {b} go into {a}?"),
}


def casual(rng, text):
    """Some people write without capitals or closing marks."""
    if rng.random() < 0.2:
        text = text[0].lower() + text[1:]
    if rng.random() < 0.15 and text[-1] in ".?":
        text = text[:-1]
    return text


def joined(rng, op, a, b):
    sign = rng.choice(OPS[op])
    wide = sign.isalpha() or len(sign) > 1 or rng.random() < 0.6
    return f"{a} {sign} {b}" if wide else f"{a}{sign}{b}"


def ask(rng, op, a, b):
    if rng.random() < 0.15:
        text = rng.choice(SPOKEN[op]).format(a=a, b=b)
    else:
        text = rng.choice(FORMS).format(e=joined(rng, op, a, b))
    return casual(rng, text)


def number(rng, low, high):
    """A number whose count of digits, not value, is uniform; small chance of many zeros or nines."""
    n = rng.randint(low, high)
    value = rng.randrange(10 ** (n - 1) if n > 1 else 0, 10**n)
    shape = rng.random()
    if n > 1 and shape < 0.05:
        value = int(str(value)[: rng.randint(1, n - 1)].ljust(n, "0"))
    elif n > 1 and shape < 0.1:
        value = int("".join(c if rng.random() < 0.4 else rng.choice("09") for c in str(value)).lstrip("0") or "0")
    return value


def operands(rng, op, small=False):
    if op == "+":
        top = 2 if small else MAX_DIGITS
        return number(rng, 1, top), number(rng, 1, top)
    if op == "-":
        top = 2 if small else MAX_DIGITS
        a, b = number(rng, 1, top), number(rng, 1, top)
        if rng.random() < 0.1:  # numbers that agree in their first digits, so that zeros vanish from the result
            b = max(0, a + rng.randint(-20, 20))
        if b > a and rng.random() < 0.3:
            a, b = b, a
        return a, b
    if op == "*":
        if small:
            a, b = number(rng, 1, 2), number(rng, 1, 1)
        else:
            la, lb = rng.choice(
                ((1, 1), (2, 1), (2, 1), (2, 2), (2, 2), (2, 2), (3, 1), (3, 2), (3, 2), (3, 3), (4, 1), (4, 2))
            )
            a, b = number(rng, la, la), number(rng, lb, lb)
        return (b, a) if rng.random() < 0.3 else (a, b)
    return number(rng, 1, 2 if small else 5), rng.randint(2, 9 if small else 12)


def draw(rng, op, small, want_held_out):
    while True:
        a, b = operands(rng, op, small)
        if want_held_out is None or held_out(op, a, b) == want_held_out:
            return a, b


def remainder_answer(a, b):
    return f"The answer is {a // b}" + (f" remainder {a % b}." if a % b else ".")


def simple(op):

    def make(rng, small=False, want_held_out=False):
        a, b = draw(rng, op, small, want_held_out)
        steps = STEPS[op](a, b)
        if op == "/":
            if rng.random() < 0.1:
                text = rng.choice(
                    (
                        "What is the remainder when {a} is divided by {b}?",
                        "What is {a} mod {b}?",
                        "What is the remainder of {a} divided by {b}?",
                    )
                ).format(a=a, b=b)
                return casual(rng, text), steps, f"The remainder is {a % b}."
            return ask(rng, op, a, b), steps, remainder_answer(a, b)
        return ask(rng, op, a, b), steps, f"The answer is {APPLY[op](a, b)}."

    return make


def chain(rng, small=False, want_held_out=False):
    """Three numbers, two operations, maybe parentheses; no negative number before the last operation."""
    while True:
        first, second = rng.choice("+-*/" if rng.random() < 0.3 else "+-*"), rng.choice("+-*")
        a, b, c = (number(rng, 1, 2) for _ in range(3))
        kind = rng.choice("left left right plain plain".split())
        if kind == "plain":  # no parentheses: the usual precedence
            kind = "plain-right" if second == "*" and first in "+-" else "plain-left"
        if first == "/" and (kind not in ("left", "plain-left") or b == 0 or b > 12 or a < b):
            continue
        if first == "/":
            a -= a % b
        if kind in ("left", "plain-left"):
            inner, ops = (a, first, b), (first, second)
        else:
            inner, ops = (b, second, c), (second, first)
        middle = APPLY[ops[0]](inner[0], inner[2])
        if middle < 0:
            continue
        outer = (middle, second, c) if kind in ("left", "plain-left") else (a, first, middle)
        if outer[1] == "*" and len(str(outer[0])) + len(str(outer[2])) > 5:
            continue
        plain = f"{a}{first}{b}{second}{c}"
        shown = {"left": "({a}{f}{b}){s}{c}", "right": "{a}{f}({b}{s}{c})"}.get(kind, "{a}{f}{b}{s}{c}")
        if want_held_out is not None and (zlib.crc32(plain.encode()) % 32 == 0) != want_held_out:
            continue
        head = shown.format(a=a, b=b, c=c, f=first, s=second)
        gap = " " if rng.random() < 0.7 else ""
        times = rng.choice(("*", "*", "*", "x", "×"))
        signs = {"*": times, "/": rng.choice(("/", "/", "÷"))}
        pretty = shown.format(
            a=a, b=b, c=c, f=gap + signs.get(first, first) + gap, s=gap + signs.get(second, second) + gap
        )
        steps = [head, *STEPS[ops[0]](inner[0], inner[2]), *STEPS[ops[1]](outer[0], outer[2])]
        text = casual(rng, rng.choice(FORMS).format(e=pretty))
        return text, steps, f"The answer is {APPLY[ops[1]](outer[0], outer[2])}."


def compare(rng, small=False, want_held_out=False):
    while True:
        a, b = number(rng, 1, 2 if small else MAX_DIGITS), number(rng, 1, 2 if small else MAX_DIGITS)
        if rng.random() < 0.5:  # same length, some digits shared
            text = str(a)
            cut = rng.randint(0, len(text))
            b = int(text[:cut] + "".join(rng.choice("0123456789") for _ in text[cut:]))
        if want_held_out is None or held_out("?", a, b) == want_held_out:
            break
    kind = rng.choice(("larger", "larger", "smaller", "is-larger", "is-smaller"))
    if kind in ("larger", "smaller"):
        word = rng.choice({"larger": ("larger", "bigger", "greater"), "smaller": ("smaller", "smaller", "less")}[kind])
        text = rng.choice(
            (
                "Which is {w}, {a} or {b}?",
                "Which number is {w}: {a} or {b}?",
                "What is {w}, {a} or {b}?",
                "Compare {a} and {b}. Which is {w}?",
                "Which one is {w}, {a} or {b}?",
            )
        ).format(w=word, a=a, b=b)
        chosen = max(a, b) if kind == "larger" else min(a, b)
        answer = f"The {kind} number is {chosen}." if a != b else "They are equal."
    else:
        word = rng.choice(
            ("larger than", "bigger than", "greater than", ">")
            if kind == "is-larger"
            else ("smaller than", "less than", "<")
        )
        text = rng.choice(("Is {a} {w} {b}?", "Is {a} {w} {b}?", "Tell me, is {a} {w} {b}?")).format(w=word, a=a, b=b)
        yes = a > b if kind == "is-larger" else a < b
        answer = "Yes." if yes else "No."
        if a == b:
            answer = "No, they are equal."
    return casual(rng, text), compare_steps(a, b), answer


STORIES = {
    "+": (
        "{n} has {a} {i} and buys {b} more. How many {i} does {n} have now?",
        "{n} has {a} {i}. {m} gives {n} {b} more. How many {i} does {n} have?",
        "There are {a} {i} in one box and {b} in another. How many {i} are there?",
        "{n} found {a} {i} and {m} found {b}. How many {i} do they have together?",
    ),
    "-": (
        "{n} has {a} {i} and gives {b} to {m}. How many {i} are left?",
        "{n} had {a} {i} and lost {b}. How many {i} are left?",
        "There were {a} {i}. {n} took {b} of them. How many {i} remain?",
        "{n} has {a} {i}, {m} has {b}. How many more {i} does {n} have?",
    ),
    "*": (
        "{n} has {a} boxes with {b} {i} each. How many {i} are there?",
        "There are {a} bags. Each bag holds {b} {i}. How many {i} are there in all?",
        "{n} buys {a} packs of {b} {i}. How many {i} is that?",
    ),
    "/": (
        "{n} shares {a} {i} equally among {b} friends. How many {i} does each friend get?",
        "{a} {i} are packed into boxes of {b}. How many boxes are full?",
    ),
}


def story(rng, small=False, want_held_out=False):
    op = rng.choice("++--**/")
    while True:
        if op in "+-":
            a, b = number(rng, 1, 2 if small else 3), number(rng, 1, 2 if small else 3)
            if op == "-" and a < b:
                a, b = b, a
        elif op == "*":
            a, b = number(rng, 1, 2), number(rng, 1, 1 if small else 2)
        else:
            b = rng.randint(2, 12)
            a = b * rng.randint(1, 12 if small else 60)
        if want_held_out is None or held_out(op, a, b) == want_held_out:
            break
    n, m = rng.sample(NAMES, 2)
    text = rng.choice(STORIES[op]).format(n=n, m=m, i=rng.choice(ITEMS), a=a, b=b)
    return text, STEPS[op](a, b), f"The answer is {APPLY[op](a, b)}."


REPLIES = {
    "greeting": ("A greeting.", "Hello! Give me something to calculate."),
    "who": ("A question about me.", "I am a tiny ZAYA demo model. I do integer arithmetic."),
    "able": ("A question about me.", "I can add, subtract, multiply, divide and compare integers."),
    "thanks": ("Thanks.", "You are welcome!"),
    "bye": ("A farewell.", "Goodbye!"),
    "well": ("Small talk.", "I am fine, thank you. Give me something to calculate."),
    "other": ("Not arithmetic.", "Sorry, I am a tiny demo model and only know integer arithmetic."),
}
TALK = {
    "greeting": (
        "Hello",
        "Hello!",
        "Hi",
        "Hi!",
        "Hi there",
        "Hey",
        "Good morning!",
        "Good evening",
        "Hello there!",
        "hello",
        "Hey there!",
        "Good day",
        "Greetings",
    ),
    "who": (
        "Who are you?",
        "What are you?",
        "What is your name?",
        "Tell me about yourself.",
        "Who made you?",
        "Which model are you?",
        "Are you an AI?",
        "Introduce yourself.",
        "What model is this?",
        "Are you human?",
    ),
    "able": (
        "What can you do?",
        "How can you help me?",
        "What do you know?",
        "Help",
        "Can you help me?",
        "Help me",
        "What are you good at?",
        "Can you do math?",
        "Do you know arithmetic?",
    ),
    "thanks": (
        "Thanks",
        "Thank you!",
        "Thanks!",
        "Thank you",
        "Great, thanks!",
        "Thank you very much.",
        "Nice, thank you.",
    ),
    "bye": ("Bye", "Goodbye", "Bye!", "See you later!", "Good night", "See you", "Goodbye!"),
    "well": ("How are you?", "How are you doing?", "How do you do?", "What's up?", "How is it going?", "Are you okay?"),
    "other": (
        "What is the capital of {p}?",
        "Tell me about {t}.",
        "Write a poem about {t}.",
        "Who wrote {w}?",
        "What do you think about {t}?",
        "Tell me a joke.",
        "Tell me a joke about {t}",
        "Explain {t} to me.",
        "Where is {p}?",
        "How do I learn {t}?",
        "Translate {w} into French.",
        "Do you like {t}?",
        "Write a story.",
        "What is {t}?",
        "What is the meaning of life?",
        "Who is the president of {p}?",
        "Why is the sky blue?",
        "What time is it?",
        "What is the weather in {p}?",
        "Write a program in Python.",
        "How old is {n}?",
        "Can you write about {t}?",
        "Give me a recipe.",
        "I like {t}.",
        "My name is {n}.",
        "What happened in {y}?",
        "Is {t} good?",
        "How far is {p}?",
        "{r}",
        "{r}",
        "{r}",
        "{r}?",
        "{r}.",
        "What is {r}?",
        "How {r}?",
    ),
}


def talk(rng, small=False, want_held_out=False):
    kind = rng.choice(("greeting", "who", "able", "thanks", "bye", "well", "other", "other", "other", "other"))
    words = " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 8)))
    text = rng.choice(TALK[kind]).format(
        p=rng.choice(PLACES),
        t=rng.choice(TOPICS),
        w=rng.choice(WORDS),
        n=rng.choice(NAMES),
        y=rng.randint(1200, 2025),
        r=words,
    )
    thought, answer = REPLIES[kind]
    return casual(rng, text), [thought], answer


KINDS = {
    "addition": simple("+"),
    "subtraction": simple("-"),
    "multiplication": simple("*"),
    "division": simple("/"),
    "expression": chain,
    "comparison": compare,
    "story": story,
    "talk": talk,
}
WEIGHTS = {
    "addition": 14,
    "subtraction": 17,
    "multiplication": 26,
    "division": 12,
    "expression": 13,
    "comparison": 7,
    "story": 6,
    "talk": 5,
}
# For the end of the training: more of what is learnt last.
REVISION = {
    "addition": 10,
    "subtraction": 19,
    "multiplication": 18,
    "division": 23,
    "expression": 12,
    "comparison": 14,
    "story": 7,
    "talk": 4,
}

SYSTEM = (
    "You are a helpful assistant.",
    "You are a calculator.",
    "Answer briefly.",
    "You are ZAYA.",
    "Be precise.",
    "You are a careful assistant who thinks step by step.",
)
FOLLOW = {
    "+": ("Add {b} to that.", "Now add {b}.", "Plus {b}?", "And plus {b}?"),
    "-": ("Subtract {b} from that.", "Now subtract {b}.", "Minus {b}?", "And minus {b}?"),
    "*": ("Multiply that by {b}.", "Now multiply it by {b}.", "Times {b}?", "And times {b}?"),
}


def follow_up(rng, value):
    """A question about the previous answer, which must be a number of at most five digits."""
    op = rng.choice("+-*" if value < 10000 else "+-")
    b = number(rng, 1, 1 if op == "*" else 3)
    return rng.choice(FOLLOW[op]).format(b=b), STEPS[op](value, b), f"The answer is {APPLY[op](value, b)}."


def plain_value(answer):
    """The number in "The answer is N.", if it can carry a follow-up question."""
    word = answer.removeprefix("The answer is ").removesuffix(".")
    return int(word) if word.isdigit() and len(word) <= 5 else None


def pick(rng, weights=None):
    weights = weights or WEIGHTS
    return rng.choices(tuple(weights), tuple(weights.values()))[0]


def conversation(rng, kind=None, turns=None, thinking=None, want_held_out=False, weights=None):
    """One example: dict with messages (ending with the user's), enable_thinking, steps (text), answer, kind."""
    kind = kind or pick(rng, weights)
    if thinking is None:
        thinking = rng.random() >= 0.07
    if turns is None:
        turns = 1 if rng.random() >= 0.15 else rng.choice((2, 2, 3))
    messages = []
    if rng.random() < 0.06:
        messages.append({"role": "system", "content": rng.choice(SYSTEM)})
    value = None
    for _ in range(turns - 1):
        text, _, answer = KINDS[pick(rng)](rng, rng.random() < 0.5, None)
        messages += [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
        value = plain_value(answer)
    if value is not None and rng.random() < 0.4:
        text, steps, answer = follow_up(rng, value)
        kind = "follow-up"
    else:
        text, steps, answer = KINDS[kind](rng, not thinking, want_held_out)
    messages.append({"role": "user", "content": text})
    return {
        "messages": messages,
        "enable_thinking": thinking,
        "steps": "\n".join(steps),
        "answer": answer,
        "kind": kind,
    }


def render_prompt(example):
    """The same text as chat_template.jinja with add_generation_prompt."""
    text = "<bos>"
    for message in example["messages"]:
        text += f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"
    text += "<|im_start|>assistant\n"
    return text + ("<think>\n" if example["enable_thinking"] else "<think>\n\n</think>\n\n")


def render_target(example):
    """What the assistant should write after the prompt."""
    if example["enable_thinking"]:
        return f"{example['steps']}\n</think>\n\n{example['answer']}<|im_end|>"
    return f"{example['answer']}<|im_end|>"


if __name__ == "__main__":
    generator = random.Random(1)
    for _ in range(25):
        sample = conversation(generator)
        print(render_prompt(sample) + render_target(sample), end="\n\n")
