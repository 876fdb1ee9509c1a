#include "engine/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace zaya::engine {
namespace {

Status out_of_bounds(const char* field, double value, const char* bounds) {
  return Status(Code::invalid_argument, fmt::format("{} is {}; it must be {}", field, value, bounds));
}

struct Candidate {
  float weight;  // logit or mass
  int32_t token;
};

// Buffers of one call. A vocabulary of 262,272 makes them megabytes: too much to have with each request.
struct Scratch {
  std::vector<float> adjusted, masses;
  std::vector<Candidate> candidates;
};
thread_local Scratch scratch;

// Likeliest first; equal ones by id, so that the order is total.
constexpr auto likelier = [](const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
};

// The loops over the vocabulary run in lanes that the compiler turns into vectors.
constexpr size_t kLanes = 16;

// −∞ when there is none.
float greatest_finite(std::span<const float> logits) {
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, -INFINITY);
  const auto take = [&](size_t lane, float x) {
    x = x < INFINITY ? x : -INFINITY;  // NaN too
    lanes[lane] = x > lanes[lane] ? x : lanes[lane];
  };
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) take(lane, logits[i + lane]);
  }
  for (; i < logits.size(); ++i) take(0, logits[i]);
  return *std::max_element(lanes, lanes + kLanes);
}

// e^x for x ≤ 0 to 2 units in the last place; 0 below −87 and for NaN. 2^(x / ln 2) with the whole part in the exponent
// and Taylor's series for the rest, which is at most ln 2 / 2 in size. The compiler's own expf is a call per element.
float exp_of_nonpositive(float x) {
  const bool counts = x > -87.0f;
  x = counts ? x : 0.0f;
  constexpr float kRound = 12582912.0f;  // 1.5 · 2^23: adding it leaves the whole part in the low bits
  const float shifted = x * 1.44269504f + kRound;
  const float whole = shifted - kRound;
  const float r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;  // ln 2 in two parts
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const uint32_t power = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kRound) + 127u;
  return counts ? p * std::bit_cast<float>(power << 23) : 0.0f;
}

// masses[i] = e^((logit − greatest) / temperature), 0 for logits that are not finite; returns their sum.
double weigh(std::span<const float> logits, float greatest, double temperature, float* masses) {
  // Not so steep that 0 · scale is no number.
  const float scale = static_cast<float>(1 / std::max(temperature, 1e-30));
  for (size_t i = 0; i < logits.size(); ++i) {
    const float x = (logits[i] - greatest) * scale;
    masses[i] = x <= 0 ? exp_of_nonpositive(x) : 0.0f;
  }
  double lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += static_cast<double>(masses[i + lane]);
  }
  for (; i < logits.size(); ++i) lanes[0] += static_cast<double>(masses[i]);
  double total = 0;
  for (double lane : lanes) total += lane;
  return total;
}

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
  std::span<const float> row = logits.first(static_cast<size_t>(vocabulary_));
  if (adjusts()) {
    scratch.adjusted.assign(row.begin(), row.end());
    adjust(scratch.adjusted);
    row = scratch.adjusted;
  }
  const float greatest = greatest_finite(row);
  if (greatest == -INFINITY) {
    return Status(Code::malformed, "the model gave no finite logit",
                  "its weights may hold NaN or infinities: run `zaya inspect` on it");
  }
  Sampled sampled;
  sampled.token = params_.temperature == 0
                      ? static_cast<int32_t>(std::find(row.begin(), row.end(), greatest) - row.begin())
                      : draw(row, greatest);
  attach_logprobs(logits, sampled);
  return sampled;
}

int32_t Sampler::draw(std::span<const float> logits, float greatest) {
  scratch.masses.resize(logits.size());
  double total = weigh(logits, greatest, params_.temperature, scratch.masses.data());
  // 53 random bits make a double in [0, 1), the same on every platform.
  const auto random_below = [&](double limit) { return static_cast<double>(random_() >> 11) * 0x1p-53 * limit; };

  const bool some = params_.min_p > 0 || params_.top_p < 1 ||
                    (params_.top_k > 0 && params_.top_k < static_cast<int64_t>(logits.size()));
  if (!some) {
    double left = random_below(total);
    size_t last = 0;
    for (size_t i = 0; i < scratch.masses.size(); ++i) {
      if (scratch.masses[i] == 0) continue;
      last = i;
      left -= scratch.masses[i];
      if (left < 0) break;
    }
    return static_cast<int32_t>(last);
  }

  // With top-p alone, all tokens together whose mass is below (1 − p) · total / their number have less than the mass
  // that may be left out: none of them is ever kept. That spares all but some hundreds the sorting. (A little less, for
  // the rounding of the sums.)
  double floor = params_.min_p;
  if (params_.min_p == 0 && params_.top_k == 0) {
    floor = 0.99 * (1 - params_.top_p) * total / static_cast<double>(logits.size());
  }
  scratch.candidates.clear();
  for (size_t i = 0; i < scratch.masses.size(); ++i) {
    if (scratch.masses[i] > 0 && scratch.masses[i] >= floor)
      scratch.candidates.push_back({scratch.masses[i], static_cast<int32_t>(i)});
  }
  if (params_.top_k > 0 && params_.top_k < static_cast<int64_t>(scratch.candidates.size())) {
    std::nth_element(scratch.candidates.begin(), scratch.candidates.begin() + params_.top_k, scratch.candidates.end(),
                     likelier);
    scratch.candidates.resize(static_cast<size_t>(params_.top_k));
  }
  if (params_.min_p > 0 || params_.top_k > 0) {
    total = 0;
    for (const Candidate& c : scratch.candidates) total += c.weight;
  }
  auto kept = scratch.candidates.begin();
  if (params_.top_p < 1) {
    // The likeliest come off a heap one by one: far fewer than there are will be needed as a rule.
    const auto less_likely = [](const Candidate& a, const Candidate& b) { return likelier(b, a); };
    std::make_heap(scratch.candidates.begin(), scratch.candidates.end(), less_likely);
    kept = scratch.candidates.end();
    double mass = 0;
    while (kept != scratch.candidates.begin() && mass < params_.top_p * total) {
      std::pop_heap(scratch.candidates.begin(), kept, less_likely);
      mass += (--kept)->weight;
    }
    total = mass;
  }
  double left = random_below(total);
  for (auto c = kept; c != scratch.candidates.end(); ++c) {
    left -= c->weight;
    if (left < 0) return c->token;
  }
  return scratch.candidates.back().token;
}

void Sampler::attach_logprobs(std::span<const float> logits, Sampled& sampled) {
  if (params_.top_logprobs < 0) return;
  const std::span<const float> valid = logits.first(static_cast<size_t>(vocabulary_));
  const float greatest = greatest_finite(valid);
  scratch.masses.resize(valid.size());
  const double normaliser = greatest + std::log(weigh(valid, greatest, 1, scratch.masses.data()));
  const auto logprob = [&](int32_t token) {
    return TokenLogprob{token, static_cast<float>(valid[static_cast<size_t>(token)] - normaliser)};
  };
  sampled.chosen = logprob(sampled.token);
  if (params_.top_logprobs == 0) return;
  scratch.candidates.clear();
  for (size_t i = 0; i < valid.size(); ++i) {
    if (std::isfinite(valid[i])) scratch.candidates.push_back({valid[i], static_cast<int32_t>(i)});
  }
  const size_t count = std::min(scratch.candidates.size(), static_cast<size_t>(params_.top_logprobs));
  std::partial_sort(scratch.candidates.begin(), scratch.candidates.begin() + static_cast<std::ptrdiff_t>(count),
                    scratch.candidates.end(), likelier);
  for (size_t i = 0; i < count; ++i) sampled.top.push_back(logprob(scratch.candidates[i].token));
}

Sampled Sampler::forced(std::span<const float> logits, int32_t token) {
  Sampled sampled;
  sampled.token = token;
  attach_logprobs(logits, sampled);
  return sampled;
}

}  // namespace zaya::engine
