// One answer being written. It goes on when another conversation is looked at, and tells whoever listens:
// "reasoning" and "content" with detail = the new text, "rsa" with detail = an event, "state" when figures change, "end".

import { stream_chat } from "./api.js";
import { store } from "./store.js";

const SAVE_EVERY = 1500;  // ms: what a closed tab loses at most

export class Generation extends EventTarget {
  #abort = new AbortController();
  #started = performance.now();
  #first = 0;         // when the first token came
  #content_start = 0;
  #pieces = 0;        // counted until the server says how many tokens they were
  #discarded = false;
  #exact = false;     // the server has said how fast it was
  #saved = performance.now();

  constructor(conversation, node, request) {
    super();
    this.conversation = conversation;
    this.node = node;
    this.request = request;
    node.stats = {};
  }

  get thinking() { return this.#first > 0 && this.#content_start === 0 && Boolean(this.node.reasoning); }
  get thought_for() {
    return this.node.stats.thought ?? (this.#first ? ((this.#content_start || performance.now()) - this.#first) / 1000 : 0);
  }
  get tokens() { return this.node.stats.tokens ?? this.#pieces; }
  get elapsed() { return (performance.now() - this.#started) / 1000; }

  // Stops, and keeps nothing: the conversation is deleted.
  discard() {
    this.#discarded = true;
    this.stop();
  }

  stop() {
    this.#abort.abort();
  }

  async run() {
    const node = this.node;
    try {
      for await (const part of stream_chat({ ...this.request, signal: this.#abort.signal })) this.#take(part);
      node.finish ??= "stop";
    } catch (error) {
      if (error.name === "AbortError" || this.#abort.signal.aborted) node.finish = "stopped";
      else {
        node.finish = "failed";
        node.error = { message: error.message || "The answer failed.", retry_after: error.retry_after ?? null };
      }
    }
    this.#settle_thought();
    if (!node.stats.rate) this.#measure();
    this.conversation.updated = Date.now();
    await this.#save(true);
    this.dispatchEvent(new Event("end"));
  }

  #take(part) {
    const node = this.node;
    if (part.type === "reasoning" || part.type === "content") {
      const now = performance.now();
      if (this.#first === 0) {
        this.#first = now;
        node.stats.first = (now - this.#started) / 1000;
      }
      if (part.type === "content" && this.#content_start === 0) {
        this.#content_start = now;
        this.#settle_thought();
      }
      this.#pieces++;
      if (part.type === "reasoning") node.reasoning = (node.reasoning ?? "") + part.text;
      else node.content += part.text;
      this.#measure();
      this.dispatchEvent(new CustomEvent(part.type, { detail: part.text }));
      this.#save(false);
    } else if (part.type === "finish") {
      node.finish = part.reason;
    } else if (part.type === "usage") {
      if (part.completion !== null) node.stats.tokens = part.completion;
      if (part.prompt !== null) node.stats.prompt = part.prompt;
      if (part.reasoning !== null) node.stats.thought_tokens = part.reasoning;
      if (part.cached) node.stats.cached = part.cached;
    } else if (part.type === "timings") {
      if (part.per_second !== null) node.stats.rate = part.per_second;
      this.#exact = part.per_second !== null;
    } else if (part.type === "rsa") {
      (node.journal ??= []).push(part.event);
      this.dispatchEvent(new CustomEvent("rsa", { detail: part.event }));
      this.#save(false);
    }
    this.dispatchEvent(new Event("state"));
  }

  // The rate of the tokens after the first, as this browser saw them.
  #measure() {
    const { stats } = this.node;
    if (this.#exact || this.#first === 0) return;
    const tokens = stats.tokens ?? this.#pieces, took = (performance.now() - this.#first) / 1000;
    if (tokens > 1 && took > 0.2) stats.rate = (tokens - 1) / took;
  }

  #settle_thought() {
    if (this.node.reasoning && this.node.stats.thought === undefined) this.node.stats.thought = this.thought_for;
  }

  async #save(now) {
    if (this.#discarded || (!now && performance.now() - this.#saved < SAVE_EVERY)) return;
    this.#saved = performance.now();
    try {
      await store.put(this.conversation);
    } catch {
      this.dispatchEvent(new Event("unsaved"));
    }
  }
}
