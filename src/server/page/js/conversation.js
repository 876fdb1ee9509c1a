// A conversation is a tree: editing or answering again adds a sibling, so nothing that was said is lost. What is shown
// is the path from the root to `head`.

export const new_id = () => (crypto.randomUUID ? crypto.randomUUID() :
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join(""));

export class Conversation {
  constructor(record = {}) {
    this.id = record.id ?? new_id();
    this.title = record.title ?? "";
    this.created = record.created ?? Date.now();
    this.updated = record.updated ?? this.created;
    this.head = record.head ?? null;
    this.nodes = new Map((record.nodes ?? []).map((node) => [node.id, node]));
  }

  record() {
    return { id: this.id, title: this.title, created: this.created, updated: this.updated, head: this.head,
      nodes: [...this.nodes.values()] };
  }

  get empty() { return this.nodes.size === 0; }

  add(parent, fields) {
    const node = { id: new_id(), parent, content: "", created: Date.now(), ...fields };
    this.nodes.set(node.id, node);
    this.head = node.id;
    this.updated = Date.now();
    if (!this.title && node.role === "user") this.title = title_of(node.content);
    return node;
  }

  // The shown messages, first to last.
  path(from = this.head) {
    const path = [];
    for (let node = this.nodes.get(from); node && path.length <= this.nodes.size; node = this.nodes.get(node.parent)) path.push(node);
    return path.reverse();
  }

  siblings(node) {
    return [...this.nodes.values()].filter((other) => other.parent === node.parent && other.role === node.role);
  }

  // Shows another version of a message, and of what follows it the newest.
  choose(node) {
    let last = node;
    for (let next = node; next;) {
      last = next;
      const children = [...this.nodes.values()].filter((other) => other.parent === last.id);
      next = children.at(-1);
    }
    this.head = last.id;
    this.updated = Date.now();
  }

  // What the model is to see before it answers after `node`.
  messages(node, system) {
    const messages = this.path(node.id).filter((other) => other.role === "user" || other.content)
      .map(({ role, content }) => ({ role, content }));
    return system.trim() ? [{ role: "system", content: system }, ...messages] : messages;
  }
}

export function title_of(text) {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > 60 ? `${line.slice(0, 58).trimEnd()}…` : line;
}

// Reads what export_text wrote, or throws with a sentence. A file comes from anywhere: only known fields of the right
// type are taken, and each conversation gets an id of its own.
const MOST_BYTES = 200e6, MOST_NODES = 20000;

export function import_text(text) {
  if (text.length > MOST_BYTES) throw new Error("The file is larger than 200 MB.");
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("The file is not JSON.");
  }
  if (file?.format !== "zaya.conversations" || file.version !== 1 || !Array.isArray(file.conversations)) {
    throw new Error("The file holds no conversations of this page.");
  }
  return file.conversations.map(import_one).filter((conversation) => conversation !== null);
}

const string = (value, most = 1e8) => (typeof value === "string" ? value.slice(0, most) : "");
const time = (value) => (Number.isFinite(value) && value > 0 && value < 1e14 ? value : Date.now());
const finite = (value) => (Number.isFinite(value) ? value : null);

function import_one(record) {
  if (!Array.isArray(record?.nodes) || record.nodes.length > MOST_NODES) return null;
  const ids = new Map();
  for (const node of record.nodes) if (typeof node?.id === "string") ids.set(node.id, new_id());
  const nodes = [], seen = new Set();
  for (const node of record.nodes) {
    if (!ids.has(node?.id) || seen.has(node.id) || !["user", "assistant"].includes(node.role)) continue;
    // A parent stands before its children, which rules out circles.
    const parent = seen.has(node.parent) ? ids.get(node.parent) : null;
    seen.add(node.id);
    const stats = node.stats && typeof node.stats === "object" ?
      Object.fromEntries(["first", "rate", "tokens", "prompt", "thought", "thought_tokens"].map((name) => [name, finite(node.stats[name])])) : undefined;
    nodes.push({ id: ids.get(node.id), parent, role: node.role, content: string(node.content), created: time(node.created),
      reasoning: string(node.reasoning) || undefined, model: string(node.model, 200) || undefined,
      finish: string(node.finish, 40) || undefined, stats,
      journal: Array.isArray(node.journal) ? node.journal.slice(0, 200000) : undefined });
  }
  if (nodes.length === 0) return null;
  const head = ids.get(record.head);
  return new Conversation({ title: string(record.title, 200), created: time(record.created), updated: time(record.updated),
    head: nodes.some((node) => node.id === head) ? head : nodes.at(-1).id, nodes });
}

export function export_text(conversations) {
  return JSON.stringify({ format: "zaya.conversations", version: 1, exported: new Date().toISOString(),
    conversations: conversations.map((conversation) => conversation.record()) }, null, 1);
}
