// The official openai client for JavaScript drives the server: node openai_test.mjs URL KEY
import assert from "node:assert/strict";
import test from "node:test";

import OpenAI from "openai";

const [url, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const question = { model: "nano", temperature: 0, messages: [{ role: "user", content: "What is 47 * 86?" }] };

test("chat, whole and streamed", async () => {
  const whole = await client.chat.completions.create(question);
  const message = whole.choices[0].message;
  assert.match(message.content, /4042/);
  assert.match(message.reasoning_content, /47/);
  let content = "", reasoning = "", usage;
  const stream = await client.chat.completions.create({
    ...question, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    content += chunk.choices[0]?.delta.content ?? "";
    reasoning += chunk.choices[0]?.delta.reasoning_content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(content, message.content);
  assert.equal(reasoning, message.reasoning_content);
  assert.deepEqual(usage.completion_tokens, whole.usage.completion_tokens);
});

test("a tool call", async () => {
  const tools = [{ type: "function", function: { name: "add", parameters: {
    type: "object", properties: { a: { type: "integer" } } } } }];
  const stream = client.chat.completions.stream({
    ...question, tools, max_tokens: 30, tool_choice: { type: "function", function: { name: "add" } } });
  const final = await stream.finalChatCompletion().catch((error) => error);
  // A small model may be cut off before the call's end, which this client reports as an error of its own.
  if (final instanceof Error) assert.match(final.constructor.name, /LengthFinishReason/);
  else assert.equal(final.choices[0].message.tool_calls[0].function.name, "add");
});

test("the Responses API", async () => {
  const answer = await client.responses.create({ model: "nano", input: "What is 47 * 86?", temperature: 0 });
  assert.match(answer.output_text, /4042/);
  let text = "";
  for await (const event of await client.responses.create({
    model: "nano", input: "What is 47 * 86?", temperature: 0, stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  assert.equal(text, answer.output_text);
});

test("errors", async () => {
  await assert.rejects(client.chat.completions.create({ ...question, temperature: "hot" }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature");
  await assert.rejects(new OpenAI({ baseURL: `${url}/v1`, apiKey: "wrong", maxRetries: 0 }).models.list(),
    OpenAI.AuthenticationError);
});

test("an aborted stream", async () => {
  const stream = await client.chat.completions.create({ ...question, stream: true, n: 2 });
  for await (const _ of stream) break;  // breaking out aborts the request
  assert.match((await client.chat.completions.create(question)).choices[0].message.content, /4042/);
});
