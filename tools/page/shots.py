#!/usr/bin/env python3
"""Makes the pictures in docs/images from the page as it is: `./dev page shots [NAME…]`.

The conversations come from the stand-in server and the run from sample_run.py; they show the page, not a model's skill.
"""

import json
import pathlib
import random
import subprocess
import shutil
import sys

import browser as chromium
import sample_run

IMAGES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "images"
EULER = "Why is the sum of 1/n² equal to π²/6?"
QUESTION = "What is the sum of all primes below 100? Check the result in a second way."


def light(visit):
    visit.page.click("#think-toggle")
    visit.ask(EULER)
    visit.page.click("#new-chat")
    visit.ask("And what is two and two?")
    visit.page.click("#new-chat")
    visit.page.click("#think-toggle")
    visit.ask(QUESTION)
    visit.page.evaluate("document.querySelector('#scroll').scrollTop = 0")


def reasoning(visit):
    visit.ask(QUESTION, wait=False)
    visit.page.wait_for_selector(".thinking.live .trace p:nth-child(3)")


def math(visit):
    visit.ask(EULER)


def phone(visit):
    visit.ask(EULER)


def journal(visit):
    text = "".join(json.dumps(line) + "\n" for line in sample_run.entries(random.Random(7), progress=False))
    visit.page.set_input_files("input[aria-label=Journal]", {"name": "run.jsonl", "mimeType": "application/json", "buffer": text.encode()})
    visit.page.wait_for_selector(".vote.won")


def board(visit):
    journal(visit)


def board_trace(visit):
    journal(visit)
    visit.page.locator("[data-name='2:7']").click()


def board_live(visit):
    journal(visit)
    visit.page.locator(".board-controls input").fill("620")
    visit.page.wait_for_selector(".candidate.running")


def board_phone(visit):
    journal(visit)


PHONE = {"size": (390, 844), "is_mobile": True, "has_touch": True, "device_scale_factor": 1.5}
SHOTS = {
    "page-light": (light, {"size": (1280, 840)}),
    "page-math-dark": (math, {"size": (1280, 840), "color_scheme": "dark"}),
    "page-reasoning": (reasoning, {"size": (1000, 620)}),
    "page-phone": (phone, PHONE),
    "board-dark": (board, {"size": (1360, 860), "color_scheme": "dark", "path": "#/board"}),
    "board-trace": (board_trace, {"size": (1360, 860), "path": "#/board"}),
    "board-live": (board_live, {"size": (1360, 860), "path": "#/board"}),
    "board-phone": (board_phone, {**PHONE, "color_scheme": "dark", "path": "#/board"}),
}


def main():
    IMAGES.mkdir(parents=True, exist_ok=True)
    with chromium.mock() as (_, address), chromium.chromium() as launched:
        for name in sys.argv[1:] or SHOTS:
            action, options = SHOTS[name]
            visit = chromium.Visit(launched, address, **options)
            action(visit)
            visit.page.wait_for_timeout(700)
            file = IMAGES / f"{name}.png"
            visit.page.screenshot(path=str(file))
            visit.close()
            if shutil.which("pngquant"):
                subprocess.run(["pngquant", "--force", "--skip-if-larger", "--speed", "1", "--output", str(file), "128", str(file)], check=False)
            print(f"{file.relative_to(IMAGES.parents[1])}: {file.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
