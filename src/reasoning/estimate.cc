#include "reasoning/estimate.h"

#include <algorithm>
#include <cmath>

#include "reasoning/subsets.h"

namespace zaya::reasoning {

Cost estimate_cost(const Run& run, const Machine& machine, double fraction, int64_t question_tokens,
                   int64_t answer_tokens) {
  const Settings& settings = run.settings();
  const int64_t thinking = std::max<int64_t>(1, std::llround(static_cast<double>(settings.thinking_budget) * fraction));
  const int64_t tail = std::min(settings.tail_length, thinking);
  answer_tokens = std::min(answer_tokens, settings.final_budget);
  Cost cost;
  for (const auto& round : run.rounds()) {
    const bool last = round[0].round + 1 == static_cast<int64_t>(run.rounds().size());
    const int64_t width = static_cast<int64_t>(round.size());
    const int64_t answers = last || settings.answer_rounds == AnswerRounds::every ? answer_tokens : 0;
    std::vector<std::vector<int64_t>> subsets;
    for (const Candidate& candidate : round) subsets.push_back(candidate.parents);
    const int64_t read = static_cast<int64_t>(round[0].parents.size());
    const int64_t computed = question_tokens + (read == 0 ? 0 : distinct_prefix_tails(subsets) * tail);
    cost.candidates += width;
    cost.prompt_tokens += width * (question_tokens + read * tail);
    cost.computed_prompt_tokens += computed;
    cost.new_tokens += width * (thinking + answers);
    cost.longest_sequence = std::max(cost.longest_sequence, question_tokens + read * tail + thinking + answers);
    cost.memory_bytes =
        std::max(cost.memory_bytes, machine.bytes_per_token * (computed + width * (thinking + answers)));
  }
  if (machine.prefill_rate > 0)
    cost.prefill_seconds = static_cast<double>(cost.computed_prompt_tokens) / machine.prefill_rate;
  if (machine.decode_rate > 0) cost.decode_seconds = static_cast<double>(cost.new_tokens) / machine.decode_rate;
  return cost;
}

}  // namespace zaya::reasoning
