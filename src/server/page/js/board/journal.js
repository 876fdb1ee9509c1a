// The one place that knows how runs are written down: lines of journals and of `zaya solve --json`, which streams carry
// too, to the events of run.js. docs/markovian-rsa.md describes the lines.

const MOST_BYTES = 300e6, MOST_LINES = 500000;
const STEPS = 24;  // moments put between a candidate's start and its end

// Reads a journal. Returns {events, skipped}; throws with a sentence when it is none.
export function parse_journal(text) {
  if (text.length > MOST_BYTES) throw new Error("The journal is larger than 300 MB.");
  const adapter = new Adapter(), events = [];
  let skipped = 0;
  for (const line of text.split("\n", MOST_LINES)) {
    if (!line.trim()) continue;
    try {
      events.push(...adapter.events(JSON.parse(line)));
    } catch {
      skipped++;  // the last line of a run that was killed
    }
  }
  if (!events.some(({ type }) => type === "run")) throw new Error("This is no journal of a run: no line says what the run is.");
  return { events: with_progress(events), skipped };
}

// Journals tell when a candidate began and ended; that it went on evenly in between is assumed, to show it.
export function with_progress(events) {
  if (events.some(({ type }) => type === "text")) return events;
  const begun = new Map(), more = [];
  for (const event of events) {
    const name = `${event.round}:${event.index}`;
    if (event.type === "start") begun.set(name, event.time ?? 0);
    if (event.type !== "done" || !(event.time > begun.get(name)) || more.length > 50000) continue;
    const from = begun.get(name);
    for (let step = 1; step < STEPS; ++step) {
      more.push({ type: "text", round: event.round, index: event.index, tokens: Math.round((event.tokens ?? 0) * step / STEPS), time: from + (event.time - from) * step / STEPS });
    }
  }
  // In order of time; what has none stays behind what stood before it.
  let time = 0;
  for (const event of events) event.time = time = Math.max(time, event.time ?? 0);
  return [...events, ...more].sort((a, b) => a.time - b.time);
}

const text_of = (side) => (typeof side === "string" ? side : typeof side?.text === "string" ? side.text : "");

// Lines, in their order, to events.
export class Adapter {
  events(line) {
    if (line === null || typeof line !== "object") return [];
    const time = Number.isFinite(line.at) ? line.at : undefined;
    const where = { round: line.round, index: line.candidate, time };
    switch (line.event) {
      case "run": return [run_event(line, time)];
      case "start": return [{ type: "start", ...where, parents: line.parents }];
      case "delta": return [{ type: "text", ...where, reasoning: line.reasoning, content: line.content, tokens: line.new_tokens }];
      case "progress":
        return (Array.isArray(line.running) ? line.running : []).slice(0, 1000)
          .map((lane) => ({ type: "text", round: lane?.round, index: lane?.candidate, tokens: lane?.new_tokens, time }));
      case "trace":
        return [{ type: "done", ...where, tokens: line.new_tokens, prompt_tokens: line.prompt_tokens, cached_tokens: line.cached_prompt_tokens,
          reasoning: text_of(line.reasoning), content: text_of(line.final), tail: text_of(line.tail), answer: line.answer, end: line.end,
          carried: line.carried === true, failure: line.failure, endpoint: line.endpoint }];
      case "votes": return [{ type: "votes", round: line.round, votes: classes_of(line.votes), time }];
      case "result": {
        const events = [{ type: "end", answer: line.answer, round: line.round, index: line.candidate, stopped: line.stopped, tokens: line.new_tokens,
          prompt_tokens: line.prompt_tokens, cached_tokens: line.cached_prompt_tokens, seconds: time, time }];
        if (Array.isArray(line.votes)) events.unshift({ type: "votes", round: line.round, votes: classes_of(line.votes), time });
        return events;
      }
    }
    return [];
  }
}

function run_event(line, time) {
  const settings = line.settings ?? {}, widths = [];
  const rounds = Math.min(100, Number.isInteger(line.rounds) ? line.rounds : Number.isInteger(settings.T) ? settings.T + 1 : 1);
  // One more round than T + 1 is a last candidate that aggregates all.
  for (let round = 0; round < rounds; ++round) widths.push(settings.widths?.[round] ?? (round <= settings.T ? settings.N : 1));
  return { type: "run", question: line.problem, method: settings.method, preset: line.preset ?? settings.preset, n: settings.N, c: settings.C, t: settings.T,
    beta: settings.beta, tau: settings.tau, seed: settings.seed, widths, model: line.model, time };
}

const classes_of = (votes) => (Array.isArray(votes) ? votes.map((vote) => ({ answer: vote?.answer, count: vote?.votes, candidates: vote?.candidates })) : []);
