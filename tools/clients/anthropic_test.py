#!/usr/bin/env python3
"""The official anthropic client drives the server: anthropic_test.py ZAYA MODEL"""

import sys
import unittest

import anthropic

from serving import Server

ZAYA, MODEL = sys.argv[1], sys.argv[2]
KEY = "a-key-of-ours"
QUESTION = [{"role": "user", "content": "What is 47 * 86?"}]
TOOL = {"name": "add", "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}


class Anthropic(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(ZAYA, MODEL, "--api-key", KEY)
        cls.server.__enter__()
        cls.client = anthropic.Anthropic(base_url=cls.server.url, api_key=KEY, max_retries=0, timeout=300)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def ask(self, **arguments):
        body = {"temperature": 0, **arguments.pop("extra_body", {})}
        return self.client.messages.create(
            **{"model": "nano", "messages": QUESTION, "max_tokens": 400, "extra_body": body, **arguments})

    def test_whole(self):
        answer = self.ask()
        self.assertEqual(answer.content[0].type, "text")
        self.assertIn("4042", answer.content[0].text)
        self.assertEqual(answer.stop_reason, "end_turn")
        self.assertGreater(answer.usage.output_tokens, 10)

    def test_thinking_shows_when_asked_for(self):
        answer = self.ask(thinking={"type": "enabled", "budget_tokens": 1024})
        self.assertEqual([block.type for block in answer.content], ["thinking", "text"])
        self.assertIn("47", answer.content[0].thinking)
        self.assertEqual(self.ask(thinking={"type": "disabled"}, max_tokens=2).stop_reason, "max_tokens")

    def test_stream(self):
        whole = self.ask().content[0].text
        with self.client.messages.stream(
            model="nano", messages=QUESTION, max_tokens=400, extra_body={"temperature": 0}
        ) as stream:
            self.assertEqual("".join(stream.text_stream), whole)
            self.assertEqual(stream.get_final_message().stop_reason, "end_turn")

    def test_tools(self):
        force = {"type": "tool", "name": "add", "disable_parallel_tool_use": True}
        answer = self.ask(tools=[TOOL], tool_choice=force, max_tokens=30)
        call = answer.content[-1]
        self.assertEqual((call.type, call.name), ("tool_use", "add"))
        messages = QUESTION + [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "u", "name": "add", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "u", "content": "3"}]},
        ]
        self.assertEqual(self.ask(messages=messages, tools=[TOOL], max_tokens=5).stop_reason, "max_tokens")

    def test_stop_sequences(self):
        answer = self.ask(stop_sequences=["boxed"])
        self.assertEqual((answer.stop_reason, answer.stop_sequence), ("stop_sequence", "boxed"))

    def test_counting(self):
        count = self.client.messages.count_tokens(model="nano", messages=QUESTION)
        usage = self.ask(max_tokens=1).usage
        self.assertEqual(count.input_tokens, usage.input_tokens + usage.cache_read_input_tokens)

    def test_errors_are_the_clients_own(self):
        with self.assertRaises(anthropic.BadRequestError) as caught:
            self.ask(messages=[{"role": "system", "content": "x"}])
        self.assertIn("messages[0].role", str(caught.exception))
        with self.assertRaises(anthropic.AuthenticationError):
            anthropic.Anthropic(base_url=self.server.url, api_key="wrong", max_retries=0).messages.create(
                model="nano", messages=QUESTION, max_tokens=1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
