#!/usr/bin/env python3
"""Makes docs/chat.svg: `zaya chat` typed into in a real terminal (tmux), its screen drawn as it stood at the end.

    tools/demo/chat_demo.py build/zaya docs/chat.svg

Needs tmux (apt-get install tmux).
"""

import html
import re
import subprocess
import sys
import time

# The embedded model has learnt from single questions: each gets a conversation of its own.
TYPED = ["What is 47 * 86?", "/reset", "Sort 72 15 98 15 from small to large.", "/reset", "What is the gcd of 66 and 44?"]
COLUMNS, ROWS = 92, 46
SESSION = "zaya-demo"


def tmux(*arguments):
    return subprocess.run(["tmux", "-L", SESSION, *arguments], check=True, capture_output=True, text=True).stdout


def screen():
    return tmux("capture-pane", "-t", SESSION, "-p", "-e")


def wait_for_prompt(prompts, timeout=120):
    """Waits until as many prompts stand on the screen and the last line is an empty one."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in screen().rstrip().split("\n")]
        if lines and lines[-1].rstrip() == ">" and sum(line.startswith(">") for line in lines) >= prompts:
            return
        time.sleep(0.2)
    raise SystemExit(f"no prompt appeared:\n{screen()}")


def to_svg(text):
    """One <text> per line; SGR 2 (dim) becomes grey, everything else plain."""
    lines = text.rstrip().split("\n")
    while lines and lines[-1].strip() in ("", ">"):
        lines.pop()
    char, height, margin = 8.4, 19, 16
    width = COLUMNS * char + 2 * margin
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {len(lines) * height + 2 * margin}" '
           'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14">',
           '<rect width="100%" height="100%" rx="8" fill="#16181d"/>']
    dim = False
    for number, line in enumerate(lines):
        spans = ""
        for part in re.split(r"(\x1b\[[0-9;]*m)", line):
            if part.startswith("\x1b["):
                codes = part[2:-1].split(";")
                dim = "2" in codes or (dim and not {"", "0", "22"} & set(codes))
            elif part:
                spans += f'<tspan fill="{"#7d8590" if dim else "#e6edf3"}">{html.escape(part)}</tspan>'
        out.append(f'<text x="{margin}" y="{margin + (number + 0.75) * height:.0f}" xml:space="preserve">{spans}</text>')
    return "\n".join(out) + "\n</svg>\n"


def main():
    program, target = sys.argv[1:]
    subprocess.run(["tmux", "-L", SESSION, "kill-server"], capture_output=True, check=False)
    tmux("new-session", "-d", "-s", SESSION, "-x", str(COLUMNS), "-y", str(ROWS), f"{program} chat")
    try:
        wait_for_prompt(1)
        for number, line in enumerate(TYPED):
            tmux("send-keys", "-t", SESSION, "-l", line)
            tmux("send-keys", "-t", SESSION, "Enter")
            wait_for_prompt(number + 2)
        with open(target, "w", encoding="utf-8") as file:
            file.write(to_svg(screen()))
    finally:
        subprocess.run(["tmux", "-L", SESSION, "kill-server"], capture_output=True, check=False)


if __name__ == "__main__":
    main()
