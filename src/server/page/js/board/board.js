// The picture of a run: who read whom, what each candidate wrote and answered, how the votes form. Drawn in SVG by hand;
// colours come from css/board.css, so both appearances work.

import { el, svg, number, seconds } from "../dom.js";
import { RunModel } from "./run.js";
import { HEAD, curve, fit, layout, ribbon } from "./layout.js";

const COLOURS = 7;
const thousands = (value) => (value < 1000 ? String(value) : value < 99950 ? `${(value / 1000).toFixed(1)}k` : value < 1e6 ? `${Math.round(value / 1000)}k` : `${(value / 1e6).toFixed(2)}M`);
const colour_class = (index) => (index < 0 ? "none" : `a${index % COLOURS}`);

export class Board {
  #nodes = new Map();  // "round:index" → the candidate's elements
  #links = [];         // {element, from, to}
  #chosen = null;
  #drawn = false;
  #frame = 0;
  #width = 0;
  #started = performance.now();
  #observer;

  // `choose(candidate)`: one was clicked. `small`: within an answer; `open` then leads to the large board.
  constructor(place, { small = false, choose = null, open = null } = {}) {
    this.model = new RunModel();
    this.#small = small;
    this.#choose = choose ?? open ?? (() => {});
    this.summary = el("div", { class: "run-summary" });
    this.picture = svg("svg", { class: "board-picture", role: "group", "aria-label": "Candidates by round" });
    this.frame = el("div", { class: "board-frame" }, this.picture);
    this.element = el("figure", { class: small ? "board small" : "board" }, this.summary, this.frame);
    if (small && open) {
      this.element.append(el("figcaption", {}, el("button", { type: "button", class: "link", text: "Open on the board", on: { click: open } })));
    }
    place.append(this.element);
    this.picture.addEventListener("keydown", (event) => this.#key(event));
    this.#observer = new ResizeObserver(([entry]) => {
      if (Math.abs(entry.contentRect.width - this.#width) < 1) return;
      this.#width = entry.contentRect.width;
      this.draw();
    });
    this.#observer.observe(this.frame);
  }

  #choose;
  #small;

  apply(event) {
    if (!this.#drawn) this.#started = performance.now() - this.model.time * 1000;
    this.#drawn = true;
    const reshaped = this.model.apply(event);
    if (reshaped) this.redraw();
    else if (event.type === "text") this.#update(this.model.rounds[event.round]?.[event.index]);
  }

  // Another model, for example one that stands at another moment of a journal.
  show(model) {
    this.model = model;
    this.redraw();
  }

  // At most once a frame, however many events come.
  redraw() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => this.draw());
    if (document.hidden) this.draw();
  }

  tick() {
    if (this.model.running) this.#summarise((performance.now() - this.#started) / 1000);
  }

  end() {
    if (this.model.outcome === null) this.model.apply({ type: "end", stopped: "interrupted", seconds: (performance.now() - this.#started) / 1000 });
    this.redraw();
  }

  remove() {
    this.#observer.disconnect();
    this.element.remove();
  }

  draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const focused = this.picture.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const { rounds } = this.model, tally = this.model.tally();
    this.#nodes.clear();
    this.#links = [];
    this.#summarise();
    const available = this.#width || this.frame.clientWidth;
    if (rounds.length === 0 || available === 0) {
      this.picture.replaceChildren();
      return;
    }
    const plan = (this.plan = layout(rounds.map((round) => round.length), tally, available, this.#small ? 560 : innerHeight - Math.max(150, this.frame.getBoundingClientRect().top) - 12));
    this.picture.setAttribute("viewBox", `0 0 ${plan.width} ${plan.total}`);
    this.picture.setAttribute("width", plan.width);
    this.picture.setAttribute("height", plan.total);
    const links = svg("g", { class: "links", "aria-hidden": "true" }), cards = svg("g", { class: "cards" });
    for (const round of rounds) for (const candidate of round) this.#draw_links(candidate, links);
    for (const round of rounds) for (const candidate of round) cards.append(this.#draw_card(candidate));
    this.picture.replaceChildren(...rounds.map((round, index) => this.#draw_head(round, index)), links, this.#draw_votes(), cards);
    if (this.#chosen) this.#light(this.#chosen);
    const first = this.#nodes.get(focused) ?? this.#nodes.get(this.#chosen) ?? this.#nodes.values().next().value;
    first?.element.setAttribute("tabindex", "0");
    if (focused) this.#nodes.get(focused)?.element.focus();
  }

  #draw_head(round, index) {
    const { x } = this.plan.at(index, 0), { config } = this.model;
    const tokens = round.reduce((sum, candidate) => sum + candidate.tokens, 0);
    const reads = round.find(({ parents }) => parents.length)?.parents.length ?? config?.c;
    const second = !this.plan.large ? (tokens ? thousands(tokens) : "") :
      [index === 0 ? "from the question" : reads ? `reads ${reads} tails` : "", tokens ? `${thousands(tokens)} tok` : ""].filter(Boolean).join(" · ");
    return svg("g", { class: "head" }, svg("text", { class: "head-title", x, y: 17 }, this.plan.large ? `Round ${index}` : `R${index}`),
      svg("text", { class: "head-note", x, y: 34 }, fit(second, this.plan.card + this.plan.gap - 8, 11)));
  }

  #draw_links(candidate, group) {
    const { plan, model } = this, to = plan.at(candidate.round, candidate.index);
    for (const parent of candidate.parents) {
      const from = plan.at(candidate.round - 1, parent), source = model.rounds[candidate.round - 1][parent];
      const element = svg("path", { class: `link ${colour_class(model.colour(source))}${candidate.state === "running" ? " flowing" : ""}`,
        d: curve(from.x + plan.card, from.y + plan.height / 2, to.x, to.y + plan.height / 2) });
      group.append(element);
      this.#links.push({ element, from: `${candidate.round - 1}:${parent}`, to: `${candidate.round}:${candidate.index}` });
    }
  }

  #draw_card(candidate) {
    const { plan } = this, { x, y } = plan.at(candidate.round, candidate.index), name = `${candidate.round}:${candidate.index}`;
    const bar_y = plan.height - (plan.roomy ? 8 : 5.5), text_y = plan.roomy ? bar_y / 2 + 5 : bar_y / 2 + 3.6;
    const element = svg("g", { "data-name": name, transform: `translate(${x} ${y})`, role: "button", tabindex: "-1",
      on: {
        click: () => this.choose(candidate.round, candidate.index),
        pointerenter: () => this.#light(name),
        pointerleave: () => this.#light(this.#chosen),
        focus: () => this.#light(name),
        blur: () => this.#light(this.#chosen),
      } });
    const parts = {
      element, candidate,
      label: svg("text", { class: "label", x: 10, y: text_y }),
      count: svg("text", { class: "count", x: plan.card - 9, y: text_y, "text-anchor": "end" }),
      bar: svg("rect", { class: "bar", x: 9, y: bar_y, height: plan.roomy ? 3.5 : 2.5, rx: 1.75 }),
      tail: svg("rect", { class: "tail", y: bar_y, height: plan.roomy ? 3.5 : 2.5, rx: 1.75 }),
      title: svg("title"),
    };
    element.append(parts.title, svg("rect", { class: "card", width: plan.card, height: plan.height, rx: Math.min(9, plan.height / 3) }),
      svg("rect", { class: "track", x: 9, y: bar_y, width: plan.card - 18, height: plan.roomy ? 3.5 : 2.5, rx: 1.75 }),
      parts.bar, parts.tail, parts.label, parts.count);
    this.#nodes.set(name, parts);
    this.#update(candidate);
    return element;
  }

  // What a candidate's card says, which changes with every token.
  #update(candidate) {
    const parts = candidate && this.#nodes.get(`${candidate.round}:${candidate.index}`);
    if (!parts) return;
    const { plan, model } = this, { config } = model;
    const { state, tokens, answer } = candidate;
    parts.element.setAttribute("class", `candidate ${state} ${colour_class(model.colour(candidate))}${this.#chosen === `${candidate.round}:${candidate.index}` ? " chosen" : ""}`);
    const count = tokens && plan.large ? thousands(tokens) : "";
    const words = state === "waiting" ? "" : state === "running" ? (plan.large ? "thinking" : "…") : state === "cut" ? "cut" : answer ?? "no answer";
    parts.label.textContent = fit(words, plan.card - 20 - count.length * 6.6, plan.roomy ? 12.5 : 10.5);
    parts.count.textContent = count;
    const most = config?.beta || Math.max(1, ...model.rounds.flat().map((one) => one.tokens));
    const full = plan.card - 18, length = Math.min(1, tokens / most) * full;
    const tail = Math.min(length, Math.min(1, (config?.tau ?? 0) / most) * full);
    parts.bar.setAttribute("width", Math.max(0, length).toFixed(1));
    parts.tail.setAttribute("x", (9 + length - tail).toFixed(1));
    parts.tail.setAttribute("width", Math.max(0, tail).toFixed(1));
    const reads = candidate.parents.length ? `, reads ${candidate.parents.map((parent) => parent + 1).join(", ")}` : "";
    const said = `Round ${candidate.round}, candidate ${candidate.index + 1}: ${state === "done" ? (answer === null ? "no answer" : `answer ${answer}`) : state}, ${number(tokens)} tokens${reads}`;
    parts.title.textContent = said;
    parts.element.setAttribute("aria-label", said);
  }

  #draw_votes() {
    const { plan, model } = this, group = svg("g", { class: "votes" }), last = model.voting_round;
    const round = model.rounds[last] ?? [];
    group.append(svg("text", { class: "head-title", x: plan.votes_x, y: 17 }, "Votes"));
    const wanted = round.length, came = round.filter(({ answer }) => answer !== null).length;
    group.append(svg("text", { class: "head-note", x: plan.votes_x, y: 34 }, plan.large ? `${came} of ${wanted} answered` : `${came}/${wanted}`));
    if (plan.votes.length === 0) {
      group.append(svg("rect", { class: "vote-empty", x: plan.votes_x, y: HEAD, width: plan.votes_width, height: plan.total - HEAD - 10, rx: 10 }));
      return group;
    }
    const { outcome } = model;
    const is_chosen = (box) => outcome !== null && (outcome.index === null ? box.answer === outcome.answer : box.candidates.includes(outcome.index));
    for (const box of plan.votes) {
      const colour = colour_class(model.colour_of(box.answer));
      const voters = last === model.last_round ? round.filter(({ index }) => box.candidates.includes(index)) : [];
      voters.forEach((candidate, index) => {
        const from = plan.at(last, candidate.index), share = box.height / voters.length;
        group.append(svg("path", { class: `ribbon ${colour}`, d: ribbon(from.x + plan.card, from.y + 4, plan.height - 8, box.x, box.y + index * share, share) }));
      });
      const won = is_chosen(box);
      const size = Math.min(20, Math.max(12.5, box.height / 3.4)), middle = box.y + box.height / 2;
      const tall = box.height > 50;
      group.append(svg("g", { class: `vote ${colour}${won ? " won" : ""}` },
        svg("title", {}, `${box.count} for ${box.answer}`),
        svg("rect", { x: box.x, y: box.y, width: box.width, height: box.height, rx: 9 }),
        svg("text", { class: "vote-answer", x: box.x + 11, y: tall ? middle : middle + 4.5, "font-size": tall ? size : 12.5 },
          fit(box.answer, box.width - (tall ? 20 : 44), tall ? size : 12.5)),
        svg("text", tall ? { class: "vote-count", x: box.x + 11, y: middle + 18 } : { class: "vote-count", x: box.x + box.width - 10, y: middle + 4.5, "text-anchor": "end" },
          tall ? `${box.count} ${box.count === 1 ? "vote" : "votes"}${won && plan.large ? " · chosen" : ""}` : String(box.count))));
    }
    return group;
  }

  // Brings out what a candidate came from and what came of it; null brings out nothing.
  #light(name) {
    const [round, index] = (name ?? "").split(":").map(Number);
    const relatives = this.model.rounds[round]?.[index] ? this.model.relatives(round, index) : new Set();
    this.picture.classList.toggle("lit", relatives.size > 1);
    if (relatives.size < 2) return;
    for (const [key, { element }] of this.#nodes) element.classList.toggle("near", relatives.has(key));
    for (const { element, from, to } of this.#links) {
      element.classList.toggle("near", relatives.has(from) && relatives.has(to));
    }
  }

  choose(round, index) {
    this.#chosen = `${round}:${index}`;
    for (const [key, { element }] of this.#nodes) element.classList.toggle("chosen", key === this.#chosen);
    this.#light(this.#chosen);
    this.#choose(this.model.rounds[round][index]);
  }

  clear_choice() {
    const parts = this.#nodes.get(this.#chosen);
    parts?.element.classList.remove("chosen");
    this.#chosen = null;
    this.#light(null);
    return parts?.element;
  }

  // One stop for the tabulator; arrows walk over the candidates.
  #key(event) {
    const name = event.target.dataset?.name;
    if (!name) return;
    const [round, index] = name.split(":").map(Number), { rounds } = this.model;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.choose(round, index);
      return;
    }
    const step = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    const next_round = rounds[round + (step?.[0] ?? 0)];
    if (!step || !next_round) return;
    event.preventDefault();
    const next = this.#nodes.get(`${round + step[0]}:${Math.min(next_round.length - 1, Math.max(0, index + step[1]))}`);
    event.target.setAttribute("tabindex", "-1");
    next.element.setAttribute("tabindex", "0");
    next.element.focus();
  }

  #summarise(elapsed = this.model.seconds) {
    const { model } = this, { config, outcome } = model;
    if (!config) return;
    const facts = [];
    const settings = [["N", config.n], ["C", config.c], ["T", config.t], ["β", config.beta], ["τ", config.tau]].filter(([, value]) => value !== null);
    facts.push(el("span", { class: "fact name", text: config.preset ? `Markovian RSA, ${config.preset}` : config.method && config.method !== "markovian_rsa" ? config.method : "Markovian RSA" }));
    for (const [name, value] of settings) facts.push(el("span", { class: "fact" }, el("i", { text: name }), ` ${number(value)}`));
    const tokens = model.tokens;
    facts.push(el("span", { class: "fact", text: `${number(tokens)} new tokens` }));
    if (elapsed > 0) facts.push(el("span", { class: "fact", text: seconds(elapsed) }));
    if (outcome?.prompt_tokens) {
      const cached = outcome.cached_tokens ? `, ${Math.round(100 * outcome.cached_tokens / outcome.prompt_tokens)} % of them shared` : "";
      facts.push(el("span", { class: "fact", text: `${number(outcome.prompt_tokens)} prompt tokens${cached}` }));
    }
    if (elapsed > 0.5 && tokens) facts.push(el("span", { class: "fact", text: `${number(tokens / elapsed)} tok/s` }));
    if (outcome) {
      const why = { tokens: "token limit", time: "time limit", decided: "vote decided", interrupted: "interrupted", failed: "failed" }[outcome.stopped];
      if (why) facts.push(el("span", { class: "fact", text: why }));
    } else facts.push(el("span", { class: "fact live", text: "running" }));
    this.summary.replaceChildren(...facts);
  }
}
