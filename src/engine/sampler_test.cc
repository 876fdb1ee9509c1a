#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <vector>

namespace zaya::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// How often each token is drawn in `draws` samples from the same logits.
std::map<int32_t, double> frequencies(SamplingParams params, const std::vector<float>& logits, int64_t vocabulary,
                                      int draws = 20000) {
  params.seed = 1;
  Sampler sampler(params, vocabulary);
  std::map<int32_t, double> counts;
  for (int i = 0; i < draws; ++i) counts[sampler.sample(logits)->token] += 1.0 / draws;
  return counts;
}

std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

TEST(Sampler, GreedyTakesTheLikeliestAndTheLowerIdOnTies) {
  Sampler sampler({.temperature = 0}, 5);
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 3, 2, 3, 0})->token, 1);
}

TEST(Sampler, PaddedRowsAreNeverChosen) {
  Sampler greedy({.temperature = 0}, 2);
  EXPECT_EQ(greedy.sample(std::vector<float>{1, 2, 100, 100})->token, 1);
  for (const auto& [token, share] : frequencies({}, {0, 0, 50, 50}, 2)) EXPECT_LT(token, 2);
}

TEST(Sampler, DrawsFromTheDistribution) {
  const std::vector<float> logits = logits_of({0.5, 0.3, 0.15, 0.05});
  auto seen = frequencies({}, logits, 4);
  EXPECT_NEAR(seen[0], 0.5, 0.015);
  EXPECT_NEAR(seen[1], 0.3, 0.015);
  EXPECT_NEAR(seen[2], 0.15, 0.01);
  EXPECT_NEAR(seen[3], 0.05, 0.01);
  auto colder = frequencies({.temperature = 0.5}, logits, 4);  // squares: 25 : 9 : 2.25 : 0.25
  EXPECT_NEAR(colder[0], 25 / 36.5, 0.015);
  EXPECT_NEAR(colder[1], 9 / 36.5, 0.015);
}

TEST(Sampler, CutsKeepWhatTheyShould) {
  const std::vector<float> logits = logits_of({0.05, 0.5, 0.15, 0.3});
  const auto kept = [&](SamplingParams params) {
    std::set<int32_t> tokens;
    for (const auto& [token, share] : frequencies(params, logits, 4)) tokens.insert(token);
    return tokens;
  };
  EXPECT_EQ(kept({.top_k = 2}), (std::set<int32_t>{1, 3}));
  EXPECT_EQ(kept({.top_p = 0.49}), (std::set<int32_t>{1}));
  EXPECT_EQ(kept({.top_p = 0.75}), (std::set<int32_t>{1, 3}));
  EXPECT_EQ(kept({.top_p = 0.9}), (std::set<int32_t>{1, 2, 3}));
  EXPECT_EQ(kept({.min_p = 0.25}), (std::set<int32_t>{1, 2, 3}));          // 0.25 · 0.5 = 0.125
  EXPECT_EQ(kept({.top_k = 3, .top_p = 0.8}), (std::set<int32_t>{1, 3}));  // 0.8 of the 0.95 that top-k kept
  // Renormalised among the kept.
  auto seen = frequencies({.top_k = 2}, logits, 4);
  EXPECT_NEAR(seen[1], 0.5 / 0.8, 0.015);
}

TEST(Sampler, PenaltiesAndBias) {
  const std::vector<float> logits = {2, 1.9f, -1, 0};
  Sampler repetition({.temperature = 0, .repetition_penalty = 2}, 4);
  repetition.add_prompt(std::vector<int32_t>{0});
  EXPECT_EQ(repetition.sample(logits)->token, 1);  // 2 / 2 < 1.9
  Sampler presence({.temperature = 0, .presence_penalty = 0.5}, 4);
  presence.add_prompt(std::vector<int32_t>{0});
  EXPECT_EQ(presence.sample(logits)->token, 0);  // the prompt does not count
  presence.add_output(0);
  EXPECT_EQ(presence.sample(logits)->token, 1);
  Sampler frequency({.temperature = 0, .frequency_penalty = 0.06}, 4);
  frequency.add_output(0);
  EXPECT_EQ(frequency.sample(logits)->token, 0);
  frequency.add_output(0);
  EXPECT_EQ(frequency.sample(logits)->token, 1);
  Sampler biased({.temperature = 0, .logit_bias = {{2, 10.0f}}}, 4);
  EXPECT_EQ(biased.sample(logits)->token, 2);
  Sampler banned({.temperature = 0, .logit_bias = {{0, -kInfinity}}}, 4);
  EXPECT_EQ(banned.sample(logits)->token, 1);
}

TEST(Sampler, TheSameSeedGivesTheSameTokens) {
  const std::vector<float> logits(100, 0.0f);
  Sampler a({.seed = 5}, 100), b({.seed = 5}, 100), c({.seed = 6}, 100);
  std::vector<int32_t> from_a, from_b, from_c;
  for (int i = 0; i < 20; ++i) {
    from_a.push_back(a.sample(logits)->token);
    from_b.push_back(b.sample(logits)->token);
    from_c.push_back(c.sample(logits)->token);
  }
  EXPECT_EQ(from_a, from_b);
  EXPECT_NE(from_a, from_c);
}

TEST(Sampler, LogprobsAreTheModelsOwn) {
  const std::vector<float> logits = logits_of({0.5, 0.3, 0.2});
  Sampler sampler({.temperature = 0, .logit_bias = {{2, 100.0f}}, .top_logprobs = 2}, 3);
  const Sampled sampled = *sampler.sample(logits);
  EXPECT_EQ(sampled.token, 2);
  EXPECT_NEAR(sampled.chosen->logprob, std::log(0.2), 1e-5);
  ASSERT_EQ(sampled.top.size(), 2u);
  EXPECT_EQ(sampled.top[0].token, 0);
  EXPECT_NEAR(sampled.top[0].logprob, std::log(0.5), 1e-5);
  EXPECT_EQ(sampled.top[1].token, 1);
  EXPECT_FALSE(Sampler({.temperature = 0}, 3).sample(logits)->chosen.has_value());
}

TEST(Sampler, NanAndInfinityAreNotChosen) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Sampler sampler({.temperature = 0}, 3);
  EXPECT_EQ(sampler.sample(std::vector<float>{nan, kInfinity, -5})->token, 2);
  EXPECT_EQ(sampler.sample(std::vector<float>{nan, nan, nan}).status().code(), Code::malformed);
}

TEST(SamplingParams, RefusesNonsenseByName) {
  const auto refused = [](SamplingParams params, const char* field) {
    const Status status = params.validate(10);
    EXPECT_FALSE(status.ok()) << field;
    EXPECT_NE(status.message().find(field), std::string::npos) << status.to_string();
  };
  const double nan = std::nan("");
  refused({.temperature = -1}, "temperature");
  refused({.temperature = nan}, "temperature");
  refused({.top_k = -2}, "top_k");
  refused({.top_p = 0}, "top_p");
  refused({.top_p = 1.1}, "top_p");
  refused({.min_p = nan}, "min_p");
  refused({.repetition_penalty = 0}, "repetition_penalty");
  refused({.presence_penalty = 1e9}, "presence_penalty");
  refused({.frequency_penalty = nan}, "frequency_penalty");
  refused({.logit_bias = {{10, 1.0f}}}, "logit_bias");
  refused({.logit_bias = {{-1, 1.0f}}}, "logit_bias");
  refused({.top_logprobs = 1000}, "top_logprobs");
  EXPECT_TRUE(SamplingParams().validate(10).ok());
}

}  // namespace
}  // namespace zaya::engine
