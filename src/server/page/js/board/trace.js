// The panel beside the board: what one candidate was given, thought and answered, with the tail that the next round read.

import { el, icon_button, number, seconds } from "../dom.js";
import { StreamView } from "../stream_view.js";

export class TracePanel {
  #shown = null;

  // `choose(round, index)` goes to another candidate, `close()` back to the board alone.
  constructor({ choose, close }) {
    this.choose = choose;
    this.title = el("h3", { tabindex: "-1" });
    this.body = el("div", { class: "trace-body", tabindex: "0", "aria-label": "Trace" });
    this.element = el("aside", { class: "trace-panel", hidden: true, "aria-label": "Candidate" },
      el("div", { class: "trace-head" }, this.title, icon_button("close", "Close the trace", close)), this.body);
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      close();
    });
  }

  show(candidate, model) {
    this.#shown = candidate;
    this.element.hidden = false;
    this.title.textContent = `Round ${candidate.round}, candidate ${candidate.index + 1}`;
    const facts = [[state_of(candidate), ""]];
    if (candidate.answer !== null) facts.unshift(["answer", candidate.answer]);
    facts.push(["new tokens", number(candidate.tokens)]);
    if (candidate.prompt_tokens) {
      facts.push(["prompt tokens", number(candidate.prompt_tokens) + (candidate.cached_tokens ? ` (${number(candidate.cached_tokens)} shared)` : "")]);
    }
    if (candidate.ended !== null && candidate.started !== null) facts.push(["took", seconds(candidate.ended - candidate.started)]);
    if (candidate.endpoint) facts.push(["by", candidate.endpoint]);
    if (candidate.failure) facts.push(["failure", candidate.failure]);
    const list = el("dl", { class: "trace-facts" }, ...facts.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value }))));
    const parts = [list];
    if (candidate.parents.length) parts.push(this.#row("Reads the tails of", candidate.round - 1, candidate.parents));
    const readers = (model.rounds[candidate.round + 1] ?? []).filter(({ parents }) => parents.includes(candidate.index)).map(({ index }) => index);
    if (readers.length) parts.push(this.#row("Read by", candidate.round + 1, readers));
    const { before, tail } = split_tail(candidate);
    if (before) parts.push(this.#section("Reasoning", before));
    if (tail) parts.push(this.#section(`${candidate.round < model.last_round ? "Tail: what the next round is given" : "Tail"}${model.config?.tau ? `, ${number(model.config.tau)} tokens at most` : ""}`, tail, "tail-text"));
    if (candidate.content) parts.push(this.#section("Answer", candidate.content));
    if (!before && !tail && !candidate.content) parts.push(el("p", { class: "note", text: candidate.state === "waiting" ? "Waiting for the round before." : "The run tells no text of this candidate." }));
    this.body.replaceChildren(...parts);
    this.body.scrollTop = 0;
  }

  hide() {
    this.#shown = null;
    this.element.hidden = true;
  }

  get shown() { return this.#shown; }

  #row(label, round, indices) {
    return el("p", { class: "trace-row" }, el("span", { text: label }), ...indices.map((index) =>
      el("button", { type: "button", text: String(index + 1), "aria-label": `Round ${round}, candidate ${index + 1}`, on: { click: () => this.choose(round, index) } })));
  }

  #section(title, text, kind = "") {
    const content = el("div", { class: kind });
    new StreamView(content).set(text);
    return el("section", {}, el("h4", { text: title }), content);
  }
}

function state_of({ state, end, carried }) {
  if (state !== "done") return { waiting: "waiting", running: "thinking", cut: end === "failed" ? "failed" : "cut short" }[state];
  return carried ? "handed on as it was" : { length: "ended at its budget", stop: "finished" }[end] ?? "finished";
}

// The tail is the end of the reasoning, unless the run was told to pass something else on.
function split_tail({ reasoning, tail }) {
  const end = tail.trim();
  if (!end) return { before: reasoning, tail: "" };
  const at = reasoning.lastIndexOf(end);
  return at < 0 ? { before: reasoning, tail: end } : { before: reasoning.slice(0, at), tail: end };
}
