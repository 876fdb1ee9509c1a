// What a run of Markovian RSA, or of one of its relatives, is asked to do: the paper's parameters under the paper's
// names, and a named option for each choice that was not published. docs/markovian-rsa.md explains all of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace zaya::reasoning {

enum class Method {
  markovian_rsa,  // N rollouts, then T rounds in which each of N candidates reads C tails of τ tokens
  single,         // one rollout
  vote,           // N rollouts, majority vote
  rsa,            // recursive self-aggregation: whole traces are carried (τ = β)
  delethink,      // C = 1, and the tail is continued inside the assistant's turn
  pacore,         // every candidate reads all conclusions of the round before; rounds narrow down to one
  best_of,        // N rollouts, a verifier chooses
};

// What stands for a candidate in the prompts of the next round.
enum class TailContent {
  reasoning,    // the end of the reasoning, finished or not; of the answer when there was no reasoning at all
  with_answer,  // the end of reasoning and answer together
  hybrid,       // the answer where there is one, else the end of the reasoning
  answer,       // the answer only; nothing when there is none
};

// Whether a trace that reaches β is made to answer.
enum class Close {
  force,  // the reasoning is closed for it, and it answers within the final budget
  stop,   // it ends there
};

enum class AnswerRounds { every, last };  // the rounds whose traces go on to an answer
enum class TailOrder { shared, drawn };   // within a prompt: so that prompts share prefixes, or as drawn
enum class Carry { aggregate, resume };   // tails in a new question, or continued in the assistant's turn (C = 1)
enum class Choice { vote, last, aggregate, verifier };  // which answer of the last round becomes the run's

struct Sampling {
  double temperature = 1.0;  // the published runs: 1 and 1
  double top_p = 1.0;
  int64_t top_k = 0;
  double min_p = 0.0;
};

struct Settings {
  Method method = Method::markovian_rsa;
  int64_t population = 8;          // N: candidates per round
  int64_t aggregation_size = 4;    // C: tails per aggregation prompt, at most N
  int64_t rounds = 2;              // T: aggregation rounds; T + 1 rounds are generated
  int64_t thinking_budget = 8192;  // β: reasoning tokens per rollout
  int64_t tail_length = 4096;      // τ: tokens of a tail
  int64_t final_budget = 40960;    // answer tokens behind the reasoning
  Sampling sampling;
  uint64_t seed = 0;

  TailContent tail_content = TailContent::reasoning;
  Close close = Close::force;
  AnswerRounds answer_rounds = AnswerRounds::every;
  TailOrder tail_order = TailOrder::shared;
  Carry carry = Carry::aggregate;
  Choice choice = Choice::vote;
  int64_t head_length = 100;    // carry = resume: tokens of the first round's beginning that stay in front of the tail
  std::vector<int64_t> widths;  // candidates in each round, the first included; empty = N in each (pacore: N … 1)
  std::string answer_kind = "auto";  // how answers are read: see answers.h

  // Limits of the whole run; −1 = none. At a limit the run ends with the best answer it has.
  int64_t max_new_tokens = -1;
  double max_seconds = -1;
  int64_t max_rounds = -1;  // aggregation rounds, of this run: T where it is smaller

  bool early_stop = true;  // end the last round once its vote cannot change
  bool overlap = true;     // a candidate starts as soon as its own C parents are done; false = whole rounds

  // The fields that the method fixes (C, τ, carry, …) set to what it means. Idempotent.
  void apply_method();

  // invalid_argument, naming the parameter and its bounds. C > N is refused.
  Status validate() const;

  // Candidates in each round, T + 1 numbers; one more (1) for the choice `aggregate`.
  std::vector<int64_t> round_widths() const;

  // Tails that a candidate of round `round` ≥ 1 reads, after `previous` candidates.
  int64_t tails_read(int64_t previous) const;
};

struct Preset {
  const char* name;
  const char* description;
  int64_t population, aggregation_size, rounds, thinking_budget, tail_length, final_budget;
};

// light, small, deployment, headline, high, extra-high: the published settings; tiny: for contexts of 2K tokens.
const std::vector<Preset>& presets();

// not_found, with the names there are.
Status apply_preset(std::string_view name, Settings& settings);

// Names of the enumerations, as the command line, journals and documents spell them.
const char* name_of(Method value);
const char* name_of(TailContent value);
const char* name_of(Close value);
const char* name_of(AnswerRounds value);
const char* name_of(TailOrder value);
const char* name_of(Carry value);
const char* name_of(Choice value);

// invalid_argument, with the names there are.
Status parse_name(std::string_view name, Method& value);
Status parse_name(std::string_view name, TailContent& value);
Status parse_name(std::string_view name, Close& value);
Status parse_name(std::string_view name, AnswerRounds& value);
Status parse_name(std::string_view name, TailOrder& value);
Status parse_name(std::string_view name, Carry& value);
Status parse_name(std::string_view name, Choice& value);

}  // namespace zaya::reasoning
