// The server's interface: OpenAI's, with the extensions of zaya (thinking, Markovian RSA, timings). Whatever is
// particular to the wire is here, so that the rest of the page knows only the events that stream_chat yields.

import { events_of } from "./sse.js";
import { settings } from "./settings.js";

// Beside the page, wherever a proxy has put it.
const url = (path) => new URL(path, document.baseURI).href;

export class ApiError extends Error {
  constructor(message, status = 0, retry_after = null) {
    super(message);
    this.status = status;
    this.retry_after = retry_after;
  }
}

function headers(extra = {}) {
  const key = settings.get("key");
  return key ? { ...extra, Authorization: `Bearer ${key}` } : extra;
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(url(path), { cache: "no-store", credentials: "same-origin", redirect: "error", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached.");
  }
  if (response.ok) return response;
  let message = `The server answered ${response.status}.`;
  try {
    const body = await response.json();
    const said = body.error?.message ?? body.detail ?? body.error;
    if (typeof said === "string" && said) message = said.slice(0, 600);
  } catch {
    // Not JSON: the number has to do.
  }
  if (response.status === 401) message = "The server asks for an API key: enter it in the settings.";
  const retry = Number(response.headers.get("retry-after"));
  throw new ApiError(message, response.status, Number.isFinite(retry) && retry > 0 ? retry : null);
}

// [{id, context}] with the context length in tokens, or null where the server does not tell.
export async function list_models() {
  const body = await (await request("v1/models", { headers: headers() })).json();
  const models = Array.isArray(body.data) ? body.data : [];
  return models.filter((model) => typeof model?.id === "string").slice(0, 100).map((model) => ({
    id: model.id,
    context: first_number(model.context_length, model.max_model_len, model.meta?.n_ctx, model.context_window),
    rsa: Boolean(model.markovian_rsa),
  }));
}

export async function is_healthy() {
  try {
    return (await fetch(url("health"), { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

function request_body(messages, model, rsa) {
  const body = { model, messages, stream: true, stream_options: { include_usage: true } };
  const plain = { temperature: "temperature", topP: "top_p", maxTokens: "max_completion_tokens", seed: "seed" };
  for (const [setting, field] of Object.entries(plain)) {
    const value = settings.get(setting);
    if (value !== null) body[field] = value;
  }
  if (!settings.get("think")) body.chat_template_kwargs = { enable_thinking: false };
  else if (settings.get("budget") !== null) body.thinking_budget = settings.get("budget");
  if (rsa) body.markovian_rsa = rsa === "auto" ? {} : { preset: rsa };
  return body;
}

// Yields {type: "reasoning"|"content", text}, {type: "finish", reason}, {type: "usage", prompt, completion, reasoning},
// {type: "timings", per_second} and {type: "rsa", event} (a line that board/journal.js knows), in the order they arrive.
export async function* stream_chat({ messages, model, rsa = null, signal }) {
  const response = await request("v1/chat/completions", {
    method: "POST",
    headers: headers({ "Content-Type": "application/json" }),
    body: JSON.stringify(request_body(messages, model, rsa)),
    signal,
  });
  let finished = false;
  for await (const { data } of events_of(response)) {
    if (data === "[DONE]") return;
    let chunk;
    try {
      chunk = JSON.parse(data);
    } catch {
      throw new ApiError("The server sent something that is not JSON.");
    }
    if (chunk?.error) throw new ApiError(String(chunk.error.message ?? chunk.error).slice(0, 600), chunk.error.code ?? 0);
    for (const part of parts_of(chunk)) {
      finished ||= part.type === "finish";
      yield part;
    }
  }
  if (!finished) throw new ApiError("The connection ended before the answer did.");
}

function* parts_of(chunk) {
  const choice = chunk?.choices?.[0];
  const delta = choice?.delta ?? {};
  const reasoning = delta.reasoning_content ?? delta.reasoning;
  if (typeof reasoning === "string" && reasoning) yield { type: "reasoning", text: reasoning };
  if (typeof delta.content === "string" && delta.content) yield { type: "content", text: delta.content };
  // A line of the run's journal, in a chunk without choices, so that other clients pass over it.
  if (chunk?.markovian_rsa?.event) yield { type: "rsa", event: chunk.markovian_rsa };
  if (choice?.finish_reason) yield { type: "finish", reason: String(choice.finish_reason) };
  const usage = chunk?.usage;
  if (usage) {
    yield {
      type: "usage",
      prompt: first_number(usage.prompt_tokens),
      completion: first_number(usage.completion_tokens),
      reasoning: first_number(usage.completion_tokens_details?.reasoning_tokens),
      cached: first_number(usage.prompt_tokens_details?.cached_tokens),
    };
  }
  const timings = chunk?.timings;
  if (timings) {
    yield {
      type: "timings",
      per_second: first_number(timings.tokens_per_second, timings.predicted_per_second),
    };
  }
}

function first_number(...values) {
  for (const value of values) if (typeof value === "number" && Number.isFinite(value)) return value;
  return null;
}
