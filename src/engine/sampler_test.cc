#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
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

// Against the same in doubles and by sorting, with as many tokens as the large models have, some of them no numbers.
TEST(Sampler, LargeVocabulariesAreExactToo) {
  constexpr size_t kSize = 262147;
  std::mt19937_64 random(3);
  std::vector<float> logits(kSize);
  for (float& logit : logits) logit = static_cast<float>(random() >> 40) / 0x1p20f;  // 0 … 16
  logits[7] = kInfinity, logits[8] = -kInfinity, logits[9] = std::nanf("");
  logits[kSize - 2] = 18, logits[100000] = 17.5;
  std::vector<std::pair<double, int32_t>> sorted;
  double total = 0;
  for (size_t i = 0; i < kSize; ++i) {
    if (!std::isfinite(logits[i])) continue;
    sorted.emplace_back(-std::exp(logits[i] - 18.0), static_cast<int32_t>(i));
    total -= sorted.back().first;
  }
  std::sort(sorted.begin(), sorted.end());

  Sampler greedy({.temperature = 0, .top_logprobs = 3}, kSize);
  const Sampled best = *greedy.sample(logits);
  EXPECT_EQ(best.token, static_cast<int32_t>(kSize - 2));
  EXPECT_NEAR(best.chosen->logprob, -std::log(total), 1e-6);
  EXPECT_EQ(best.top[1].token, 100000);

  for (const double top_p : {0.001, 0.3, 0.95}) {
    std::set<int32_t> nucleus;
    double mass = 0;
    for (const auto& [negative, token] : sorted) {
      if (mass >= top_p * total * (1 + 1e-6)) break;
      nucleus.insert(token);
      mass -= negative;
    }
    Sampler sampler({.top_p = top_p, .seed = 1}, kSize);
    double mean = 0, expected = 0;
    for (int i = 0; i < 200; ++i) {
      const int32_t token = sampler.sample(logits)->token;
      ASSERT_TRUE(nucleus.contains(token)) << token;
      mean += logits[static_cast<size_t>(token)] / 200;
    }
    for (int32_t token : nucleus)
      expected += logits[static_cast<size_t>(token)] * std::exp(logits[static_cast<size_t>(token)] - 18.0) / mass;
    EXPECT_NEAR(mean, expected, 0.4) << "a standard deviation is about 0.07";
  }
  Sampler open({.seed = 1}, kSize);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(std::isfinite(logits[static_cast<size_t>(open.sample(logits)->token)]));
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
