// The list of conversations: search, open, rename, export, delete.

import { el, icon_button, by_id, ask, download } from "./dom.js";
import { export_text } from "./conversation.js";
import { store } from "./store.js";

const DAY = 86400000;

function group_of(time, now = new Date()) {
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  if (time >= today) return "Today";
  if (time >= today - DAY) return "Yesterday";
  if (time >= today - 7 * DAY) return "Last 7 days";
  return new Date(time).toLocaleDateString("en-US", { month: "long", year: "numeric" });
}

export class Sidebar {
  #actions;
  #conversations = [];
  #scheduled = 0;

  // `actions`: open(id), is_current(id), is_busy(id), removed(id), renamed(id, title).
  constructor(actions) {
    this.#actions = actions;
    by_id("search").addEventListener("input", () => this.draw());
    for (const type of ["change", "elsewhere"]) store.addEventListener(type, () => this.#soon());
  }

  #soon() {
    clearTimeout(this.#scheduled);
    this.#scheduled = setTimeout(() => this.refresh(), 150);
  }

  async refresh() {
    this.#conversations = await store.all();
    this.draw();
  }

  draw() {
    const wanted = by_id("search").value.trim().toLowerCase();
    const shown = this.#conversations.filter((conversation) => !wanted || matches(conversation, wanted));
    const nav = by_id("conversations");
    // The focus survives the redrawing.
    const focused = nav.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    const parts = [];
    let group = null, list = null;
    for (const conversation of shown) {
      const name = group_of(conversation.updated);
      if (name !== group) {
        group = name;
        list = el("ul", {});
        parts.push(el("h3", { text: name }), list);
      }
      list.append(this.#entry(conversation));
    }
    if (shown.length === 0) parts.push(el("p", { class: "empty", text: wanted ? "Nothing found." : "Your conversations will stand here." }));
    nav.replaceChildren(...parts);
    if (focused) nav.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  #entry({ id, title }) {
    const name = title || "Untitled", current = this.#actions.is_current(id);
    const button = (icon, label, action) => icon_button(icon, `${label} “${name}”`, action, { "data-focus": `${icon}-${id}` });
    return el("li", { class: `entry${current ? " current" : ""}${this.#actions.is_busy(id) ? " busy" : ""}` },
      el("button", { type: "button", class: "entry-open", text: name, title: name, "aria-current": current ? "true" : null,
        "data-focus": id, on: { click: () => this.#actions.open(id) } }),
      el("span", { class: "entry-actions" },
        button("edit", "Rename", () => this.#rename(id, name)),
        button("download", "Export", () => this.#export(id)),
        button("trash", "Delete", () => this.#remove(id, name))));
  }

  async #rename(id, title) {
    const wanted = await ask({ title: "Rename the conversation", value: title, ok: "Rename" });
    if (!wanted || wanted === title) return;
    this.#actions.renamed(id, wanted);
    const conversation = await store.get(id);
    if (!conversation) return;
    conversation.title = wanted;
    await store.put(conversation);
  }

  async #export(id) {
    const conversation = await store.get(id);
    if (conversation) download(`${file_name(conversation.title)}.json`, export_text([conversation]));
  }

  async #remove(id, title) {
    if (!await ask({ title: "Delete the conversation?", text: title, ok: "Delete", danger: true })) return;
    this.#actions.removed(id);
    await store.remove(id);
  }
}

function matches(conversation, wanted) {
  if (conversation.title.toLowerCase().includes(wanted)) return true;
  for (const node of conversation.nodes.values()) if (node.content.toLowerCase().includes(wanted)) return true;
  return false;
}

const file_name = (title) => title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "conversation";
