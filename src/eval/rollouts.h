// Rollouts as raw material for training, and aggregation examples made from them.
//
// A rollouts file is JSON lines, written as things happen and resumable:
//   rollouts   model, settings, prompt templates, where the problems come from          (first line)
//   problem    one problem: id, group, prompt, expected answer, teacher's trace (gym), and its rollouts, each with
//              {right, answer, closed, end, new_tokens, reasoning: {text, tokens, ids}, final: {text, tokens, ids}}
// `tokens` counts; `ids` are the last tokens of that side, at most --keep-tokens of them, and `text` is theirs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "eval/evaluation.h"
#include "eval/judge.h"
#include "reasoning/generator.h"
#include "reasoning/journal.h"

namespace zaya::eval {

struct RolloutOptions {
  int64_t parallel = 64;
  int64_t keep_tokens = 4096;
  JudgeOptions judge;
  std::stop_token stop;
  std::function<void(int64_t done, int64_t all, int64_t rollouts, int64_t right)> on_progress;
};

struct RolloutTotals {
  int64_t problems = 0, rollouts = 0, right = 0, new_tokens = 0;  // of this session
  int64_t skipped = 0;                                            // problems that the file held already
  bool whole = true;                                              // false: stopped
};

std::string rollouts_line(const Plan& plan);

// The ids of the problems that a file holds; the plan of its first line goes to `plan`.
Result<std::vector<std::string>> read_rollouts(const std::filesystem::path& path, Plan& plan);

// plan.strategies[0].settings.population rollouts of each item (method vote, T = 0), to a file that begins with its
// first line already. `skip`: ids that it holds.
Result<RolloutTotals> write_rollouts(const Plan& plan, const ItemSet& set, const std::vector<std::string>& skip,
                                     reasoning::Generator& generator, reasoning::Journal& file,
                                     const RolloutOptions& options);

struct AggregationOptions {
  // C, τ, what tails hold, their order, the seed; the other fields play no part. `population` rollouts of each problem
  // are read, as many as there are where it is 0.
  reasoning::Settings settings;
  std::vector<int64_t> sizes;  // several C to take in turn; empty = settings.aggregation_size
  std::string prompts;         // a template's source; empty = that of the rollouts
  int64_t per_problem = 1;     // examples of each problem, each with a draw of its own
  int64_t min_right = 0;       // of the rollouts that an example shows
  int64_t max_right = INT64_MAX;
  int64_t limit = 0;  // examples; 0 = all
};

struct AggregationTotals {
  int64_t problems = 0, examples = 0;
  int64_t without_trace = 0;      // problems that no teacher solved
  int64_t too_few = 0;            // … with fewer rollouts than C
  int64_t filtered = 0;           // draws that min_right and max_right refused
  std::vector<int64_t> by_right;  // examples by the number of right rollouts they show
  int64_t longest_prompt = 0;     // in characters
};

using ExampleSink = std::function<Status(const std::string& line)>;
// The token ids of a prompt, for the field "prompt_tokens"; may be empty.
using PromptTokens = std::function<Result<std::vector<text::TokenId>>(const reasoning::Prompt&)>;

// One line per example: {"messages": [user: the round-1 prompt, assistant: the teacher's trace and answer],
// "loss": "last assistant", "id", "C", "tau", "right": verdicts of the rollouts shown}. The prompt is made by
// reasoning::Run out of the saved rollouts as its round 0, so it is what a run with the same rollouts would send.
// `decode`: the text of token ids, of the tokenizer that made them.
// Errors: malformed with the line's number; out_of_range when τ is more than the file kept; those of the sink.
Result<AggregationTotals> make_aggregation(const std::filesystem::path& rollouts, const AggregationOptions& options,
                                           const reasoning::Run::Decode& decode, const PromptTokens& prompt_tokens,
                                           const ExampleSink& sink);

}  // namespace zaya::eval
