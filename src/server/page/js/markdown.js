// Markdown and formulas to elements. The way of every character a model writes: marked makes HTML of it, in which tags of
// the model's own are text unless they are the plainest; DOMPurify keeps the few elements and attributes listed here; and
// only then are code boxes, formulas and links made of what is left. Nothing the model writes can load, run, style or name
// anything.

import { el, icon, copy_text, announce } from "./dom.js";
import { highlight } from "./highlight.js";

const { Lexer, Parser, marked } = globalThis.marked;
const { DOMPurify, katex } = globalThis;

// Debian 12's 2.4.1+dfsg+~2.4.0-2+deb12u1 reads a variable that it never declared, and so throws for every input with
// markup. With this one it finds no nesting to complain about there; the nesting of each element is still looked at.
globalThis.shadowNode ??= Object.freeze({});

// Beyond these a block is shown as plain text. marked's time grows faster than the square of the marks in one run of text
// (20,000 characters of "*a " take it 20 seconds), and nobody writes such paragraphs.
const MOST_BLOCK = 60000, MOST_RUN = 12000, MOST_MARKS = 1000;
const MOST_FORMULA = 4000, MOST_FORMULAS_PER_BLOCK = 300;
const RUNS = /\n(?=[ \t]*(?:[-*+>|#]|\d+[.)]|\n))/;
const DEEP = /^(?:[ \t]*(?:>|[-*+]|\d+[.)])){24}/m;

const BLOCK_FORMULA = [
  /^ {0,3}\$\$([\s\S]{1,4000}?)\$\$[ \t]*(?:\n|$)/,
  /^ {0,3}\\\[([\s\S]{1,4000}?)\\\][ \t]*(?:\n|$)/,
  /^ {0,3}(\\begin\{((?:equation|align|gather|alignat|multline|CD)\*?)\}[\s\S]{1,4000}?\\end\{\2\})[ \t]*(?:\n|$)/,
];
const INLINE_FORMULA = [
  [/^\$\$([^$]{1,4000}?)\$\$/, true],
  [/^\\\[([\s\S]{1,4000}?)\\\]/, true],
  [/^\\\(([\s\S]{1,4000}?)\\\)/, false],
  // As in pandoc, "$5 and $10" is money: no space inside the dollars, no digit after the last.
  [/^\$(?![\s$])((?:\\[^\n]|[^$\\\n]|\n(?!\s*\n)){1,2000}?)(?<![\s\\])\$(?!\d)/, false],
];

const escape_html = (text) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
// Tags in a text that may stay tags: without attributes, and only such as shape text.
const PLAIN_TAG = /^<\/?(?:b|blockquote|br|code|dd|del|details|div|dl|dt|em|h[1-6]|hr|i|kbd|li|mark|ol|p|pre|s|small|span|strong|sub|summary|sup|table|tbody|td|th|thead|tr|u|ul) *\/?>$/i;
const only_plain_tags = (html) => html.replace(/<!--[^]*?-->/g, "").replace(/<[^<>]*>?/g, (tag) => (PLAIN_TAG.test(tag) ? tag : escape_html(tag)));

const formula_html = (tag) => ({ tex, display }) =>
  `<${tag} data-math="${escape_html(tex)}"${display ? ' data-display="1"' : ""}></${tag}>`;

marked.use({
  mangle: false,
  headerIds: false,
  gfm: true,
  breaks: true,  // models end lines where they mean it
  tokenizer: {
    // "47*86 6*7" is arithmetic, not emphasis: a single star between letters or digits stays one.
    emStrong: (source, _masked, before) => (/^\*[\p{L}\p{N}(]/u.test(source) && /[\p{L}\p{N})]$/u.test(before ?? "") ? undefined : false),
  },
  extensions: [
    {
      name: "block_formula",
      level: "block",
      start: (source) => {
        const found = source.search(/\n {0,3}(?:\$\$|\\\[|\\begin\{)/);
        return found < 0 ? undefined : found + 1;
      },
      tokenizer(source) {
        for (const pattern of BLOCK_FORMULA) {
          const match = pattern.exec(source);
          if (match) return { type: "block_formula", raw: match[0], tex: match[1], display: true };
        }
      },
      renderer: formula_html("div"),
    },
    {
      name: "inline_formula",
      level: "inline",
      start: (source) => {
        const found = source.search(/\$|\\[([]/);
        return found < 0 ? undefined : found;
      },
      tokenizer(source) {
        for (const [pattern, display] of INLINE_FORMULA) {
          const match = pattern.exec(source);
          if (match) return { type: "inline_formula", raw: match[0], tex: match[1], display };
        }
      },
      renderer: formula_html("span"),
    },
  ],
  renderer: {
    code: (text, language) => `<pre data-lang="${escape_html((language ?? "").split(/\s/)[0])}"><code>${escape_html(text)}</code></pre>`,
    checkbox: (checked) => (checked ? "☑ " : "☐ "),
    html: only_plain_tags,
    // Within the likes of <pre>, marked hands on text that it has not escaped.
    text: (text) => text.replace(/</g, "&lt;"),
    // Pictures would be requests to others: the text and a link stand in for them.
    image: (href, title, text) => `<a href="${escape_html(href ?? "")}" data-lang="image">${escape_html(text || title || "image")}</a>`,
  },
});

const POLICY = {
  ALLOWED_TAGS: ["p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "b", "em", "i", "del", "s", "u", "sub", "sup", "kbd",
    "mark", "small", "code", "pre", "a", "ul", "ol", "li", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "details", "summary",
    "div", "span", "dl", "dt", "dd", "#text"],
  ALLOWED_ATTR: ["href", "align", "start", "colspan", "rowspan", "open", "data-math", "data-display", "data-lang"],
  ADD_URI_SAFE_ATTR: ["align", "start", "colspan", "rowspan", "open", "data-math", "data-display", "data-lang"],
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  KEEP_CONTENT: true,
  FORBID_CONTENTS: ["script", "style", "template", "noscript", "iframe", "object", "math", "svg", "title", "textarea", "select", "option"],
  RETURN_DOM_FRAGMENT: true,
};

// The top-level blocks of a text; the tokens' raw texts are together as long as the text, if its lines are not indented by tabs.
export function lex(source) {
  return new Lexer({ ...marked.defaults }).lex(source);
}

// Whether a block (or several) is better not given to lex().
export const is_too_much = (source) => source.length > MOST_BLOCK || DEEP.test(source) ||
  source.split(RUNS).some((run) => run.length > MOST_RUN || (run.match(/[*_[`<~]/g)?.length ?? 0) > MOST_MARKS);

export const plain = (source) => el("div", { class: "plain", text: source });

// The elements of some of lex()'s tokens, as a fragment.
export function render(tokens) {
  try {
    return decorate(checked(DOMPurify.sanitize(Parser.parse(tokens, { ...marked.defaults }), POLICY)));
  } catch {
    return fragment_of(plain(tokens.map((token) => token.raw).join("")));  // a nesting that no stack carries
  }
}

// The policy once more, over the elements that are there: a sanitiser with a fault shall not be a hole.
function checked(fragment) {
  for (const element of fragment.querySelectorAll("*")) {
    if (!POLICY.ALLOWED_TAGS.includes(element.localName) || element.namespaceURI !== "http://www.w3.org/1999/xhtml") {
      throw new Error(`${element.localName} came through`);
    }
    for (const { name, value } of [...element.attributes]) {
      if (!POLICY.ALLOWED_ATTR.includes(name) || (name === "href" && !POLICY.ALLOWED_URI_REGEXP.test(value))) element.removeAttribute(name);
    }
  }
  return fragment;
}

function fragment_of(element) {
  const fragment = document.createDocumentFragment();
  fragment.append(element);
  return fragment;
}

function decorate(fragment) {
  for (const link of fragment.querySelectorAll("a")) {
    const image = link.dataset.lang === "image";
    if (!link.hasAttribute("href")) {
      link.replaceWith(...(image ? [el("span", { class: "image" }, icon("image"), ...link.childNodes)] : link.childNodes));
      continue;
    }
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    link.title = link.href;
    if (!image) continue;
    link.className = "image";
    link.prepend(icon("image"));
  }
  for (const pre of fragment.querySelectorAll("pre")) {
    const box = code_box(pre.dataset.lang ?? "", pre.textContent.replace(/\n$/, ""));
    box.finish();
    pre.replaceWith(box.element);
  }
  for (const table of fragment.querySelectorAll("table")) {
    const frame = el("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" });
    table.replaceWith(frame);
    frame.append(table);
  }
  [...fragment.querySelectorAll("[data-math]")].forEach((place, index) => place.replaceWith(formula(place, index)));
  return fragment;
}

function formula(place, index) {
  const tex = place.dataset.math, display = place.hasAttribute("data-display");
  if (tex.length <= MOST_FORMULA && index < MOST_FORMULAS_PER_BLOCK) {
    const element = el("span", { class: display ? "math-block" : "math" });
    try {
      // render() builds elements and sets styles through the object model, which a strict Content-Security-Policy
      // allows. trust: false (the default) refuses \href, \includegraphics and \html….
      katex.render(tex, element, { displayMode: display, throwOnError: true, trust: false, strict: false, maxSize: 30, maxExpand: 300 });
      return element;
    } catch {
      // Not TeX that KaTeX knows, or too much of it: its source says more than an error.
    }
  }
  return el("span", { class: "math-source", text: display ? `\\[${tex}\\]` : `\\(${tex}\\)` });
}

// A box of code that can grow: append(text) while it streams, finish() colours it.
export function code_box(language, text = "") {
  const node = document.createTextNode(text);
  const code = el("code", {}, node);
  const name = language.slice(0, 24);
  const copy = el("button", { type: "button", class: "copy", "aria-label": "Copy the code" }, icon("copy"), "Copy");
  copy.addEventListener("click", () => copy_text(code.textContent, copy).then(() => announce("Code copied")));
  const element = el("div", { class: "codebox" },
    el("div", { class: "codebox-head" }, el("span", { text: name || "text" }), copy),
    el("pre", { tabindex: "0", "aria-label": name ? `Code, ${name}` : "Code" }, code));
  return {
    element,
    append: (more) => node.appendData(more),
    finish: () => highlight(code, language),
  };
}
