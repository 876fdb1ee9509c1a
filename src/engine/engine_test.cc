#include "engine/engine.h"

#include <gtest/gtest.h>

#include "engine/test_engine.h"

namespace zaya::engine {
namespace {

TEST(Engine, ManyRequestsTogetherEqualEachAlone) {
  const int64_t prompts[] = {1, 40, 200, 7, 64, 65}, limits[] = {50, 10, 30, 80, 1, 2};
  std::vector<std::vector<text::TokenId>> expected;
  for (size_t i = 0; i < 6; ++i) {
    Result<Outcome> outcome = make_engine()->generate(request_of(prompts[i], limits[i], i));
    ASSERT_TRUE(outcome.ok());
    EXPECT_EQ(outcome->tokens.size(), static_cast<size_t>(limits[i]));
    expected.push_back(outcome->tokens);
  }
  const auto engine = make_engine({.prefill_chunk = 17});  // prompts go through in chunks beside running answers
  std::vector<std::shared_ptr<Generation>> generations;
  for (size_t i = 0; i < 6; ++i) {
    generations.push_back(*engine->submit(request_of(prompts[i], limits[i], i)));
    engine->step();
  }
  while (!engine->idle()) engine->step();
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(generations[i]->outcome().tokens, expected[i]) << "request " << i;
}

TEST(Engine, CancelStopsAtAnyTokenAndLeavesOthersAlone) {
  const auto engine = make_engine({.prefill_chunk = 8});
  const std::vector<text::TokenId> expected = engine->generate(request_of(20, 30, 1))->tokens;
  for (int64_t after : {0, 1, 2, 5, 20}) {  // steps; the first few fall into the prompt
    std::stop_source stop;
    Request cancelled = request_of(30, 100, 2);
    cancelled.cancel = stop.get_token();
    const auto first = *engine->submit(std::move(cancelled));
    const auto second = *engine->submit(request_of(20, 30, 1));
    for (int64_t i = 0; i < after; ++i) engine->step();
    stop.request_stop();
    while (!engine->idle()) engine->step();
    EXPECT_EQ(first->outcome().finish, Finish::cancelled);
    EXPECT_LE(static_cast<int64_t>(first->outcome().tokens.size()), after);
    EXPECT_EQ(second->outcome().tokens, expected);
  }
}

TEST(Engine, FillsTheContextAndNoMore) {
  const auto engine = make_engine();
  const int64_t context = engine->model().config().max_positions;
  Result<Outcome> outcome = engine->generate(request_of(context - 5, -1, 3));
  ASSERT_TRUE(outcome.ok()) << outcome.status().to_string();
  EXPECT_EQ(outcome->finish, Finish::length);
  EXPECT_EQ(outcome->tokens.size(), 5u);
  outcome = engine->generate(request_of(context, -1, 3));  // a full context leaves no room for an answer
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->finish, Finish::length);
  EXPECT_TRUE(outcome->tokens.empty());
}

TEST(Engine, RefusesBadRequests) {
  const auto engine = make_engine();
  const auto code = [&](Request request) { return engine->submit(std::move(request)).status().code(); };
  EXPECT_EQ(code({}), Code::invalid_argument);
  EXPECT_EQ(code({.prompt = {-1}}), Code::out_of_range);
  EXPECT_EQ(code({.prompt = {1 << 20}}), Code::out_of_range);
  EXPECT_EQ(code({.prompt = {1}, .sampling = {.top_p = 2}}), Code::invalid_argument);
  const Status too_long = engine->submit(request_of(engine->model().config().max_positions + 1, 1, 1)).status();
  EXPECT_EQ(too_long.code(), Code::out_of_range);
  EXPECT_NE(too_long.message().find("context"), std::string::npos);
  EXPECT_TRUE(engine->idle());
}

TEST(Engine, CountsTimeAndTokens) {
  const auto engine = make_engine();
  int64_t events = 0;
  Result<Outcome> outcome = engine->generate(request_of(10, 12, 4), [&](const Event& event) {
    EXPECT_GE(event.sampled.token, 0);
    ++events;
  });
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(events, 12);
  EXPECT_EQ(outcome->prompt_tokens, 10);
  EXPECT_GT(outcome->prefill_seconds, 0);
  EXPECT_GT(outcome->decode_seconds, 0);
}

}  // namespace
}  // namespace zaya::engine
