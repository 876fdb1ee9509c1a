#!/usr/bin/env python3
"""The official openai client drives the server: openai_test.py ZAYA MODEL"""

import json
import sys
import time
import unittest
import urllib.request

import openai

from serving import Server

ZAYA, MODEL = sys.argv[1], sys.argv[2]
KEY = "a-key-of-ours"
QUESTION = [{"role": "user", "content": "What is 47 * 86?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}},
    },
}


class OpenAi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(ZAYA, MODEL, "--api-key", KEY)
        cls.server.__enter__()
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key=KEY, max_retries=0, timeout=300)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def chat(self, **arguments):
        return self.client.chat.completions.create(
            **{"model": "nano", "messages": QUESTION, "temperature": 0, **arguments}
        )

    def test_chat_whole(self):
        answer = self.chat()
        self.assertIn("4042", answer.choices[0].message.content)
        self.assertIn("47", answer.choices[0].message.reasoning_content)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        details = answer.usage.completion_tokens_details
        self.assertGreater(details.reasoning_tokens, 10)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)

    def test_markovian_rsa_whole_and_streaming(self):
        arguments = {
            "temperature": 1,
            "extra_body": {"markovian_rsa": {"preset": "tiny", "N": 3, "C": 2, "T": 1, "seed": 1}},
        }
        whole = self.chat(**arguments)
        self.assertEqual(len(whole.choices), 1)
        self.assertEqual(len(whole.usage.markovian_rsa["rounds"]), 2)
        content, lines, usage = "", [], None
        for chunk in self.chat(stream=True, stream_options={"include_usage": True}, **arguments):
            usage = chunk.usage or usage
            if line := getattr(chunk, "markovian_rsa", None):
                self.assertEqual(chunk.choices, [])
                lines.append(line["event"])
            for choice in chunk.choices:
                content += choice.delta.content or ""
        self.assertEqual((lines[0], lines[-1]), ("run", "result"))
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
        # The helper that gathers chunks does not mind them either.
        with self.client.chat.completions.stream(model="nano", messages=QUESTION, **arguments) as stream:
            final = stream.get_final_completion()
        self.assertEqual(len(final.choices), 1)
        self.assertEqual(final.choices[0].finish_reason, "stop")
        self.assertTrue(content)

    def test_chat_stream_equals_whole(self):
        whole = self.chat().choices[0].message
        content, reasoning, finish, usage = "", "", None, None
        for chunk in self.chat(stream=True, stream_options={"include_usage": True}):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                content += choice.delta.content or ""
                reasoning += getattr(choice.delta, "reasoning_content", None) or ""
                finish = choice.finish_reason or finish
        self.assertEqual((content, reasoning, finish), (whole.content, whole.reasoning_content, "stop"))
        self.assertGreater(usage.completion_tokens, 10)

    def test_stream_helper_accumulates(self):
        with self.client.chat.completions.stream(model="nano", messages=QUESTION, temperature=0) as stream:
            for _ in stream:
                pass
            self.assertIn("4042", stream.get_final_completion().choices[0].message.content)

    def test_choices_seeds_and_logprobs(self):
        arguments = {"temperature": 2.0, "n": 3, "seed": 5, "max_completion_tokens": 12, "logprobs": True,
                     "top_logprobs": 2, "reasoning_effort": "none"}
        first, second = self.chat(**arguments), self.chat(**arguments)
        texts = [choice.message.content for choice in first.choices]
        self.assertEqual(texts, [choice.message.content for choice in second.choices])
        self.assertGreater(len(set(texts)), 1)
        tokens = first.choices[0].logprobs.content
        self.assertTrue(all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in tokens))
        self.assertLessEqual(first.usage.completion_tokens, 3 * 12)

    def test_stop_and_thinking(self):
        quiet = self.chat(reasoning_effort="none", max_tokens=5)
        self.assertIsNone(getattr(quiet.choices[0].message, "reasoning_content", None))
        hurried = self.chat(extra_body={"thinking_budget": 3}, max_tokens=60)
        self.assertLessEqual(hurried.usage.completion_tokens_details.reasoning_tokens, 8)
        stopped = self.chat(stop=["boxed"])
        self.assertNotIn("boxed", stopped.choices[0].message.content)

    def test_a_forced_tool_call_has_the_tools_shape(self):
        force = {"type": "function", "function": {"name": "add"}}
        answer = self.chat(tools=[TOOL], tool_choice=force, parallel_tool_calls=False, max_tokens=30)
        call = answer.choices[0].message.tool_calls[0]
        self.assertEqual(call.function.name, "add")
        names, arguments = [], ""
        for chunk in self.chat(tools=[TOOL], tool_choice=force, parallel_tool_calls=False, max_tokens=30, stream=True):
            for delta in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
                names += [delta.function.name] if delta.function.name else []
                arguments += delta.function.arguments or ""
        self.assertEqual((names, arguments), (["add"], call.function.arguments))

    def test_a_conversation_with_tool_results(self):
        messages = QUESTION + [
            {"role": "assistant", "content": None,
             "tool_calls": [{"id": "c1", "type": "function",
                             "function": {"name": "add", "arguments": json.dumps({"a": 1})}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "3"},
        ]
        answer = self.chat(messages=messages, tools=[TOOL], max_tokens=8)
        self.assertEqual(answer.choices[0].finish_reason, "length")

    def test_completions(self):
        answer = self.client.completions.create(
            model="nano", prompt=["12 + 3 =", "4 + 4 ="], max_tokens=4, temperature=0, logprobs=2, n=2)
        self.assertEqual(len(answer.choices), 4)
        self.assertEqual(answer.choices[0].text, answer.choices[1].text)
        self.assertEqual(len(answer.choices[0].logprobs.tokens), 4)
        streamed = "".join(
            chunk.choices[0].text
            for chunk in self.client.completions.create(
                model="nano", prompt="12 + 3 =", max_tokens=4, temperature=0, stream=True)
            if chunk.choices)
        self.assertEqual(streamed, answer.choices[0].text)

    def test_responses(self):
        answer = self.client.responses.create(model="nano", input="What is 47 * 86?", temperature=0)
        self.assertIn("4042", answer.output_text)
        self.assertEqual([item.type for item in answer.output], ["reasoning", "message"])
        with self.client.responses.stream(model="nano", input="What is 47 * 86?", temperature=0) as stream:
            deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
            self.assertEqual(deltas, answer.output_text)
            self.assertEqual(stream.get_final_response().output_text, answer.output_text)

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["nano"])
        self.assertEqual(self.client.models.retrieve("nano").id, "nano")

    def test_errors_are_the_clients_own(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(messages=[{"role": "robot", "content": "x"}])
        self.assertEqual(caught.exception.param, "messages[0].role")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(messages=[{"role": "user", "content": "7" * 10000}])
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.AuthenticationError):
            openai.OpenAI(base_url=self.server.url + "/v1", api_key="wrong", max_retries=0).models.list()
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("another")

    def test_closing_a_stream_frees_its_place(self):
        stream = self.chat(stream=True, n=4)
        next(iter(stream))
        stream.close()
        while "\nzaya_choices_running 0\n" not in self.metrics():
            time.sleep(0.05)
        self.assertIn("4042", self.chat().choices[0].message.content)

    def metrics(self):
        request = urllib.request.Request(self.server.url + "/metrics", headers={"Authorization": "Bearer " + KEY})
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.read().decode()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
