#include "reasoning/run.h"

#include <algorithm>
#include <numeric>

#include "reasoning/subsets.h"

namespace zaya::reasoning {
namespace {

constexpr uint64_t kSeeds = 0x7365656473;  // keeps seeds apart from draws
// Below this many tokens for a candidate a round is not worth starting.
constexpr int64_t kLeastShare = 32;

// Text without tokens is cut by this trace's own ratio of characters to tokens, in whole UTF-8 characters.
std::string last_characters(const std::string& text, int64_t tokens, int64_t all_tokens) {
  if (all_tokens <= tokens) return text;
  const double share = static_cast<double>(tokens) / static_cast<double>(all_tokens);
  size_t from = text.size() - static_cast<size_t>(static_cast<double>(text.size()) * share);
  while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
  return text.substr(from);
}

}  // namespace

const char* name_of(Stopped stopped) {
  switch (stopped) {
    case Stopped::no: return "no";
    case Stopped::complete: return "complete";
    case Stopped::decided: return "decided";
    case Stopped::tokens: return "tokens";
    case Stopped::time: return "time";
    case Stopped::interrupted: return "interrupted";
    case Stopped::failed: return "failed";
  }
  return "unknown";
}

Run::Run(std::string problem, Settings settings, Prompts prompts, Decode decode)
    : problem_(std::move(problem)),
      settings_(std::move(settings)),
      prompts_(std::move(prompts)),
      decode_(std::move(decode)) {}

Result<Run> Run::create(std::string problem, Settings settings, Prompts prompts, Decode decode) {
  settings.apply_method();
  ZAYA_RETURN_IF_ERROR(settings.validate());
  if (problem.empty()) return Status(Code::invalid_argument, "the problem is empty");
  AnswerKind kind = AnswerKind::automatic;
  ZAYA_RETURN_IF_ERROR(parse_name(settings.answer_kind, kind));
  Run run(std::move(problem), std::move(settings), std::move(prompts), std::move(decode));
  run.answer_kind_ = kind;
  run.draw();
  return run;
}

// Draws depend on the seed alone, so they are made at once; nothing of a trace is looked at.
void Run::draw() {
  const std::vector<int64_t> widths = settings_.round_widths();
  shares_.assign(widths.size(), -1);
  for (size_t r = 0; r < widths.size(); ++r) {
    const int64_t round = static_cast<int64_t>(r);
    std::vector<Candidate> candidates(static_cast<size_t>(widths[r]));
    std::vector<int64_t> order(candidates.size());
    std::iota(order.begin(), order.end(), 0);
    if (r > 0) {
      auto subsets = draw_subsets(settings_.seed, round, widths[r], widths[r - 1], settings_.tails_read(widths[r - 1]));
      if (settings_.tail_order == TailOrder::shared) order = order_for_sharing(subsets);
      for (size_t i = 0; i < candidates.size(); ++i) candidates[i].parents = std::move(subsets[i]);
    }
    for (size_t i = 0; i < candidates.size(); ++i) {
      candidates[i].round = round;
      candidates[i].index = static_cast<int64_t>(i);
      // 31 bits: what every server takes for a seed.
      candidates[i].seed = mix(settings_.seed, kSeeds, static_cast<uint64_t>(round), static_cast<uint64_t>(i)) >> 33;
    }
    rounds_.push_back(std::move(candidates));
    orders_.push_back(std::move(order));
  }
}

const Candidate& Run::candidate(int64_t id) const {
  size_t round = 0;
  while (id >= static_cast<int64_t>(rounds_[round].size())) id -= static_cast<int64_t>(rounds_[round++].size());
  return rounds_[round][static_cast<size_t>(id)];
}

int64_t Run::id_of(int64_t round, int64_t index) const {
  for (int64_t r = 0; r < round; ++r) index += static_cast<int64_t>(rounds_[static_cast<size_t>(r)].size());
  return index;
}

bool Run::round_done(size_t round) const {
  return std::all_of(rounds_[round].begin(), rounds_[round].end(),
                     [](const Candidate& c) { return c.state == Candidate::State::done; });
}

bool Run::may_start(const Candidate& candidate) const {
  if (candidate.state != Candidate::State::waiting) return false;
  if (candidate.round == 0) return true;
  const auto& previous = rounds_[static_cast<size_t>(candidate.round - 1)];
  bool usable = false;
  for (int64_t parent : candidate.parents) {
    if (previous[static_cast<size_t>(parent)].state != Candidate::State::done) return false;
    usable = usable || previous[static_cast<size_t>(parent)].usable();
  }
  // With nothing to read it waits for the whole round, which may turn out to have failed altogether.
  return usable || round_done(static_cast<size_t>(candidate.round - 1));
}

std::vector<Job> Run::start(int64_t limit) {
  std::vector<Job> jobs;
  const bool limited = settings_.max_new_tokens >= 0;
  for (size_t round = 0; round < rounds_.size() && stopped_ == Stopped::no; ++round) {
    if (round > 0 && (limited || !settings_.overlap) && !round_done(round - 1)) break;
    if (limited && shares_[round] < 0) {
      // A round gets what is left in equal shares, so it must know what was spent before it. A resumed one gets the
      // same.
      int64_t here = 0;
      for (const Candidate& c : rounds_[round]) here += c.trace.new_tokens;
      shares_[round] = std::max<int64_t>(0, settings_.max_new_tokens - (new_tokens_ - here)) /
                       static_cast<int64_t>(rounds_[round].size());
      if (shares_[round] < std::min(kLeastShare, settings_.thinking_budget)) {
        stop(Stopped::tokens);
        break;
      }
    }
    if (decided_) break;
    for (int64_t index : orders_[round]) {
      if (static_cast<int64_t>(jobs.size()) >= limit) return jobs;
      Candidate& candidate = rounds_[round][static_cast<size_t>(index)];
      if (!may_start(candidate)) continue;
      if (round > 0 && settings_.carry == Carry::resume) {
        const Candidate& parent = rounds_[round - 1][static_cast<size_t>(candidate.parents[0])];
        candidate.head = parent.head;
        if (parent.usable() && parent.trace.closed) {
          carry_on(candidate);
          continue;
        }
      }
      candidate.state = Candidate::State::running;
      ++running_;
      jobs.push_back(make_job(candidate, limited ? shares_[round] : -1));
    }
  }
  return jobs;
}

void Run::carry_on(Candidate& candidate) {
  const Candidate& parent =
      rounds_[static_cast<size_t>(candidate.round - 1)][static_cast<size_t>(candidate.parents[0])];
  candidate.trace = parent.trace;
  candidate.trace.new_tokens = candidate.trace.wasted_tokens = 0;
  candidate.trace.prompt_tokens = candidate.trace.cached_prompt_tokens = 0;
  candidate.tail = parent.tail;
  candidate.answer = parent.answer;
  candidate.carried = true;
  candidate.state = Candidate::State::done;
}

Job Run::make_job(const Candidate& candidate, int64_t share) const {
  Job job;
  job.id = id_of(candidate.round, candidate.index);
  job.sampling = settings_.sampling;
  job.seed = candidate.seed;
  const bool last = candidate.round + 1 == static_cast<int64_t>(rounds_.size());
  const bool answers = last || settings_.answer_rounds == AnswerRounds::every ||
                       settings_.tail_content != TailContent::reasoning || settings_.carry == Carry::resume;
  job.close = settings_.carry == Carry::resume && !last ? Close::stop : settings_.close;
  job.thinking_budget = settings_.thinking_budget;
  job.answer_budget = answers ? settings_.final_budget : 0;
  if (share >= 0) {
    // An answer keeps at least a quarter of a share that cannot hold both budgets.
    job.max_new_tokens = share;
    if (job.answer_budget > 0) job.answer_budget = std::min(job.answer_budget, std::max<int64_t>(1, share / 4));
    job.thinking_budget = std::max<int64_t>(1, std::min(job.thinking_budget, share - job.answer_budget));
  }

  job.closing = [prompts = prompts_, problem = problem_](const Segment& reasoning) {
    return prompts.closing(problem, reasoning);
  };

  std::vector<Segment> tails;
  if (candidate.round > 0) {
    const auto& previous = rounds_[static_cast<size_t>(candidate.round - 1)];
    for (int64_t parent : candidate.parents) {
      const Candidate& from = previous[static_cast<size_t>(parent)];
      // A candidate that failed has nothing to say; the others of the subset stand alone.
      if (from.usable() && !from.tail.text.empty()) tails.push_back(from.tail);
    }
  }
  if (tails.empty() || settings_.carry == Carry::resume) {
    job.prompt = prompts_.rollout(problem_);
    if (tails.empty()) return job;
    // The trace so far is shorter than head and tail together where the tail is all of it.
    if (!candidate.head.text.empty()) job.prompt.continuation.push_back(candidate.head);
    job.prompt.continuation.push_back(tails[0]);
  } else {
    job.prompt = prompts_.aggregation(problem_, tails);
  }
  return job;
}

Segment Run::last_tokens(const Text& text, int64_t count) const {
  Segment segment{.is_tail = true};
  if (!text.tokens.empty()) {
    const size_t length = std::min(text.tokens.size(), static_cast<size_t>(count));
    segment.tokens.assign(text.tokens.end() - static_cast<std::ptrdiff_t>(length), text.tokens.end());
    segment.text = length == text.tokens.size() ? text.text : decode_(segment.tokens);
  } else {
    segment.text = last_characters(text.text, count, text.count);
  }
  return segment;
}

// What the next round will see of a trace.
void Run::cut(Candidate& candidate) {
  const Trace& trace = candidate.trace;
  const bool answered = trace.answer.count > 0;
  Text source;
  switch (settings_.tail_content) {
    case TailContent::reasoning: source = trace.reasoning.count > 0 ? trace.reasoning : trace.answer; break;
    case TailContent::answer: source = trace.answer; break;
    case TailContent::hybrid: source = answered && trace.end == End::stop ? trace.answer : trace.reasoning; break;
    case TailContent::with_answer: {
      source = trace.reasoning;
      // Tokens of both sides, or text of both: never a mixture.
      const bool tokens = (trace.reasoning.count == 0 || !trace.reasoning.tokens.empty()) &&
                          (!answered || !trace.answer.tokens.empty());
      if (!tokens) source.tokens.clear();
      if (tokens) source.tokens.insert(source.tokens.end(), trace.answer.tokens.begin(), trace.answer.tokens.end());
      source.text += (source.text.empty() || !answered ? "" : "\n\n") + trace.answer.text;
      source.count += trace.answer.count;
      break;
    }
  }
  candidate.tail = last_tokens(source, settings_.tail_length);

  if (settings_.carry == Carry::resume && candidate.round == 0 && trace.reasoning.count > settings_.tail_length) {
    // The first tokens, as far as the tail does not hold them already.
    const int64_t length = std::min(settings_.head_length, trace.reasoning.count - settings_.tail_length);
    candidate.head = {.is_tail = true};
    if (!trace.reasoning.tokens.empty()) {
      candidate.head.tokens.assign(trace.reasoning.tokens.begin(), trace.reasoning.tokens.begin() + length);
      candidate.head.text = decode_(candidate.head.tokens);
    }
  }
}

void Run::complete(int64_t id, Trace trace) {
  Candidate& candidate = const_cast<Candidate&>(this->candidate(id));
  if (candidate.state == Candidate::State::done) return;
  if (candidate.state == Candidate::State::running) --running_;
  candidate.state = Candidate::State::done;
  candidate.trace = std::move(trace);
  new_tokens_ += candidate.trace.new_tokens;
  if (candidate.trace.end == End::failed) return;
  cut(candidate);
  candidate.answer = extract_answer(candidate.trace.answer.text, answer_kind_);
  // Reasoning that never came to an answer may still hold one; only a marked one counts there.
  if (!candidate.answer.has_value() && candidate.trace.answer.count == 0) {
    candidate.answer = extract_answer(candidate.trace.reasoning.text,
                                      answer_kind_ == AnswerKind::automatic ? AnswerKind::boxed : answer_kind_);
  }
  if (settings_.early_stop && candidate.round + 1 == static_cast<int64_t>(rounds_.size())) decided_ = is_decided();
}

void Run::restore(int64_t id, Trace trace, Segment tail, Segment head) {
  complete(id, std::move(trace));
  Candidate& candidate = const_cast<Candidate&>(this->candidate(id));
  if (candidate.trace.end == End::failed) return;
  candidate.tail = std::move(tail);
  candidate.head = std::move(head);
}

bool Run::is_decided() const {
  const auto& last = rounds_.back();
  if (settings_.choice == Choice::last) return last.size() > 1 && last[0].usable();
  if (settings_.choice != Choice::vote) return false;
  int64_t outstanding = 0;
  for (const Candidate& candidate : last) {
    outstanding += candidate.state != Candidate::State::done || candidate.trace.end == End::cancelled;
  }
  return outstanding > 0 && vote_is_decided(votes(static_cast<int64_t>(rounds_.size()) - 1), outstanding);
}

std::vector<int64_t> Run::needless() const {
  std::vector<int64_t> ids;
  if (running_ == 0 || !decided_) return ids;
  for (const auto& round : rounds_) {
    for (const Candidate& candidate : round) {
      if (candidate.state == Candidate::State::running) ids.push_back(id_of(candidate.round, candidate.index));
    }
  }
  return ids;
}

void Run::stop(Stopped why) {
  if (stopped_ == Stopped::no) stopped_ = why;
}

bool Run::over() const { return stopped_ != Stopped::no || decided_ || round_done(rounds_.size() - 1); }
bool Run::finished() const { return running_ == 0 && over(); }

Stopped Run::stopped() const {
  if (stopped_ != Stopped::no) return stopped_;
  if (decided_ && std::any_of(rounds_.back().begin(), rounds_.back().end(), [](const Candidate& c) {
        return c.state != Candidate::State::done || c.trace.end == End::cancelled;
      })) {
    return Stopped::decided;
  }
  return round_done(rounds_.size() - 1) ? Stopped::complete : Stopped::no;
}

std::vector<VoteClass> Run::votes(int64_t round) const {
  std::vector<Vote> ballots;
  for (const Candidate& candidate : rounds_[static_cast<size_t>(round)]) {
    if (!candidate.usable() || !candidate.answer.has_value()) continue;
    ballots.push_back({candidate.index, *candidate.answer, candidate.trace.closed && candidate.trace.end == End::stop});
  }
  return count_votes(ballots);
}

// The last round with answers from at least half of its candidates, else the last one with any.
int64_t Run::best_round() const {
  int64_t any = -1;
  for (int64_t round = static_cast<int64_t>(rounds_.size()) - 1; round >= 0; --round) {
    const auto& candidates = rounds_[static_cast<size_t>(round)];
    const auto answered = std::count_if(candidates.begin(), candidates.end(),
                                        [](const Candidate& c) { return c.usable() && c.answer.has_value(); });
    if (answered * 2 >= static_cast<int64_t>(candidates.size())) return round;
    if (answered > 0 && any < 0) any = round;
  }
  return any;
}

RunResult Run::result(const Verifier& verifier) const {
  RunResult result;
  result.stopped = stopped();
  for (const auto& round : rounds_) {
    for (const Candidate& candidate : round) {
      result.new_tokens += candidate.trace.new_tokens;
      result.wasted_tokens += candidate.trace.wasted_tokens;
      result.prompt_tokens += candidate.trace.prompt_tokens;
      result.cached_prompt_tokens += candidate.trace.cached_prompt_tokens;
    }
  }
  const int64_t last = static_cast<int64_t>(rounds_.size()) - 1;
  result.round = result.stopped == Stopped::decided ? last : best_round();
  if (result.round < 0) return result;
  const auto& candidates = rounds_[static_cast<size_t>(result.round)];
  result.votes = votes(result.round);

  if (!result.votes.empty()) {
    const VoteClass& winner = result.votes.front();
    result.candidate = winner.candidates.front();
    for (int64_t index : winner.candidates) {  // its best written member: the first one that finished
      const Candidate& member = candidates[static_cast<size_t>(index)];
      if (member.trace.closed && member.trace.end == End::stop) {
        result.candidate = index;
        break;
      }
    }
  }
  if (settings_.choice == Choice::last || settings_.choice == Choice::aggregate) {
    const auto first = std::find_if(candidates.begin(), candidates.end(),
                                    [](const Candidate& c) { return c.usable() && c.answer.has_value(); });
    if (result.round == last && first != candidates.end()) result.candidate = first->index;
  } else if (settings_.choice == Choice::verifier && verifier) {
    double best = 0;
    bool found = false;
    for (const VoteClass& votes : result.votes) {  // more votes first, so that they break ties
      const double score = verifier(candidates[static_cast<size_t>(votes.candidates.front())]);
      if (found && !(score > best)) continue;
      best = score;
      found = true;
      result.candidate = votes.candidates.front();
    }
  }
  if (result.candidate >= 0) {
    const Candidate& chosen = candidates[static_cast<size_t>(result.candidate)];
    result.answer = chosen.answer.value_or("");
    result.text = chosen.trace.answer.text;
  }

  int64_t whole = 0, whole_tokens = 0, cut_tokens = 0;
  for (const Candidate& candidate : rounds_.back()) {
    if (candidate.usable()) {
      ++whole;
      whole_tokens += candidate.trace.new_tokens;
    } else if (result.stopped == Stopped::decided && candidate.trace.end != End::failed) {
      ++result.candidates_cut;
      cut_tokens += candidate.trace.new_tokens;
    }
  }
  if (result.candidates_cut > 0 && whole > 0) {
    result.tokens_saved = std::max<int64_t>(0, whole_tokens / whole * result.candidates_cut - cut_tokens);
  }
  return result;
}

}  // namespace zaya::reasoning
