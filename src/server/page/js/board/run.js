// A run of Markovian RSA as the board shows it, built from events (journal.js makes them of journals and streams):
//   {type: "run", question, method, preset, n, c, t, beta, tau, widths, model, seed, time}
//   {type: "start", round, index, parents, time}
//   {type: "text", round, index, reasoning, content, tokens, time}    new text, and the tokens so far
//   {type: "done", round, index, tokens, prompt_tokens, cached_tokens, reasoning, content, tail, answer, end, carried, failure,
//    endpoint, time}
//   {type: "votes", round, votes: [{answer, count, candidates}], time}    equal answers together
//   {type: "end", answer, round, index, stopped, tokens, prompt_tokens, cached_tokens, seconds, time}
// `time` is in seconds since the run began. Events come from files that anybody may have written: what does not fit is
// left out, and nothing grows without bound.

const MOST_ROUNDS = 64, MOST_CANDIDATES = 512, MOST_TEXT = 4e6;

const whole = (value, most = Number.MAX_SAFE_INTEGER) => (Number.isInteger(value) && value >= 0 && value <= most ? value : null);
const text = (value, most = MOST_TEXT) => (typeof value === "string" ? value.slice(0, most) : "");

export class RunModel {
  constructor() {
    this.config = null;
    this.rounds = [];     // of candidates
    this.answers = [];    // distinct ones, in the order in which they appeared; their index is their colour
    this.votes = new Map();  // by round, as the run counted them: [{answer, count, candidates}]
    this.outcome = null;     // the "end" event, checked
    this.time = 0;
  }

  // True when the picture's shape has changed, not only what stands in it.
  apply(event) {
    if (Number.isFinite(event?.time)) this.time = Math.max(this.time, event.time);
    switch (event?.type) {
      case "run": return this.#run(event);
      case "start": return this.#start(event);
      case "text": return this.#text(event);
      case "done": return this.#done(event);
      case "votes":
        this.#votes(event);
        return true;
      case "end":
        this.outcome = { answer: text(event.answer, 2000), stopped: text(event.stopped, 60), round: whole(event.round), index: whole(event.index),
          tokens: whole(event.tokens), prompt_tokens: whole(event.prompt_tokens), cached_tokens: whole(event.cached_tokens),
          seconds: Number.isFinite(event.seconds) ? event.seconds : null };
        for (const round of this.rounds) {
          for (const candidate of round) if (candidate.state === "running") candidate.state = "cut";
        }
        return true;
    }
    return false;
  }

  #run(event) {
    const numbers = {};
    for (const name of ["n", "c", "t", "beta", "tau", "seed"]) numbers[name] = whole(event[name]);
    const widths = Array.isArray(event.widths) ? event.widths.map((width) => whole(width, MOST_CANDIDATES)).filter((width) => width) : [];
    this.config = { ...numbers, question: text(event.question), method: text(event.method, 60), preset: text(event.preset, 60), model: text(event.model, 200) };
    if (widths.length === 0 && numbers.n) for (let round = 0; round <= (numbers.t ?? 0); ++round) widths.push(numbers.n);
    widths.slice(0, MOST_ROUNDS).forEach((width, round) => this.candidate(round, Math.min(width, MOST_CANDIDATES) - 1));
    return true;
  }

  // The candidate, made (with those before it) if it is not there; null for one that cannot be.
  candidate(round, index) {
    if (whole(round, MOST_ROUNDS - 1) === null || whole(index, MOST_CANDIDATES - 1) === null || round > this.rounds.length) return null;
    const candidates = (this.rounds[round] ??= []);
    while (candidates.length <= index) {
      candidates.push({ round, index: candidates.length, state: "waiting", parents: [], tokens: 0, prompt_tokens: null,
        reasoning: "", content: "", tail: "", answer: null, kind: null, end: "",
        failure: "", endpoint: "", cached_tokens: null, carried: false, started: null, ended: null });
    }
    return candidates[index];
  }

  // Answers that are spelt differently may be equal: the run says which are, and then they have one colour.
  #votes({ round, votes }) {
    if (!Array.isArray(votes) || whole(round) === null || !this.rounds[round]) return;
    const classes = votes.slice(0, 300).filter((vote) => typeof vote?.answer === "string" && whole(vote.count))
      .map(({ answer, count, candidates }) => ({ answer: text(answer, 400), count, candidates: Array.isArray(candidates) ? candidates.slice(0, MOST_CANDIDATES) : [] }));
    this.votes.set(round, classes);
    for (const { answer, candidates } of classes) {
      this.colour_of(answer);
      for (const index of candidates) if (whole(index) !== null && this.rounds[round][index]) this.rounds[round][index].kind = answer;
    }
  }

  #start({ round, index, parents, time }) {
    const candidate = this.candidate(round, index);
    if (!candidate) return false;
    candidate.state = "running";
    candidate.started = time ?? this.time;
    // It may be started anew after a failure, or by a run that was resumed.
    Object.assign(candidate, { tokens: 0, reasoning: "", content: "", tail: "", answer: null, kind: null, end: "", ended: null });
    this.#set_parents(candidate, parents);
    return true;
  }

  #set_parents(candidate, parents) {
    const width = this.rounds[candidate.round - 1]?.length ?? 0;
    if (Array.isArray(parents)) candidate.parents = parents.filter((parent) => whole(parent, width - 1) !== null).slice(0, MOST_CANDIDATES);
  }

  #text({ round, index, reasoning, content, tokens }) {
    const candidate = this.candidate(round, index);
    if (!candidate) return false;
    if (candidate.state === "waiting") candidate.state = "running";
    const room = MOST_TEXT - candidate.reasoning.length - candidate.content.length;
    candidate.reasoning += text(reasoning, Math.max(0, room));
    candidate.content += text(content, Math.max(0, room));
    candidate.tokens = whole(tokens) ?? candidate.tokens + 1;
    return false;
  }

  #done(event) {
    const candidate = this.candidate(event.round, event.index);
    if (!candidate) return false;
    candidate.state = ["cancelled", "failed"].includes(event.end) ? "cut" : "done";
    candidate.end = text(event.end, 60);
    candidate.ended = event.time ?? this.time;
    candidate.tokens = whole(event.tokens) ?? candidate.tokens;
    for (const name of ["reasoning", "content", "tail"]) if (typeof event[name] === "string") candidate[name] = text(event[name]);
    candidate.prompt_tokens = whole(event.prompt_tokens);
    candidate.cached_tokens = whole(event.cached_tokens);
    candidate.carried = event.carried === true;
    candidate.failure = text(event.failure, 400);
    candidate.endpoint = text(event.endpoint, 200);
    candidate.answer = typeof event.answer === "string" && event.answer ? text(event.answer, 400) : null;
    if (event.parents) this.#set_parents(candidate, event.parents);
    if (candidate.answer !== null) this.colour_of(candidate.answer);
    return true;
  }

  // The colour of a candidate, as the index of its answer; -1 for none.
  colour(candidate) {
    return this.colour_of(candidate.kind ?? candidate.answer);
  }

  colour_of(answer) {
    if (answer === null || answer === "") return -1;
    const found = this.answers.indexOf(answer);
    if (found >= 0) return found;
    return this.answers.length < 300 ? this.answers.push(answer) - 1 : -1;
  }

  get last_round() { return this.rounds.length - 1; }
  get tokens() {
    return this.outcome?.tokens ?? this.rounds.flat().reduce((sum, candidate) => sum + candidate.tokens, 0);
  }
  get seconds() { return this.outcome?.seconds ?? this.time; }
  get running() { return this.config !== null && this.outcome === null; }

  // The round whose answers are counted: the last, but for a run that ended before it.
  get voting_round() { return this.outcome?.round ?? this.last_round; }

  // How its answers stand, most first: as the run counted them, else those that are spelt alike together.
  tally() {
    const round = this.voting_round, counted = this.votes.get(round);
    if (counted) return [...counted].sort((a, b) => b.count - a.count);
    const classes = new Map();
    for (const { index, answer } of this.rounds[round] ?? []) {
      if (answer === null) continue;
      if (!classes.has(answer)) classes.set(answer, { answer, count: 0, candidates: [] });
      const one = classes.get(answer);
      one.count++;
      one.candidates.push(index);
    }
    return [...classes.values()].sort((a, b) => b.count - a.count);
  }

  // Everything the candidate goes back to, and everything that goes back to it, as "round:index".
  relatives(round, index) {
    const names = new Set([`${round}:${index}`]);
    let level = new Set([index]);
    for (let at = round; at > 0; --at) {
      level = new Set([...level].flatMap((one) => this.rounds[at][one]?.parents ?? []));
      for (const one of level) names.add(`${at - 1}:${one}`);
    }
    level = new Set([index]);
    for (let at = round + 1; at < this.rounds.length; ++at) {
      level = new Set(this.rounds[at].filter(({ parents }) => parents.some((parent) => level.has(parent))).map((one) => one.index));
      for (const one of level) names.add(`${at}:${one}`);
    }
    return names;
  }
}
