// The board as a page of its own: a journal dropped onto it or a run of a conversation, replayed at will.

import { el, icon, icon_button, by_id, toast, seconds } from "../dom.js";
import { StreamView } from "../stream_view.js";
import { Board } from "./board.js";
import { Adapter, parse_journal, with_progress } from "./journal.js";
import { RunModel } from "./run.js";
import { TracePanel } from "./trace.js";

const REPLAY = 12;  // seconds that a replay takes, however long the run was

export class BoardPage {
  #place = by_id("board-view");
  #events = [];
  #model = new RunModel();
  #shown = 0;        // events applied
  #timer = 0;

  constructor() {
    const choose_file = el("button", { type: "button", class: "button primary", text: "Choose a journal…", on: { click: () => this.input.click() } });
    this.input = el("input", { type: "file", accept: ".jsonl,.json,.journal", hidden: true, "aria-label": "Journal" });
    this.input.addEventListener("change", () => this.#read(this.input.files[0]));
    this.drop = el("section", { class: "drop", "aria-labelledby": "drop-title" }, icon("board"),
      el("h2", { id: "drop-title", text: "See how a run of Markovian RSA came to its answer" }),
      el("p", { text: "Several candidates think side by side; each of the next round reads the tails of a few of them. Drop the journal of a run here: it is read in this browser and goes nowhere." }),
      choose_file, this.input);
    this.question = el("div", { class: "board-question" });
    this.stage = el("div", { class: "board-stage" });
    this.controls = this.#build_controls();
    this.panel = new TracePanel({ choose: (round, index) => this.board.choose(round, index), close: () => this.#close_trace() });
    this.run = el("div", { class: "board-run", hidden: true }, el("div", { class: "board-main" }, this.question, this.controls, this.stage), this.panel.element);
    this.#place.append(this.drop, this.run);
    for (const type of ["dragover", "drop"]) {
      this.#place.addEventListener(type, (event) => {
        event.preventDefault();
        this.#place.classList.toggle("over", type === "dragover");
        if (type === "drop") this.#read(event.dataTransfer.files[0]);
      });
    }
    this.#place.addEventListener("dragleave", () => this.#place.classList.remove("over"));
  }

  #build_controls() {
    this.play = icon_button("play", "Replay", () => this.#toggle_play());
    this.slider = el("input", { type: "range", min: "0", max: "0", value: "0", "aria-label": "Moment of the run" });
    this.slider.addEventListener("input", () => {
      this.#stop();
      this.#go(Number(this.slider.value));
    });
    this.moment = el("span", { class: "moment" });
    return el("div", { class: "board-controls" }, this.play, this.slider, this.moment,
      el("button", { type: "button", class: "button", text: "Another run…", on: { click: () => this.input.click() } }));
  }

  async #read(file) {
    this.input.value = "";
    if (!file) return;
    try {
      const { events, skipped } = parse_journal(await file.text());
      this.show(events);
      if (skipped) toast(`${skipped} unreadable ${skipped === 1 ? "line was" : "lines were"} left out.`);
    } catch (error) {
      toast(error.message);
    }
  }

  show(events) {
    this.#stop();
    this.#events = [...events];
    this.generation = null;
    this.drop.hidden = true;
    this.run.hidden = false;
    this.panel.hide();
    this.board?.remove();
    this.board = new Board(this.stage, { choose: (candidate) => this.#open_trace(candidate) });
    this.slider.max = String(this.#events.length);
    this.#model = new RunModel();
    this.#shown = 0;
    this.#go(this.#events.length);
    const text = this.#model.config?.question ?? "";
    const body = el("div");
    new StreamView(body).set(text);
    this.question.replaceChildren(...(text ? [body] : []));
  }

  // The run of an answer, from its journal's lines; `generation` is there while it goes on.
  show_answer(lines, generation = null) {
    const adapter = new Adapter();
    const events = lines.flatMap((line) => adapter.events(line));
    this.show(generation ? events : with_progress(events));
    generation?.addEventListener("rsa", ({ detail }) => {
      if (this.generation === generation) this.#add(adapter.events(detail));
    });
    this.generation = generation;
  }

  #add(events) {
    const following = this.#shown === this.#events.length;
    this.#events.push(...events);
    this.slider.max = String(this.#events.length);
    if (following) this.#go(this.#events.length);
  }

  // The run as it was after `count` events.
  #go(count) {
    if (count < this.#shown) {
      this.#model = new RunModel();
      this.#shown = 0;
    }
    for (; this.#shown < count; ++this.#shown) this.#model.apply(this.#events[this.#shown]);
    this.slider.value = String(count);
    this.moment.textContent = this.#model.time ? seconds(this.#model.time) : "";
    this.board.show(this.#model);
    const shown = this.panel.shown;
    const candidate = shown && this.#model.rounds[shown.round]?.[shown.index];
    if (candidate && candidate !== shown) this.panel.show(candidate, this.#model);
  }

  #toggle_play() {
    if (this.#timer) {
      this.#stop();
      return;
    }
    if (this.#shown === this.#events.length) this.#go(0);
    this.#set_play("pause", "Pause");
    // Through the run's own time where it tells it, else through its events.
    const total = this.#events.at(-1)?.time || 0, began = performance.now();
    const from = total ? this.#model.time / total : this.#shown / this.#events.length;
    const step = () => {
      const share = Math.min(1, from + (performance.now() - began) / 1000 / REPLAY);
      let count = total ? this.#shown : Math.floor(share * this.#events.length);
      while (total && count < this.#events.length && (this.#events[count].time ?? 0) <= share * total) ++count;
      if (share >= 1) count = this.#events.length;
      if (count > this.#shown) this.#go(count);
      if (share >= 1) this.#stop();
    };
    this.#timer = setInterval(step, 50);
  }

  #stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#set_play("play", "Replay");
  }

  #set_play(name, label) {
    this.play.replaceChildren(icon(name));
    this.play.setAttribute("aria-label", label);
    this.play.title = label;
  }

  #open_trace(candidate) {
    this.panel.show(candidate, this.#model);
    this.panel.title.focus({ preventScroll: true });
  }

  #close_trace() {
    this.panel.hide();
    this.board.clear_choice()?.focus();
  }
}
