"""Shows that our verifiers and reasoning-gym's agree where the tasks coincide, and our teacher with Python itself.

    pip install reasoning-gym==0.1.25
    python tools/gym/agree.py --zaya build/zaya [-n 40]

Each pair of kinds is taken in both directions: our problems are put into the form of their entries, their entries into
the form of our problems. Every problem gets right answers (ours and theirs, and rewritten ones where several are right)
and wrong ones, and both sides judge the same answers: theirs counts as right at the full score. Where a form matters to
one side only (a JSON list, a spelled-out sentence), each gets the answer in its form. Programs and logic have no
counterpart there: Python runs them. Prints a table; ends with 1 when a verdict differs.
"""

import argparse
import importlib.metadata
import json
import random
import re
import subprocess
import sys

import reasoning_gym
from reasoning_gym.factory import DATASETS


class Case:
    """One problem in both forms and the answers to judge: (ours, theirs), with what they should be where that is known."""

    def __init__(self, kind, problem, data, entry):
        self.kind, self.problem, self.data, self.entry, self.answers = kind, problem, data, entry, []

    def add(self, ours, theirs=None, right=None):
        self.answers.append((ours, ours if theirs is None else theirs, right))


def scorer(name):
    """A dataset object whose score_answer can be asked about entries of our own making."""
    return reasoning_gym.create_dataset(name, size=1, seed=0)


def problem(environment, prompt, answer):
    return {"environment": environment, "prompt": prompt, "answer": str(answer)}


def changed_numbers(rng, text):
    """The same text with one number off by a little."""
    numbers = list(re.finditer(r"\d+", text))
    if not numbers:
        return text + "1"
    m = rng.choice(numbers)
    return text[: m.start()] + str(int(m[0]) + rng.choice((1, 2, 10))) + text[m.end() :]


def number_answers(rng, case, value):
    value = int(value)
    case.add(str(value), right=True)
    for wrong in {value + 1, value - 1, value * 10 + 1, -value if value else 5}:
        case.add(str(wrong), right=False)
    case.add("?", right=False)
    case.add(changed_numbers(rng, str(value)), right=False)


def in_order_of(rng, kind, ours, name, environment, prompt_of, config, numbers=number_answers):
    """Kinds whose answer is one number: both directions are the same work."""
    data = scorer(name)
    for p in ours:
        case = Case(kind, p, data, {"answer": p["answer"], "metadata": {"difficulty": {}}})
        numbers(rng, case, p["answer"])
        yield case
    theirs = reasoning_gym.create_dataset(name, size=len(ours), seed=rng.randrange(10**6), **config)
    for entry in theirs:
        case = Case(kind, problem(environment, prompt_of(entry), entry["answer"]), theirs, entry)
        numbers(rng, case, entry["answer"])
        yield case


def countdown(rng, ours):
    data = scorer("countdown")

    def fill(case, numbers, target, solution):
        case.add(solution, right=True)
        case.add(f"({solution})", right=True)
        case.add(f" {solution}".replace("+", " + "), right=True)
        case.add(f"{solution} + 1 - 1", right=False)  # uses what is not there
        case.add(f"{solution} + 1", right=False)
        case.add(str(target), right=False)
        case.add("+".join(map(str, numbers)), right=None if sum(numbers) == target else False)
        case.add("*".join(map(str, numbers[::-1])))
        for _ in range(4):  # something random with the right numbers
            mixed = rng.sample(numbers, len(numbers))
            text = str(mixed[0])
            for n in mixed[1:]:
                text = rng.choice((f"({text}) {rng.choice('+-*/')} {n}", f"{n} {rng.choice('+-*/')} ({text})"))
            case.add(text)

    for p in ours:
        target, *numbers = map(int, re.findall(r"\d+", p["prompt"]))
        entry = {"answer": p["answer"], "metadata": {"numbers": numbers, "target": target}}
        case = Case("countdown", p, data, entry)
        fill(case, numbers, target, p["answer"])
        yield case
    for entry in reasoning_gym.create_dataset("countdown", size=len(ours), seed=rng.randrange(10**6)):
        numbers, target = entry["metadata"]["numbers"], entry["metadata"]["target"]
        prompt = f"Make {target} from {', '.join(map(str, numbers))}, each once, with + - * /."
        case = Case("countdown", problem("countdown", prompt, entry["answer"]), data, entry)
        fill(case, numbers, target, entry["answer"])
        yield case


def sorting(rng, ours):
    data = scorer("number_sorting")
    quoted = lambda numbers: str([str(n) for n in numbers])

    def fill(case, numbers):
        shown = lambda list_: " ".join(map(str, list_))
        case.add(shown(numbers), quoted(numbers), right=True)
        # In order, but with another number: by 20, since theirs lets numbers differ by 1.
        further = numbers[:-1] + [numbers[-1] + 20] if numbers[0] < numbers[-1] else [numbers[0] + 20] + numbers[1:]
        for wrong in (numbers[::-1], numbers[:-1], numbers + numbers[-1:], further, rng.sample(numbers, len(numbers))):
            case.add(shown(wrong), quoted(wrong), right=wrong == numbers)
        case.add("no", "no", right=False)

    for p in ours:
        numbers = [int(n) for n in p["answer"].split()]
        direction = "descending" if "large to small" in p["prompt"] else "ascending"
        case = Case("sorting", p, data, {"answer": quoted(numbers), "metadata": {"direction": direction}})
        fill(case, numbers)
        yield case
    config = dict(min_decimals=0, max_decimals=0, min_value=0, max_value=99)
    for entry in reasoning_gym.create_dataset("number_sorting", size=len(ours), seed=rng.randrange(10**6), **config):
        numbers = [int(float(n)) for n in entry["metadata"]["sorted_numbers"]]
        words = "small to large" if entry["metadata"]["direction"] == "ascending" else "large to small"
        original = " ".join(str(int(float(n))) for n in entry["metadata"]["original_numbers"])
        case = Case("sorting", problem("sorting", f"Sort {original} from {words}.", " ".join(map(str, numbers))), data, entry)
        fill(case, numbers)
        yield case


def prime_factors(rng, ours):
    data = scorer("prime_factorization")

    def fill(case, factors):
        lists = [(factors, True), (rng.sample(factors, len(factors)), True), (factors[:-1], False), (factors + [2], False)]
        lists.append(([factors[0] * factors[1]] + factors[2:], False))
        for numbers, right in lists:
            if numbers:
                case.add("*".join(map(str, numbers)), " × ".join(map(str, numbers)), right=right)

    for p in ours:
        factors = [int(n) for n in p["answer"].split("*")]
        case = Case("prime_factors", p, data, {"answer": " × ".join(map(str, factors)), "metadata": {}})
        fill(case, factors)
        yield case
    for entry in reasoning_gym.create_dataset("prime_factorization", size=len(ours), seed=rng.randrange(10**6)):
        factors = entry["metadata"]["factors"]
        if len(factors) < 2:
            continue
        case = Case("prime_factors", problem("prime_factors", "", "*".join(map(str, factors))), data, entry)
        fill(case, factors)
        yield case


def base_conversion(rng, ours):
    data = scorer("base_conversion")

    def fill(case, right):
        case.add(right, right=True)
        case.add(right[:-1] + ("1" if right[-1] == "0" else "0"), right=False)
        case.add(right + "0", right=False)
        case.add("1" + right, right=False)
        case.add(right[::-1], right=right[::-1] == right)

    for p in ours:
        case = Case("base_conversion", p, data, {"answer": p["answer"].lower(), "metadata": {}})
        fill(case, p["answer"].lower())
        yield case
    for entry in reasoning_gym.create_dataset("base_conversion", size=len(ours), seed=rng.randrange(10**6)):
        if not entry["answer"]:
            continue  # 0 comes out as no digit at all
        case = Case("base_conversion", problem("base_conversion", "", entry["answer"].upper()), data, entry)
        fill(case, entry["answer"])
        yield case


def knights_knaves(rng, ours):
    data = scorer("knights_knaves")
    names = ("Zoey", "Joseph", "Ava", "Logan", "Oliver", "Emma", "Liam", "Mia")

    def fill(case, roles, letters, names, terms):
        for flip in range(1 << len(roles)):
            said = [role ^ bool(flip >> i & 1) for i, role in enumerate(roles)]
            people = list(zip(letters, names, said))
            rng.shuffle(people)
            mine = ", ".join(f"{letter} {'knight' if knight else 'knave'}" for letter, _, knight in people)
            theirs = ", and ".join(f"{name} is a {terms[0] if knight else terms[1]}" for _, name, knight in people) + "."
            case.add(mine, theirs, right=flip == 0)
        case.add(f"{letters[0]} knight", f"{names[0]} is a {terms[0]}.", right=False)

    for p in ours:
        pairs = [part.split() for part in p["answer"].split(", ")]
        roles = [role == "knight" for _, role in pairs]
        sentence = ", and ".join(f"{name} is a {'knight' if knight else 'knave'}" for name, knight in zip(names, roles)) + "."
        case = Case("knights_knaves", p, data, {"answer": sentence, "metadata": {}})
        fill(case, roles, [letter for letter, _ in pairs], names, ("knight", "knave"))
        yield case
    for entry in reasoning_gym.create_dataset("knights_knaves", size=len(ours), seed=rng.randrange(10**6), n_people=3):
        their_names, roles = [str(n) for n in entry["metadata"]["names"]], entry["metadata"]["solution"]
        terms = entry["metadata"]["knight_knave_terms"]
        letters = "ABCDEFGH"[: len(roles)]
        answer = ", ".join(f"{letter} {'knight' if knight else 'knave'}" for letter, knight in zip(letters, roles))
        case = Case("knights_knaves", problem("knights_knaves", "", answer), data, entry)
        fill(case, list(roles), letters, their_names, (terms["knight"], terms["knave"]))
        yield case


def mini_sudoku(rng, ours):
    data = scorer("mini_sudoku")

    def fill(case, rows):
        text = lambda grid: "\n".join(" ".join(map(str, row)) for row in grid)
        case.add(text(rows), right=True)
        for _ in range(3):
            wrong = [list(row) for row in rows]
            i, j = rng.randrange(4), rng.randrange(4)
            wrong[i][j] = wrong[i][j] % 4 + 1
            case.add(text(wrong), right=False)
        swapped = [rows[1], rows[0], *rows[2:]]
        case.add(text(swapped), right=None)  # may be right where both rows are free
        case.add(text(rows[:3]), right=False)
        case.add("", right=False)

    for p in ours:
        rows = [[int(c) for c in row] for row in p["answer"].split()]
        entry = {"answer": "\n".join(" ".join(map(str, row)) for row in rows), "metadata": {"solution": rows}}
        case = Case("mini_sudoku", p, data, entry)
        fill(case, rows)
        yield case
    for entry in reasoning_gym.create_dataset("mini_sudoku", size=len(ours), seed=rng.randrange(10**6)):
        puzzle = " ".join("".join(str(c or "_") for c in row) for row in entry["metadata"]["puzzle"])
        rows = entry["metadata"]["solution"]
        answer = " ".join("".join(map(str, row)) for row in rows)
        case = Case("mini_sudoku", problem("mini_sudoku", f"Fill the 4x4 sudoku {puzzle}.", answer), data, entry)
        fill(case, rows)
        yield case


DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


def calendar(rng, ours):
    data = scorer("calendar_arithmetic")

    def fill(case, answer):
        if answer in DAYS:
            for day in DAYS:
                case.add(day, right=day == answer)
            case.add("Noday", right=False)
        else:
            number_answers(rng, case, answer)

    for p in ours:
        if " " in p["answer"]:
            continue  # dates: no counterpart there
        task = "weekday_offset" if p["answer"] in DAYS else "count_days"
        case = Case("calendar", p, data, {"answer": p["answer"], "metadata": {"task": task}})
        fill(case, p["answer"])
        yield case
    wanted = ["weekday_offset", "weekday_of_date", "weekday_of_date_from_first_date", "count_days"]
    for entry in reasoning_gym.create_dataset("calendar_arithmetic", size=len(ours), seed=rng.randrange(10**6), tasks=wanted):
        case = Case("calendar", problem("calendar", "", entry["answer"]), data, entry)
        fill(case, entry["answer"])
        yield case


def words_backward(rng, ours):
    data = scorer("spell_backward")

    def fill(case, word):
        case.add(word, right=True)
        case.add(word[::-1], right=word[::-1].lower() == word.lower())
        case.add(word[:-1], right=False)
        # Not tried: the word with more behind it, which theirs takes at some lengths, where its sum of parts rounds above 1.
        case.add(word[1:] + word[0], right=word[1:] + word[0] == word)

    for p in ours:
        case = Case("string_edit", p, data, {"answer": p["answer"], "metadata": {}})
        fill(case, p["answer"])
        yield case
    for entry in reasoning_gym.create_dataset("spell_backward", size=len(ours), seed=rng.randrange(10**6)):
        prompt = f"Start with {entry['metadata']['word']}. Reverse it."
        case = Case("string_edit", problem("string_edit", prompt, entry["answer"]), data, entry)
        fill(case, entry["answer"])
        yield case


def run_by_python(kind, ours):
    """The answers of our teacher beside Python's; the count of those that differ."""
    differing = 0
    for p in ours:
        if kind == "boolean_logic":
            result = str(eval(p["prompt"][len("True or False: ") : -1]))  # only True, False, and, or, not, brackets
            assert re.fullmatch(r"True or False: [()TrueFalsandot ]+\?", p["prompt"]), p["prompt"]
        else:
            source = p["prompt"].removesuffix("\nWhat is printed?")
            assert re.fullmatch(r"[XYZ0-9=+*\->: \ninrfeapt]+", source), source
            source = re.sub(r"repeat (\d):", r"for _ in range(\1):", source)
            source = re.sub(r"print (\w)", r"result = \1", source)
            scope = {}
            exec(source, {"range": range, "__builtins__": {}}, scope)
            result = str(scope["result"])
        differing += result != p["answer"]
    return differing


def verdicts(zaya, cases):
    lines = [json.dumps({"problem": case.problem, "answer": f"\\boxed{{{ours}}}"}) for case in cases for ours, _, _ in case.answers]
    run = subprocess.run([zaya, "gym", "check"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True)
    return [json.loads(line)["correct"] for line in run.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zaya", default="build/zaya")
    parser.add_argument("-n", type=int, default=40, help="problems per kind, difficulty and direction")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=3, help="differences to print per kind")
    args = parser.parse_args()
    rng = random.Random(args.seed)

    def sample(environment, levels="0-4"):
        command = [args.zaya, "gym", "sample", environment, "-d", levels, "-n", str(args.n), "--seed", str(args.seed), "--json"]
        return [json.loads(line) for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()]

    def numbers(kind, name, prompt_of, **config):
        return list(in_order_of(rng, kind, sample(kind), name, kind, prompt_of, config))

    expression = lambda entry: f"What is {entry['metadata']['expression']}?"
    kinds = [
        ("addition", "chain_sum", numbers("addition", "chain_sum", expression, min_terms=2, max_terms=2)),
        ("subtraction", "chain_sum", numbers("subtraction", "chain_sum", expression, min_terms=2, max_terms=2)),
        ("chain_sum", "chain_sum", numbers("chain_sum", "chain_sum", expression)),
        ("multiplication", "products", numbers("multiplication", "products", expression)),
        ("expression", "basic_arithmetic", numbers("expression", "basic_arithmetic", expression)),
        ("gcd", "gcd", numbers("gcd", "gcd", lambda entry: "")),
        ("linear_equation", "simple_equations", numbers("linear_equation", "simple_equations", lambda entry: "")),
        ("number_sequence", "number_sequence", numbers("number_sequence", "number_sequence", lambda entry: "")),
        ("letter_count", "letter_counting", numbers("letter_count", "letter_counting", lambda entry: "")),
        ("countdown", "countdown", list(countdown(rng, sample("countdown")))),
        ("sorting", "number_sorting", list(sorting(rng, sample("sorting")))),
        ("prime_factors", "prime_factorization", list(prime_factors(rng, sample("prime_factors")))),
        ("base_conversion", "base_conversion", list(base_conversion(rng, sample("base_conversion")))),
        ("knights_knaves", "knights_knaves", list(knights_knaves(rng, sample("knights_knaves")))),
        ("mini_sudoku", "mini_sudoku", list(mini_sudoku(rng, sample("mini_sudoku")))),
        ("calendar", "calendar_arithmetic", list(calendar(rng, sample("calendar")))),
        ("string_edit", "spell_backward", list(words_backward(rng, sample("string_edit")))),
    ]
    print("| ours | reasoning-gym's | problems | answers | both: right | both: wrong | differ |\n|---|---|---|---|---|---|---|")
    failures = total = 0
    for kind, name, cases in kinds:
        assert name in DATASETS, name
        ours = iter(verdicts(args.zaya, cases))
        right = wrong = differ = shown = 0
        for case in cases:
            for mine, theirs, expected in case.answers:
                our_verdict = next(ours)
                their_verdict = float(case.data.score_answer(theirs, case.entry)) >= 1
                agree = our_verdict == their_verdict and expected in (None, our_verdict)
                right += agree and our_verdict
                wrong += agree and not our_verdict
                differ += not agree
                if not agree and shown < args.show:
                    shown += 1
                    print(f"{kind}: {case.problem['prompt']!r} -> {mine!r} / {theirs!r}: ours {our_verdict}, theirs {their_verdict}, "
                          f"expected {expected}", file=sys.stderr)
        print(f"| {kind} | {name} | {len(cases)} | {right + wrong + differ} | {right} | {wrong} | {differ} |")
        failures += differ
        total += right + wrong + differ
    for kind in ("program_output", "boolean_logic"):
        problems = sample(kind, "0-6" if kind == "program_output" else "0-5")
        differing = run_by_python(kind, problems)
        print(f"| {kind} | (Python) | {len(problems)} | {len(problems)} | {len(problems) - differing} | | {differing} |")
        failures += differing
    version = importlib.metadata.version("reasoning-gym")
    print(f"\n{total} answers judged by both, {failures} differences (reasoning-gym {version})")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
