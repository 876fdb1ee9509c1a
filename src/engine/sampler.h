// From logits to the next token.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/status.h"

namespace zaya::engine {

// Applied in this order: logit bias, penalties, temperature, min-p, top-k, top-p. The defaults change nothing.
struct SamplingParams {
  double temperature = 1.0;         // 0 = greedy: the likeliest token, ties to the lower id
  int64_t top_k = 0;                // keep the k likeliest; 0 = all
  double top_p = 1.0;               // keep the likeliest until their mass reaches p; 1 = all
  double min_p = 0.0;               // keep those with at least min_p of the likeliest one's probability
  double repetition_penalty = 1.0;  // of tokens in prompt or output: positive logits divided, negative multiplied
  double presence_penalty = 0.0;    // subtracted once from tokens that the output holds
  double frequency_penalty = 0.0;   // subtracted per occurrence in the output
  std::vector<std::pair<int32_t, float>> logit_bias;  // token, added to its logit
  std::optional<uint64_t> seed;                       // none = from the system's entropy
  int top_logprobs = -1;  // -1 = no logprobs; k ≥ 0 = the chosen token's and the k likeliest

  // invalid_argument with the field's name and its bounds; out_of_range for a bias on a token that does not exist.
  Status validate(int64_t vocabulary) const;
};

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;  // natural log, of the model's own distribution: before bias, penalties and temperature
};

struct Sampled {
  int32_t token = 0;
  std::optional<TokenLogprob> chosen;  // with top_logprobs ≥ 0
  std::vector<TokenLogprob> top;       // best first
};

class Sampler {
 public:
  // `vocabulary` is the number of ids that exist: logits beyond it (a padded embedding's rows) are never chosen.
  Sampler(SamplingParams params, int64_t vocabulary);

  // Tokens that penalties count: the prompt's (repetition only), then each one the output gains, sampled or forced.
  void add_prompt(std::span<const int32_t> tokens);
  void add_output(int32_t token);

  // Chooses from one row of at least `vocabulary` logits. malformed when none of them is finite.
  Result<Sampled> sample(std::span<const float> logits);

  // The chosen token's logprob record for a token that was forced on the model.
  Sampled forced(std::span<const float> logits, int32_t token);

 private:
  bool adjusts() const {
    return !params_.logit_bias.empty() || params_.repetition_penalty != 1.0 || params_.presence_penalty != 0 ||
           params_.frequency_penalty != 0;
  }
  void adjust(std::span<float> logits) const;
  int32_t draw(std::span<const float> logits, float greatest);
  void attach_logprobs(std::span<const float> logits, Sampled& sampled);

  SamplingParams params_;
  int64_t vocabulary_;
  std::mt19937_64 random_;
  std::unordered_map<int32_t, int64_t> output_counts_;
  std::unordered_map<int32_t, int64_t> prompt_counts_;
};

}  // namespace zaya::engine
