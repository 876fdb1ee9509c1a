// One message on the page: what the user said, or an answer with its reasoning, its board and its figures.

import { el, icon, icon_button, copy_text, number, seconds } from "./dom.js";
import { settings } from "./settings.js";
import { StreamView } from "./stream_view.js";
import { Board } from "./board/board.js";
import { Adapter } from "./board/journal.js";

// `actions` are the chat's: edit(node, text), again(node), choose(node), grew(), context(), show_board(node).
export class MessageView {
  #actions;
  #views = {};
  #timer = 0;
  #adapter;

  constructor(node, conversation, actions) {
    this.node = node;
    this.conversation = conversation;
    this.#actions = actions;
    this.element = el("li", { class: `message ${node.role}`, "data-id": node.id });
    if (node.role === "user") this.#build_user();
    else this.#build_assistant();
  }

  #build_user() {
    const { content } = this.node;
    this.element.append(
      el("span", { class: "visually-hidden", text: "You said:" }),
      el("div", { class: content.length > 1500 ? "bubble long" : "bubble", tabindex: content.length > 1500 ? "0" : null, text: content }),
      this.#action_row(icon_button("edit", "Edit", () => this.edit())));
  }

  #action_row(...buttons) {
    const copy = icon_button("copy", "Copy", () => copy_text(this.node.content, copy));
    return el("div", { class: "actions" }, this.#version_switch(), copy, ...buttons);
  }

  #version_switch() {
    const versions = this.conversation.siblings(this.node);
    if (versions.length < 2) return null;
    const at = versions.indexOf(this.node);
    const to = (index, name, label) => {
      const button = icon_button(name, label, () => this.#actions.choose(versions[index]));
      button.disabled = index < 0 || index >= versions.length;
      return button;
    };
    return el("span", { class: "versions" }, to(at - 1, "left", "Earlier version"),
      el("span", { text: `${at + 1}/${versions.length}`, "aria-label": `Version ${at + 1} of ${versions.length}` }),
      to(at + 1, "right", "Later version"));
  }

  edit() {
    const area = el("textarea", { "aria-label": "Edit the message", rows: "1" });
    area.value = this.node.content;
    const fit = () => {
      area.style.height = "auto";
      area.style.height = `${area.scrollHeight + 2}px`;
    };
    const shown = [...this.element.childNodes];
    const cancel = () => {
      this.element.replaceChildren(...shown);
      this.element.querySelector("[aria-label=Edit]")?.focus();
    };
    const send = () => {
      if (area.value.trim()) this.#actions.edit(this.node, area.value.trim());
    };
    area.addEventListener("input", fit);
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        cancel();
      } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        send();
      }
    });
    this.element.replaceChildren(el("div", { class: "edit" }, area, el("div", { class: "buttons" },
      el("button", { type: "button", text: "Cancel", on: { click: cancel } }),
      el("button", { type: "button", class: "primary", text: "Send", on: { click: send } }))));
    fit();
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  #build_assistant() {
    this.thinking = this.#build_thinking();
    this.board_place = el("div", { class: "message-board", hidden: true });
    this.content = el("div", { class: "content" });
    this.foot = el("div", {});
    this.waiting = el("div", { class: "waiting", hidden: true, role: "img", "aria-label": "Waiting for the first words" },
      el("i"), el("i"), el("i"));
    this.element.append(el("span", { class: "visually-hidden", text: "The answer:" }), this.board_place, this.thinking.element,
      this.content, this.waiting, this.foot);
    this.#views.content = new StreamView(this.content, () => this.#actions.grew());
  }

  #build_thinking() {
    const label = el("span", { class: "label" }), glimpse = el("span", { class: "glimpse" }), trace = el("div", { class: "trace", tabindex: "0", "aria-label": "Reasoning" });
    const chevron = el("span", { class: "chevron" }, icon("right"));
    const summary = el("summary", {}, chevron, label, glimpse);
    const element = el("details", { class: "thinking", hidden: true }, summary, trace);
    summary.addEventListener("click", () => { this.touched = true; });
    element.addEventListener("toggle", () => {
      if (element.open) this.#show_trace();
    });
    return { element, label, glimpse, trace };
  }

  // A finished trace is rendered when it is first unfolded.
  #show_trace() {
    if (this.#views.reasoning || !this.node.reasoning) return;
    const { trace } = this.thinking;
    this.#views.reasoning = new StreamView(trace, () => {
      if (this.generation && this.trace_stuck !== false) trace.scrollTop = trace.scrollHeight;
      this.#actions.grew();
    });
    trace.addEventListener("scroll", () => {
      this.trace_stuck = trace.scrollHeight - trace.scrollTop - trace.clientHeight < 30;
    }, { passive: true });
    if (this.generation) this.#views.reasoning.append(this.node.reasoning);
    else this.#views.reasoning.set(this.node.reasoning);
  }

  // Shows a stored answer; resolves when all of it is there.
  async show() {
    if (this.node.role === "user") return;
    if (this.node.journal?.length) for (const event of this.node.journal) this.#rsa(event);
    if (this.node.reasoning) this.#label_thinking();
    if (this.node.reasoning && settings.get("showThinking")) this.thinking.element.open = true;
    await this.#views.content.set(this.node.content);
    this.#finish_foot();
  }

  // Shows an answer as it comes.
  follow(generation) {
    this.generation = generation;
    this.element.setAttribute("aria-busy", "true");
    if (this.node.journal?.length) for (const event of this.node.journal) this.#rsa(event);
    if (this.node.reasoning) this.#think("");
    if (this.node.content) this.#views.content.append(this.node.content);
    this.waiting.hidden = Boolean(this.node.content || this.node.reasoning || this.node.journal);
    const on = {
      reasoning: ({ detail }) => this.#think(detail),
      content: ({ detail }) => {
        this.waiting.hidden = true;
        if (this.thinking.element.classList.contains("live")) this.#end_thinking();
        this.#views.content.append(detail);
      },
      rsa: ({ detail }) => {
        this.waiting.hidden = true;
        this.#rsa(detail);
      },
      end: () => {
        for (const [type, listener] of Object.entries(on)) generation.removeEventListener(type, listener);
        this.#end();
      },
    };
    for (const [type, listener] of Object.entries(on)) generation.addEventListener(type, listener);
    this.#timer = setInterval(() => {
      if (generation.thinking) this.#label_thinking();
      this.board?.tick();
    }, 250);
    this.unfollow = () => {
      for (const [type, listener] of Object.entries(on)) generation.removeEventListener(type, listener);
      clearInterval(this.#timer);
    };
  }

  #think(text) {
    this.waiting.hidden = true;
    const { element, glimpse } = this.thinking;
    if (this.generation.thinking && !element.classList.contains("live")) {
      element.classList.add("live");
      if (!this.touched) element.open = true;
    }
    this.#label_thinking();
    if (element.open && !this.#views.reasoning) this.#show_trace();
    else if (text) this.#views.reasoning?.append(text);
    if (!element.open) glimpse.textContent = this.node.reasoning.slice(-300).trimEnd().split("\n").at(-1).slice(-140);
  }

  #end_thinking() {
    const { element, glimpse } = this.thinking;
    element.classList.remove("live");
    glimpse.textContent = "";
    this.#views.reasoning?.finish();
    if (!this.touched && !settings.get("showThinking")) element.open = false;
    this.#label_thinking();
  }

  #label_thinking() {
    const { element, label } = this.thinking, { stats = {} } = this.node;
    element.hidden = false;
    const live = this.generation?.thinking;
    const took = this.generation ? this.generation.thought_for : stats.thought;
    const tokens = stats.thought_tokens ? `, ${number(stats.thought_tokens)} tokens` : "";
    const text = live ? `Thinking ${seconds(took)}` : took ? `Thought for ${seconds(took)}${tokens}` : "Reasoning";
    if (label.textContent !== text) label.textContent = text;
  }

  #rsa(event) {
    if (!this.board) {
      this.board_place.hidden = false;
      this.board = new Board(this.board_place, { small: true, open: () => this.#actions.show_board(this.node) });
      this.#adapter = new Adapter();
    }
    for (const one of this.#adapter.events(event)) this.board.apply(one);
    this.#actions.grew();
  }

  #end() {
    clearInterval(this.#timer);
    const generation = this.generation;
    this.element.removeAttribute("aria-busy");
    this.waiting.hidden = true;
    if (this.thinking.element.classList.contains("live")) this.#end_thinking();
    this.#views.reasoning?.finish();
    this.#views.content.finish();  // which goes on by itself if there is much left
    this.generation = null;
    this.unfollow = null;
    if (this.node.reasoning) this.#label_thinking();
    this.board?.end();
    this.#finish_foot();
    if (generation) this.#actions.grew();
  }

  #finish_foot() {
    const { node } = this;
    const parts = [];
    if (node.error) {
      parts.push(el("div", { class: "failure", role: "alert" }, el("span", { text: node.error.message + (node.error.retry_after ? ` It asks to wait ${seconds(node.error.retry_after)}.` : "") }),
        el("button", { type: "button", text: "Try again", on: { click: () => this.#actions.again(node) } })));
    }
    const why = { stopped: "Stopped.", length: "Cut off: the limit of new tokens was reached.", content_filter: "Withheld by the server." }[node.finish];
    if (why) parts.push(el("p", { class: "cut", text: why }));
    if (!node.finish) parts.push(el("p", { class: "cut", text: "Interrupted: the page was left while this was written." }));
    parts.push(this.#action_row(icon_button("again", "Answer again", () => this.#actions.again(node)), this.#figures()));
    this.foot.replaceChildren(...parts);
  }

  #figures() {
    const { stats = {} } = this.node;
    const context = this.#actions.context();
    const figures = [];
    if (stats.rate) figures.push([`${stats.rate < 10 ? stats.rate.toFixed(1) : Math.round(stats.rate)} tok/s`, "Tokens per second, after the first"]);
    if (Number.isFinite(stats.first)) figures.push([`first after ${seconds(stats.first)}`, "Time to the first token"]);
    if (stats.tokens) figures.push([`${number(stats.tokens)} tokens`, "New tokens, reasoning included"]);
    if (stats.prompt) {
      const used = number(stats.prompt + (stats.tokens ?? 0));
      figures.push([`context ${used}${context ? ` of ${number(context)}` : ""}`, stats.cached ? `${number(stats.cached)} of them were cached` : "Tokens in the context"]);
    }
    return el("span", { class: "stats" }, ...figures.map(([text, title]) => el("span", { text, title })));
  }
}
