// Server-sent events out of a fetch response: EventSource can neither POST nor send a key.

// Cuts a stream of text into events {event, data}; lines end with \n, \r\n or \r wherever the network cuts them.
export class EventParser {
  #rest = "";
  #event = "";
  #data = [];

  feed(text) {
    const events = [];
    let buffer = this.#rest + text;
    // A \r at the very end may be half of \r\n.
    const held = buffer.endsWith("\r") ? "\r" : "";
    if (held) buffer = buffer.slice(0, -1);
    const lines = buffer.split(/\r\n|\n|\r/);
    this.#rest = lines.pop() + held;
    for (const line of lines) {
      const event = this.#line(line);
      if (event) events.push(event);
    }
    return events;
  }

  #line(line) {
    if (line === "") {
      const event = { event: this.#event || "message", data: this.#data.join("\n") };
      const filled = this.#data.length > 0;
      this.#event = "";
      this.#data = [];
      return filled ? event : null;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    return null;
  }
}

// The events of a response's body until it ends. Leaving the loop cancels the request.
export async function* events_of(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield* parser.feed(value);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
