// The conversation that is shown: sending, answering again, editing, stopping, scrolling.

import { by_id, el, set_icon, announce, number, seconds, toast } from "./dom.js";
import { Conversation } from "./conversation.js";
import { Generation } from "./generation.js";
import { MessageView } from "./message_view.js";
import { settings } from "./settings.js";
import { store } from "./store.js";

const NEAR_END = 80;  // px from the end within which the page follows what is written

const SUGGESTIONS = [
  ["A sum that needs care", "What is the sum of all primes below 100? Check the result in a second way."],
  ["A proof", "Prove that the square root of 2 is irrational, in the style of a good textbook."],
  ["A small program", "Write a Python function that returns the n-th Fibonacci number in O(log n) steps, and explain it."],
  ["A riddle", "Three boxes are labelled Apples, Oranges and Both; every label is wrong. How many fruits must I draw to put them right?"],
];

export class Chat {
  conversation = new Conversation();
  #generations = new Map();  // by conversation
  #views = [];
  #following = true;
  #actions;
  #shown = 0;                // which call of show() is the last
  #last_top = 0;

  // `actions`: model() → {id, context}, changed() when the conversation's name or state does, show_board(node).
  constructor(actions) {
    this.#actions = actions;
    this.text = by_id("composer-text");
    this.scroll = by_id("scroll");
    by_id("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.generation) this.stop();
      else this.send();
    });
    this.text.addEventListener("input", () => this.fit());
    this.text.addEventListener("keydown", (event) => this.#key(event));
    this.scroll.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    by_id("jump").addEventListener("click", () => this.#to_end(true));
    by_id("suggestions").append(...SUGGESTIONS.map(([title, text]) =>
      el("button", { type: "button", class: "suggestion", on: { click: () => this.send(text) } }, el("b", { text: title }), text)));
    setInterval(() => this.#read_out(this.generation), 500);
    this.fit();
  }

  get generation() { return this.#generations.get(this.conversation.id); }
  is_busy(id) { return this.#generations.has(id); }
  is_written(generation) { return this.#generations.get(generation.conversation.id) === generation; }

  // A conversation is being deleted: nothing of it may be written any more.
  forget(id) {
    this.#generations.get(id)?.discard();
    this.#generations.delete(id);
  }

  async open(id) {
    // One that is being written is the newest there is.
    const running = this.#generations.get(id)?.conversation;
    const conversation = running ?? await store.get(id);
    if (!conversation) return false;
    this.conversation = conversation;
    await this.show();
    return true;
  }

  start_new() {
    this.conversation = new Conversation();
    this.show();
    if (matchMedia("(hover: hover)").matches) this.text.focus();
  }

  // Draws the path, keeping the messages that stand there already; the end is scrolled to.
  async show() {
    const turn = ++this.#shown, path = this.conversation.path();
    let kept = 0;
    while (kept < path.length && this.#views[kept]?.node === path[kept]) ++kept;
    for (const view of this.#views.slice(kept)) {
      view.unfollow?.();
      view.element.remove();
    }
    const added = path.slice(kept).map((node) => new MessageView(node, this.conversation, this.#message_actions()));
    this.#views = [...this.#views.slice(0, kept), ...added];
    by_id("messages").append(...added.map((view) => view.element));
    by_id("welcome").hidden = path.length > 0;
    this.#following = true;
    this.#state();
    this.#to_end();
    const generation = this.generation;
    for (const view of added) {
      if (generation?.node === view.node) view.follow(generation);
      else await view.show();
      if (turn === this.#shown && this.#following) this.#to_end();
    }
  }

  #message_actions() {
    return {
      edit: (node, text) => this.edit(node, text),
      again: (node) => this.again(node),
      choose: (node) => {
        if (this.generation) return;
        this.conversation.choose(node);
        store.put(this.conversation);
        this.show();
      },
      grew: () => this.#grew(),
      context: () => this.#actions.model()?.context,
      show_board: (node) => this.#actions.show_board(node),
    };
  }

  send(text = this.text.value) {
    const content = text.trim();
    if (!content || this.generation) return;
    if (!this.#actions.model()) {
      toast("There is no model yet: the server does not answer.");
      return;
    }
    if (text === this.text.value) this.text.value = "";
    this.fit();
    this.#ask(this.conversation.head, content);
  }

  edit(node, content) {
    if (this.generation) this.stop();
    this.#ask(node.parent, content);
  }

  #ask(parent, content) {
    const question = this.conversation.add(parent, { role: "user", content });
    this.#answer(question);
  }

  again(node = this.conversation.path().at(-1)) {
    if (!node || this.generation) return;
    const question = node.role === "user" ? node : this.conversation.nodes.get(node.parent);
    if (question) this.#answer(question);
  }

  async #answer(question) {
    const { conversation } = this, model = this.#actions.model();
    const messages = conversation.messages(question, settings.get("system"));
    const node = conversation.add(question.id, { role: "assistant", model: model?.id });
    const rsa = settings.get("rsa") && model?.rsa ? settings.get("rsaPreset") : null;
    const generation = new Generation(conversation, node, { messages, model: model?.id, rsa });
    this.#generations.set(conversation.id, generation);
    generation.addEventListener("state", () => this.#read_out(generation));
    generation.addEventListener("unsaved", () => toast("The browser has no room to keep this conversation."), { once: true });
    generation.addEventListener("end", () => {
      // Unless an edited question has begun another already.
      if (this.is_written(generation)) this.#generations.delete(conversation.id);
      if (conversation === this.conversation) this.#ended(node);
      this.#actions.changed();
    });
    store.put(conversation).catch(() => {});
    this.#actions.changed();
    // Drawn before it runs: the view is its first listener.
    const drawn = this.show();
    generation.run();
    await drawn;
  }

  #ended(node) {
    this.#state();
    announce(node.error ? `Failed: ${node.error.message}` : node.finish === "stopped" ? "Stopped" : `Answered: ${node.content.slice(0, 200)}`);
  }

  stop() {
    this.generation?.stop();
  }

  // Edits the last thing that was said.
  edit_last() {
    this.#views.findLast((view) => view.node.role === "user")?.edit();
  }

  #state() {
    const send = by_id("send"), busy = Boolean(this.generation);
    send.classList.toggle("stop", busy);
    send.setAttribute("aria-label", busy ? "Stop" : "Send");
    set_icon(send, busy ? "stop" : "up");
    send.disabled = !busy && !this.text.value.trim();
    by_id("title").textContent = this.conversation.title || "New chat";
    document.title = this.conversation.title ? `${this.conversation.title} · zaya` : "zaya";
    if (!busy) by_id("readout").textContent = "";
  }

  #read_out(generation) {
    if (!generation || generation !== this.generation) return;
    const { stats } = generation.node;
    const text = generation.tokens === 0 ? `waiting ${seconds(generation.elapsed)}` :
      [`${number(generation.tokens)} tokens`, stats.rate ? `${stats.rate < 10 ? stats.rate.toFixed(1) : Math.round(stats.rate)} tok/s` : ""].filter(Boolean).join(" · ");
    const place = by_id("readout");
    if (place.textContent !== text) place.textContent = text;
  }

  fit() {
    this.text.style.height = "auto";
    this.text.style.height = `${this.text.scrollHeight}px`;
    by_id("send").disabled = !this.generation && !this.text.value.trim();
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      if (!this.generation) this.send();
    } else if (event.key === "ArrowUp" && this.text.value === "" && !this.generation) {
      event.preventDefault();
      this.edit_last();
    }
  }

  // Who scrolls up wants to read there; who comes back to the end wants to follow again.
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroll;
    const left = scrollHeight - scrollTop - clientHeight;
    if (left < NEAR_END) this.#following = true;
    else if (scrollTop < this.#last_top - 2) this.#following = false;
    this.#last_top = scrollTop;
    by_id("jump").hidden = left < 300;
  }

  #grew() {
    if (this.#following) this.#to_end();
    else this.#scrolled();
  }

  #to_end(smooth = false) {
    this.#following = true;
    this.scroll.scrollTo({ top: this.scroll.scrollHeight, behavior: smooth ? "smooth" : "instant" });
  }
}
