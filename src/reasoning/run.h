// One run as a state machine over rounds: which candidates may start, what their prompts are, what their traces become.
// It knows nothing of engines, servers, clocks or files; solver.h drives it, tests play it by hand.
//
//   round 0      N rollouts of the problem, each at most β reasoning tokens; the last τ are kept
//   round 1 … T  each of N candidates reads C tails of the round before, drawn without replacement
//   then         the answers of the last round are read, and one is chosen
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "reasoning/answers.h"
#include "reasoning/generator.h"
#include "reasoning/prompts.h"
#include "reasoning/settings.h"

namespace zaya::reasoning {

struct Candidate {
  enum class State { waiting, running, done };
  int64_t round = 0, index = 0;
  std::vector<int64_t> parents;  // candidates of the round before, in the order in which the prompt shows them
  uint64_t seed = 0;             // of its sampling
  State state = State::waiting;
  bool carried = false;  // a finished trace handed on as it is (carry = resume), with no new tokens
  Trace trace;
  Segment tail;                       // its last τ tokens, for the next round
  Segment head;                       // carry = resume: the beginning of its line's first trace
  std::optional<std::string> answer;  // as read from the trace

  bool usable() const { return state == State::done && trace.end != End::cancelled && trace.end != End::failed; }
};

enum class Stopped { no, complete, decided, tokens, time, interrupted, failed };
const char* name_of(Stopped stopped);

struct RunResult {
  std::string answer;  // as read; empty when no candidate gave one
  std::string text;    // the chosen candidate's answer in full
  int64_t round = -1, candidate = -1;
  std::vector<VoteClass> votes;  // of that round
  Stopped stopped = Stopped::no;
  int64_t new_tokens = 0, wasted_tokens = 0, prompt_tokens = 0, cached_prompt_tokens = 0;
  int64_t candidates_cut = 0;  // not finished because the vote was decided
  int64_t tokens_saved = 0;    // by that, estimated from the mean of the round's finished traces
};

// Scores an answer; the highest wins. For best-of-N and the choice `verifier`.
using Verifier = std::function<double(const Candidate&)>;

class Run {
 public:
  using Decode = std::function<std::string(std::span<const text::TokenId>)>;

  // invalid_argument for settings that make no run. `decode`: the text of a tail (Generator::decode).
  static Result<Run> create(std::string problem, Settings settings, Prompts prompts, Decode decode);

  const Settings& settings() const { return settings_; }
  const std::string& problem() const { return problem_; }
  const Prompts& prompts() const { return prompts_; }
  const std::vector<std::vector<Candidate>>& rounds() const { return rounds_; }
  const Candidate& candidate(int64_t id) const;
  int64_t id_of(int64_t round, int64_t index) const;  // names a candidate; what Job::id holds

  // Up to `limit` candidates that may start, marked as running, in the order in which their prompts share most.
  // Candidates that carry a finished trace on are done without a job.
  std::vector<Job> start(int64_t limit);

  // A job's trace, whatever its end.
  void complete(int64_t id, Trace trace);

  // As above for what was cut from the trace already.
  void restore(int64_t id, Trace trace, Segment tail, Segment head);

  // Running jobs whose outcome cannot matter any more (early stop).
  std::vector<int64_t> needless() const;

  // Starts nothing more: a limit was reached.
  void stop(Stopped why);

  // Nothing runs and nothing will start.
  bool finished() const;
  // As far as a run may be called over: still running jobs are of no interest.
  bool over() const;
  Stopped stopped() const;

  // Votes of one round, as they stand.
  std::vector<VoteClass> votes(int64_t round) const;

  // The best answer at this moment.
  RunResult result(const Verifier& verifier = {}) const;

  int64_t new_tokens() const { return new_tokens_; }

 private:
  Run(std::string problem, Settings settings, Prompts prompts, Decode decode);
  void draw();
  bool may_start(const Candidate& candidate) const;
  bool round_done(size_t round) const;
  bool is_decided() const;
  Job make_job(const Candidate& candidate, int64_t share) const;
  void carry_on(Candidate& candidate);
  void cut(Candidate& candidate);
  Segment last_tokens(const Text& text, int64_t count) const;
  int64_t best_round() const;

  std::string problem_;
  Settings settings_;
  AnswerKind answer_kind_ = AnswerKind::automatic;
  Prompts prompts_;
  Decode decode_;
  std::vector<std::vector<Candidate>> rounds_;
  std::vector<std::vector<int64_t>> orders_;  // in which candidates of a round start
  std::vector<int64_t> shares_;  // tokens for each candidate of a round, under max_new_tokens; −1 = not fixed yet
  Stopped stopped_ = Stopped::no;
  bool decided_ = false;  // early stop: the rest of the last round cannot matter
  int64_t running_ = 0;
  int64_t new_tokens_ = 0;
};

}  // namespace zaya::reasoning
