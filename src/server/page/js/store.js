// Conversations in the browser's IndexedDB; without one (private windows of some browsers) in memory until the page is left.
// Tabs tell each other what changed.

import { Conversation } from "./conversation.js";

const promised = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

class Store extends EventTarget {
  #database = null;
  #memory = new Map();
  #channel = "BroadcastChannel" in self ? new BroadcastChannel("zaya.conversations") : null;

  async open() {
    try {
      const request = indexedDB.open("zaya", 1);
      request.onupgradeneeded = () => request.result.createObjectStore("conversations", { keyPath: "id" });
      this.#database = await promised(request);
      // A newer page in another tab must not wait for this one.
      this.#database.onversionchange = () => this.#database.close();
    } catch {
      this.#database = null;
    }
    this.#channel?.addEventListener("message", ({ data }) =>
      this.dispatchEvent(new CustomEvent("elsewhere", { detail: data })));
  }

  get lasting() { return this.#database !== null; }

  #table(mode) {
    return this.#database.transaction("conversations", mode).objectStore("conversations");
  }

  async all() {
    const records = this.#database ? await promised(this.#table("readonly").getAll()) : [...this.#memory.values()];
    return records.map((record) => new Conversation(record)).sort((a, b) => b.updated - a.updated);
  }

  async get(id) {
    const record = this.#database ? await promised(this.#table("readonly").get(id)) : this.#memory.get(id);
    return record ? new Conversation(record) : null;
  }

  async put(conversation) {
    const record = structuredClone(conversation.record());
    if (this.#database) await promised(this.#table("readwrite").put(record));
    else this.#memory.set(record.id, record);
    this.#tell(conversation.id);
  }

  async remove(id) {
    if (this.#database) await promised(this.#table("readwrite").delete(id));
    else this.#memory.delete(id);
    this.#tell(id);
  }

  #tell(id) {
    this.dispatchEvent(new CustomEvent("change", { detail: id }));
    this.#channel?.postMessage(id);
  }
}

export const store = new Store();
