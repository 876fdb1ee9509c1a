// What a run costs before it is run: tokens from its settings and draws, time and memory from figures of the machine.
#pragma once

#include <cstdint>

#include "reasoning/run.h"

namespace zaya::reasoning {

struct Machine {
  double prefill_rate = 0;      // prompt tokens a second
  double decode_rate = 0;       // new tokens a second, of all candidates of a round together
  int64_t bytes_per_token = 0;  // of a sequence; 0 = not known
};

struct Cost {
  int64_t candidates = 0;              // in all rounds
  int64_t prompt_tokens = 0;           // as if every prompt were computed on its own
  int64_t computed_prompt_tokens = 0;  // shared beginnings computed once
  int64_t longest_sequence = 0;        // prompt and new tokens of one candidate
  int64_t new_tokens = 0;              // see below
  double prefill_seconds = 0, decode_seconds = 0;
  int64_t memory_bytes = 0;  // of the widest round, with shared beginnings held once; 0 = not known
};

// `fraction` of β that a rollout uses; the tails are as long as that leaves them, at most τ. `question_tokens`: of the
// prompt round a problem, the problem included; `answer_tokens`: behind the reasoning.
// The draws are the run's own, so shared beginnings are counted, not guessed.
Cost estimate_cost(const Run& run, const Machine& machine, double fraction, int64_t question_tokens,
                   int64_t answer_tokens);

}  // namespace zaya::reasoning
