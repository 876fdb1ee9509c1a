#include "engine/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace zaya::engine {
namespace {

Status out_of_bounds(const char* field, double value, const char* bounds) {
  return Status(Code::invalid_argument, fmt::format("{} is {}; it must be {}", field, value, bounds));
}

// Likeliest first; equal logits by id, so that the order is total.
constexpr auto likelier = [](const auto& a, const auto& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
};

}  // namespace

Status SamplingParams::validate(int64_t vocabulary) const {
  const auto within = [](double value, double low, double high) { return value >= low && value <= high; };  // not NaN
  if (!within(temperature, 0, 100)) return out_of_bounds("temperature", temperature, "between 0 and 100");
  if (top_k < 0) return out_of_bounds("top_k", static_cast<double>(top_k), "0 (off) or more");
  if (!(top_p > 0 && top_p <= 1)) return out_of_bounds("top_p", top_p, "above 0 and at most 1");
  if (!within(min_p, 0, 1)) return out_of_bounds("min_p", min_p, "between 0 and 1");
  if (!within(repetition_penalty, 0.01, 100)) {
    return out_of_bounds("repetition_penalty", repetition_penalty, "between 0.01 and 100");
  }
  if (!within(presence_penalty, -100, 100))
    return out_of_bounds("presence_penalty", presence_penalty, "between -100 and 100");
  if (!within(frequency_penalty, -100, 100)) {
    return out_of_bounds("frequency_penalty", frequency_penalty, "between -100 and 100");
  }
  if (!within(top_logprobs, -1, 100)) return out_of_bounds("top_logprobs", top_logprobs, "between 0 and 100");
  for (const auto& [token, bias] : logit_bias) {
    if (token < 0 || token >= vocabulary) {
      return Status(Code::out_of_range, fmt::format("logit_bias names token {}; there are {}", token, vocabulary));
    }
    if (std::isnan(bias)) return out_of_bounds("logit_bias", bias, "a number");
  }
  return Status();
}

Sampler::Sampler(SamplingParams params, int64_t vocabulary)
    : params_(std::move(params)),
      vocabulary_(vocabulary),
      random_(params_.seed.has_value() ? *params_.seed
                                       : (uint64_t{std::random_device{}()} << 32 | std::random_device{}())) {}

void Sampler::add_prompt(std::span<const int32_t> tokens) {
  if (params_.repetition_penalty == 1.0) return;
  for (int32_t token : tokens) ++prompt_counts_[token];
}

void Sampler::add_output(int32_t token) { ++output_counts_[token]; }

void Sampler::adjust(std::span<float> logits) const {
  for (const auto& [token, bias] : params_.logit_bias) logits[static_cast<size_t>(token)] += bias;
  const auto repeat = [&](int32_t token) {
    float& logit = logits[static_cast<size_t>(token)];
    const float penalty = static_cast<float>(params_.repetition_penalty);
    logit = logit > 0 ? logit / penalty : logit * penalty;
  };
  if (params_.repetition_penalty != 1.0) {
    for (const auto& [token, count] : prompt_counts_) {
      if (token < vocabulary_) repeat(token);
    }
    for (const auto& [token, count] : output_counts_) {
      if (token < vocabulary_ && !prompt_counts_.contains(token)) repeat(token);
    }
  }
  if (params_.presence_penalty != 0 || params_.frequency_penalty != 0) {
    for (const auto& [token, count] : output_counts_) {
      if (token >= vocabulary_) continue;
      logits[static_cast<size_t>(token)] -=
          static_cast<float>(params_.presence_penalty + params_.frequency_penalty * static_cast<double>(count));
    }
  }
}

Result<Sampled> Sampler::sample(std::span<const float> logits) {
  adjusted_.assign(logits.begin(), logits.begin() + vocabulary_);
  adjust(adjusted_);
  candidates_.clear();
  for (int64_t i = 0; i < vocabulary_; ++i) {
    const float logit = adjusted_[static_cast<size_t>(i)];
    if (std::isfinite(logit)) candidates_.push_back({logit, static_cast<int32_t>(i)});
  }
  if (candidates_.empty()) {
    return Status(Code::malformed, "the model gave no finite logit",
                  "its weights may hold NaN or infinities: run `zaya inspect` on it");
  }
  Sampled sampled;
  sampled.token = params_.temperature == 0 ? std::min_element(candidates_.begin(), candidates_.end(), likelier)->token
                                           : draw(candidates_);
  attach_logprobs(logits, sampled);
  return sampled;
}

int32_t Sampler::draw(std::vector<Candidate>& candidates) {
  const float greatest = std::min_element(candidates.begin(), candidates.end(), likelier)->logit;
  const auto mass = [&](const Candidate& c) {
    return std::exp((static_cast<double>(c.logit) - greatest) / params_.temperature);
  };

  if (params_.min_p > 0) {
    std::erase_if(candidates, [&](const Candidate& c) { return mass(c) < params_.min_p; });
  }
  if (params_.top_k > 0 && params_.top_k < static_cast<int64_t>(candidates.size())) {
    std::nth_element(candidates.begin(), candidates.begin() + params_.top_k, candidates.end(), likelier);
    candidates.resize(static_cast<size_t>(params_.top_k));
  }
  double total = 0;
  for (const Candidate& c : candidates) total += mass(c);
  if (params_.top_p < 1) {
    // The likeliest come off a heap one by one: far fewer than the vocabulary are needed as a rule.
    const auto less_likely = [](const Candidate& a, const Candidate& b) { return likelier(b, a); };
    std::make_heap(candidates.begin(), candidates.end(), less_likely);
    auto heap_end = candidates.end();
    double kept = 0;
    while (heap_end != candidates.begin() && kept < params_.top_p * total) {
      std::pop_heap(candidates.begin(), heap_end, less_likely);
      kept += mass(*--heap_end);
    }
    candidates.erase(candidates.begin(), heap_end);
    total = kept;
  }
  // 53 random bits make a double in [0, 1), the same on every platform.
  double left = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
  for (const Candidate& c : candidates) {
    left -= mass(c);
    if (left < 0) return c.token;
  }
  return candidates.back().token;
}

void Sampler::attach_logprobs(std::span<const float> logits, Sampled& sampled) const {
  if (params_.top_logprobs < 0) return;
  const std::span<const float> valid = logits.first(static_cast<size_t>(vocabulary_));
  float greatest = -INFINITY;
  for (float logit : valid) greatest = std::max(greatest, std::isfinite(logit) ? logit : greatest);
  double total = 0;
  std::vector<Candidate> finite;
  for (size_t i = 0; i < valid.size(); ++i) {
    if (!std::isfinite(valid[i])) continue;
    total += std::exp(static_cast<double>(valid[i]) - greatest);
    finite.push_back({valid[i], static_cast<int32_t>(i)});
  }
  const double normaliser = greatest + std::log(total);
  const auto logprob = [&](int32_t token) {
    return TokenLogprob{token, static_cast<float>(valid[static_cast<size_t>(token)] - normaliser)};
  };
  sampled.chosen = logprob(sampled.token);
  const size_t count = std::min(finite.size(), static_cast<size_t>(params_.top_logprobs));
  std::partial_sort(finite.begin(), finite.begin() + static_cast<std::ptrdiff_t>(count), finite.end(), likelier);
  for (size_t i = 0; i < count; ++i) sampled.top.push_back(logprob(finite[i].token));
}

Sampled Sampler::forced(std::span<const float> logits, int32_t token) const {
  Sampled sampled;
  sampled.token = token;
  attach_logprobs(logits, sampled);
  return sampled;
}

}  // namespace zaya::engine
