// The one place that knows how runs are written down: journal lines and stream events to the events of run.js.

// Reads a journal: JSON lines. Returns {events, skipped}; throws with a sentence when it is none.
const MOST_BYTES = 300e6;

export function parse_journal(text) {
  if (text.length > MOST_BYTES) throw new Error("The journal is larger than 300 MB.");
  const adapter = new Adapter(), events = [];
  let skipped = 0;
  for (const line of text.split("\n")) {
    if (!line.trim()) continue;
    let entry;
    try {
      entry = JSON.parse(line);
    } catch {
      skipped++;  // the last line of a run that was killed
      continue;
    }
    events.push(...adapter.events(entry));
  }
  if (!events.some(({ type }) => type === "run")) throw new Error("This is no journal of a run: no line says what the run is.");
  return { events, skipped };
}

// Journal entries, in order, to events.
export class Adapter {
  events(entry) {
    if (entry === null || typeof entry !== "object") return [];
    const time = entry.time ?? entry.seconds;
    const where = { round: entry.round, index: entry.index ?? entry.candidate, time };
    switch (entry.type) {
      case "run": {
        const settings = entry.settings ?? entry;
        return [{ type: "run", question: entry.question ?? entry.problem, method: settings.method, preset: settings.preset,
          n: settings.n ?? settings.population, c: settings.c ?? settings.aggregation_size, t: settings.t ?? settings.rounds,
          beta: settings.beta ?? settings.thinking_budget, tau: settings.tau ?? settings.tail_length, seed: settings.seed,
          widths: entry.widths ?? settings.widths, model: entry.model, time }];
      }
      case "candidate_start": return [{ type: "start", ...where, parents: entry.parents, prompt_tokens: entry.prompt_tokens }];
      case "tokens": return [{ type: "text", ...where, reasoning: entry.reasoning, content: entry.content ?? entry.text, tokens: entry.tokens }];
      case "candidate_done":
        return [{ type: "done", ...where, parents: entry.parents, tokens: entry.tokens, reasoning: entry.reasoning, content: entry.content,
          tail: entry.tail, answer: entry.answer, end: entry.end }];
      case "vote": return [{ type: "votes", round: entry.round, votes: entry.votes, time }];
      case "done": return [{ type: "end", answer: entry.answer, stopped: entry.stopped, tokens: entry.new_tokens, seconds: entry.seconds, time }];
    }
    return [];
  }
}
