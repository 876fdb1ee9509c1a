// Shows markdown that is still being written. What is finished is never touched again: the source is cut into top-level
// blocks, a block is rendered for good once another one stands after it, and only the last is rendered anew as it grows
// (code that is still open only gets the new characters appended). An answer of 100,000 characters therefore costs its
// length, not its square.

import { code_box, is_too_much, lex, plain, render } from "./markdown.js";

const FENCE = /^(`{3,}|~{3,})([^`\n]*)$/;
const SHORTEST_PAUSE = 40;    // ms between two renderings
const PAUSE_PER_COST = 4;     // a rendering may take a fifth of the time
const PIECE = 2000;           // characters taken at a time
const SLICE = 12;             // ms of work at a time

export class StreamView {
  #root;
  #incoming = "";    // not yet looked at
  #text = "";        // of the open block and what follows, not yet rendered for good
  #tail = [];        // the elements that show #text for now
  #code = null;      // {box, fence, pending}: an open fence
  #timer = 0;
  #turn = 0;
  #cost = 0;
  #after;

  // `after` is called when something has been shown.
  constructor(root, after = () => {}) {
    this.#root = root;
    this.#after = after;
    root.classList.add("prose");
  }

  append(text) {
    this.#incoming += text;
    if (this.#timer === 0) {
      this.#timer = setTimeout(() => this.#show(), Math.min(1000, Math.max(SHORTEST_PAUSE, PAUSE_PER_COST * this.#cost)));
    }
  }

  // No more comes. Resolves when all is shown.
  finish() {
    return this.#slices(true);
  }

  // Shows a whole text.
  set(text) {
    this.#incoming = text;
    return this.#slices(true);
  }

  #show() {
    this.#timer = 0;
    return this.#slices(false);
  }

  // A burst or a long text is shown in slices, so that the page stays alive meanwhile.
  async #slices(last) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const turn = ++this.#turn;
    for (let more = true; more;) {
      const start = performance.now();
      do more = this.#take(last);
      while (more && performance.now() - start < SLICE);
      this.#cost = performance.now() - start;
      this.#after();
      if (!more) return;
      await new Promise((resolve) => setTimeout(resolve));
      if (turn !== this.#turn) return;  // somebody else goes on from here
    }
  }

  // Takes some of what came, to the end of a line: the blocks of a burst are told apart before one has to be judged
  // by its length. True when there is more.
  #take(last) {
    let end = this.#incoming.indexOf("\n", PIECE) + 1;
    if (end === 0) end = this.#incoming.length;
    // Half of a line end may be still to come.
    if (end === this.#incoming.length && !last && this.#incoming.endsWith("\r")) --end;
    const more = end < this.#incoming.length && end > 0;
    this.#text += this.#incoming.slice(0, end).replace(/\r\n?/g, "\n");
    this.#incoming = this.#incoming.slice(end);
    for (const element of this.#tail) element.remove();
    this.#tail = [];
    const finished = last && !more;
    while (this.#text && (this.#code ? this.#advance_code(finished) : this.#advance_prose(finished)));
    if (finished && this.#code) this.#close_code();
    return more;
  }

  // In prose: up to the next fence that stands at the start of a line. True when there may be more to do.
  #advance_prose(last) {
    const fence = this.#find_fence(last);
    if (fence) {
      this.#settle(this.#text.slice(0, fence.start), true);
      this.#text = this.#text.slice(fence.end);
      const box = code_box(fence.language);
      this.#root.append(box.element);
      this.#code = { box, fence: fence.mark };
      return true;
    }
    const held = last ? 0 : held_back(this.#text);
    const rest = this.#settle(this.#text.slice(0, this.#text.length - held), last);
    this.#text = rest + this.#text.slice(this.#text.length - held);
    if (last) this.#text = "";
    return false;
  }

  #find_fence(last) {
    for (let start = 0; start < this.#text.length;) {
      const next = this.#text.indexOf("\n", start);
      if (next < 0 && !last) return null;
      const end = next < 0 ? this.#text.length : next;
      const match = FENCE.exec(this.#text.slice(start, end));
      if (match) return { start, end: Math.min(end + 1, this.#text.length), mark: match[1], language: match[2].trim().split(/\s/)[0] };
      start = end + 1;
    }
    return null;
  }

  // Renders `text`; what must stay open is shown for now and returned.
  #settle(text, whole) {
    // marked does the same; done here first, the tokens' lengths are lengths of our text.
    const source = text.replace(/^( *)(\t+)/gm, (_, spaces, tabs) => spaces + "    ".repeat(tabs.length));
    if (!source.trim()) return whole ? "" : source;
    const tokens = is_too_much(source) ? null : lex_or_null(source);
    if (!tokens) return this.#settle_plain(source, whole);
    // Open is the last block that is not blank: more of it may come.
    let open = whole ? tokens.length : tokens.findLastIndex((token) => token.type !== "space");
    if (open < 0) open = 0;
    if (open > 0) this.#put([render(tokens.slice(0, open))], true);
    if (whole) return "";
    this.#put([render(tokens.slice(open))], false);
    // By length: marked notes a space at the end of a token as a line break.
    return source.slice(tokens.slice(0, open).reduce((sum, token) => sum + token.raw.length, 0));
  }

  // Text that is no markdown any more: all but its last 2000 characters is there to stay, so that a line without end
  // costs its length too. It becomes markdown again after an empty line.
  #settle_plain(source, whole) {
    const blank = source.lastIndexOf("\n\n");
    const end = whole ? source.length : blank > 0 ? blank + 2 : Math.max(0, source.length - 2000);
    if (end > 0) this.#put([plain(source.slice(0, end))], true);
    if (end < source.length) this.#put([plain(source.slice(end))], false);
    return source.slice(end);
  }

  #put(nodes, settled) {
    for (const node of nodes) {
      const before = this.#root.lastChild;
      if (settled && node.className === "plain" && before?.className === "plain") {
        before.append(node.textContent);
        continue;
      }
      if (!settled) this.#tail.push(...(node.nodeType === Node.DOCUMENT_FRAGMENT_NODE ? node.childNodes : [node]));
      this.#root.append(node);
    }
  }

  // In code: up to a closing fence, else everything but a line that may become one.
  #advance_code(last) {
    const { box, fence } = this.#code;
    for (let start = 0; start < this.#text.length;) {
      const next = this.#text.indexOf("\n", start);
      if (next < 0 && !last) break;
      const end = next < 0 ? this.#text.length : next;
      const line = this.#text.slice(start, end).trim();
      if (line.length >= fence.length && line === fence[0].repeat(line.length)) {
        this.#append_code(this.#text.slice(0, start));
        this.#close_code();
        this.#text = this.#text.slice(end + 1);
        return true;
      }
      start = end + 1;
    }
    const line = this.#text.slice(this.#text.lastIndexOf("\n") + 1);
    const held = !last && line !== "" && /^\s*(?:`+|~+)?\s*$/.test(line) ? line.length : 0;
    this.#append_code(this.#text.slice(0, this.#text.length - held));
    this.#text = this.#text.slice(this.#text.length - held);
    return false;
  }

  // The line end before the closing fence belongs to the fence, so one line end is always kept for later.
  #append_code(text) {
    if (!text) return;
    const whole = (this.#code.pending ?? "") + text;
    this.#code.pending = whole.endsWith("\n") ? "\n" : "";
    this.#code.box.append(this.#code.pending ? whole.slice(0, -1) : whole);
  }

  #close_code() {
    this.#code.box.finish();
    this.#code = null;
  }
}

function lex_or_null(source) {
  try {
    return lex(source);
  } catch {
    return null;  // a nesting that no stack carries
  }
}

// Of an unfinished line, how much may be the beginning of a fence, and is not shown yet.
function held_back(text) {
  const line = text.slice(text.lastIndexOf("\n") + 1);
  return /^(?:`{1,2}|~{1,2}|`{3,}[^`]*|~{3,}.*)$/.test(line) ? line.length : 0;
}
