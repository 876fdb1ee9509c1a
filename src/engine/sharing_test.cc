// Whatever requests share (steps, pages, prefixes computed by others, memory that is short), each says what it would
// say alone: the same tokens, and for each of them the same log-probabilities of the whole vocabulary, to the bit.
#include <gtest/gtest.h>

#include <random>

#include "engine/test_engine.h"

namespace zaya::engine {
namespace {

struct Said {
  std::vector<text::TokenId> tokens;
  std::vector<float> logprobs;  // of each token: all of the vocabulary
  Finish finish = Finish::none;
  bool operator==(const Said&) const = default;
};

// Has an engine answer requests, and notes what they said.
class Room {
 public:
  explicit Room(const EngineOptions& options = {}, const std::string& model = "conv_3_4")
      : engine_(make_engine(options, model)) {}

  Engine& engine() { return *engine_; }

  std::shared_ptr<Said> ask(Request request) {
    request.sampling.top_logprobs = 64;
    auto said = std::make_shared<Said>();
    Result<std::shared_ptr<Generation>> generation = engine_->submit(std::move(request), [said](const Event& event) {
      for (const TokenLogprob& logprob : event.sampled.top) said->logprobs.push_back(logprob.logprob);
    });
    EXPECT_TRUE(generation.ok()) << generation.status().to_string();
    asked_.emplace_back(*generation, said);
    return said;
  }

  void finish() {
    while (!engine_->idle()) {
      engine_->step();
      const EngineStats stats = engine_->stats();
      EXPECT_LE(stats.memory_used, stats.memory_limit);
    }
    for (auto& [generation, said] : asked_) {
      said->tokens = generation->outcome().tokens;
      said->finish = generation->outcome().finish;
    }
  }

  Said alone(Request request) {
    const std::shared_ptr<Said> said = ask(std::move(request));
    finish();
    return *said;
  }

  const Outcome& outcome(size_t i) { return asked_[i].first->outcome(); }

 private:
  std::unique_ptr<Engine> engine_;
  std::vector<std::pair<std::shared_ptr<Generation>, std::shared_ptr<Said>>> asked_;
};

Request following(const Request& before, const Said& said, const Request& after) {
  Request request = after;
  request.prompt = before.prompt;
  request.prompt.insert(request.prompt.end(), said.tokens.begin(), said.tokens.end());
  request.prompt.insert(request.prompt.end(), after.prompt.begin(), after.prompt.end());
  return request;
}

int64_t budget(const Engine& engine, int64_t pages, int64_t snapshots) {
  return pages * engine.model().page_bytes() + snapshots * engine.model().state_shape().snapshot_bytes();
}

TEST(Sharing, TheNextTurnGoesOnWhereTheAnswerEnded) {
  Room room, uncached({.prefix_cache = false});
  const Request first = request_of(300, 30, 1);
  const Said answer = room.alone(first);
  EXPECT_EQ(room.outcome(0).cached_prompt_tokens, 0);
  const Request second = following(first, answer, request_of(20, 10, 2));
  const Said reply = room.alone(second);
  EXPECT_EQ(room.outcome(1).cached_prompt_tokens, 329) << "all but the last token, which the model had not seen";
  EXPECT_EQ(reply, uncached.alone(second));
  EXPECT_EQ(uncached.outcome(0).cached_prompt_tokens, 0);

  // The same prompt once more leaves one token to compute, another ending goes on from the last whole page.
  const int64_t computed = room.engine().stats().computed_tokens;
  EXPECT_EQ(room.alone(second), reply);
  EXPECT_EQ(room.engine().stats().computed_tokens, computed + 10);
  EXPECT_EQ(room.outcome(2).cached_prompt_tokens, 349);
  Request other = second;
  other.prompt[330] = (other.prompt[330] + 1) % 60;
  EXPECT_EQ(room.alone(other), uncached.alone(other));
  EXPECT_EQ(room.outcome(3).cached_prompt_tokens, 329);
  other.prompt[325] = (other.prompt[325] + 1) % 60;
  EXPECT_EQ(room.alone(other), uncached.alone(other));
  EXPECT_EQ(room.outcome(4).cached_prompt_tokens, 320);
}

TEST(Sharing, SixteenAnswersCostOnePrefillAlsoWhenAskedAtOnce) {
  for (const char* model : {"conv_3_4", "window_17", "biases"}) {
    Room room({.prefill_chunk = 40}, model), uncached({.prefix_cache = false}, model);
    std::vector<std::shared_ptr<Said>> said;
    for (uint64_t seed = 0; seed < 16; ++seed) {
      Request request = request_of(500, 8, 5);
      request.sampling.seed = seed;
      said.push_back(room.ask(request));
    }
    room.finish();
    const EngineStats stats = room.engine().stats();
    EXPECT_EQ(stats.computed_tokens, 500 + 15 + 16 * 7) << "one prompt, its last token for the others, the answers";
    EXPECT_EQ(stats.cached_prompt_tokens, 15 * 499);
    EXPECT_EQ(stats.prompt_tokens, 16 * 500);
    for (uint64_t seed : {0, 1, 15}) {
      Request request = request_of(500, 8, 5);
      request.sampling.seed = seed;
      EXPECT_EQ(*said[seed], uncached.alone(request)) << "seed " << seed;
    }
    EXPECT_NE(*said[0], *said[1]);
  }
}

TEST(Sharing, WhoWaitsForAPrefixGoesOnWhenItsOwnerLeaves) {
  Room room({.prefill_chunk = 20}), uncached({.prefix_cache = false});
  std::stop_source stop;
  Request cancelled = request_of(400, 8, 3);
  cancelled.cancel = stop.get_token();
  room.ask(cancelled);
  const auto second = room.ask(request_of(400, 8, 3)), third = room.ask(request_of(350, 8, 3));
  for (int i = 0; i < 5; ++i) room.engine().step();
  EXPECT_EQ(room.engine().stats().computed_tokens, 100) << "the others wait";
  stop.request_stop();
  room.finish();
  EXPECT_EQ(room.engine().stats().computed_tokens, 100 + (400 - 64) + (350 - 320) + 14);
  EXPECT_EQ(*second, uncached.alone(request_of(400, 8, 3)));
  EXPECT_EQ(*third, uncached.alone(request_of(350, 8, 3)));
}

// Requests of all lengths arrive while others run; many begin alike, some go on from answers; memory is so short that
// they are sent back again and again. Two rounds, so that the second finds a cache.
TEST(Sharing, UnderPressureAllSayWhatTheySayAlone) {
  std::mt19937_64 random(11);
  const auto below = [&](uint64_t n) { return static_cast<int64_t>(random() % n); };
  std::vector<Request> requests;
  for (int i = 0; i < 40; ++i) {
    const bool talkative = i % 8 >= 5;  // outgrows the room that it was let in with
    Request request = request_of(1 + below(i % 8 == 0 ? 400 : 90), talkative ? 200 + below(200) : 1 + below(60),
                                 static_cast<uint64_t>(below(5)));
    request.sampling.seed = random();
    request.sampling.temperature = i % 3 == 0 ? 0 : 1;
    if (i % 5 == 0) request.sampling.frequency_penalty = 0.5;
    requests.push_back(request);
  }
  Room uncached({.prefix_cache = false});
  std::vector<Said> expected;
  for (const Request& request : requests) expected.push_back(uncached.alone(request));

  const std::unique_ptr<Engine> sizes = make_engine();
  for (const EngineOptions& options : {EngineOptions{}, EngineOptions{.prefill_chunk = 33, .max_running = 9},
                                       EngineOptions{.prefill_chunk = 100, .memory_bytes = budget(*sizes, 12, 30)},
                                       EngineOptions{.memory_bytes = budget(*sizes, 12, 10), .prefix_cache = false}}) {
    Room room(options);
    for (int round = 0; round < 2; ++round) {
      std::vector<std::shared_ptr<Said>> said;
      for (const Request& request : requests) {
        said.push_back(room.ask(request));
        for (int64_t steps = below(4); steps > 0; --steps) room.engine().step();
      }
      room.finish();
      for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(*said[i], expected[i]) << "request " << i;
    }
    const EngineStats stats = room.engine().stats();
    EXPECT_EQ(stats.preempted > 0, options.memory_bytes != 0);
    EXPECT_EQ(stats.cached_prompt_tokens > 0, options.prefix_cache);
    EXPECT_EQ(stats.running + stats.queued, 0);
    EXPECT_EQ(stats.cache_bytes, stats.memory_used);
    EXPECT_EQ(room.engine().model().page_pool().in_use(), 0) << "nothing is held by requests that are gone";
  }
}

TEST(Sharing, TheCacheStaysWithinTheBudgetAndGivesUpWhatIsOldest) {
  const std::unique_ptr<Engine> sizes = make_engine();
  Room room({.memory_bytes = budget(*sizes, 20, 40)});
  const Request kept = request_of(200, 4, 1);
  room.alone(kept);
  for (uint64_t seed = 10; seed < 30; ++seed) {
    room.alone(request_of(200, 4, seed));
    room.alone(kept);
  }
  EXPECT_GT(room.engine().stats().evicted_nodes, 20);
  const int64_t computed = room.engine().stats().computed_tokens;
  room.alone(kept);
  EXPECT_EQ(room.engine().stats().computed_tokens, computed + 4) << "what is used stays";
  room.alone(request_of(200, 4, 10));
  EXPECT_EQ(room.engine().stats().computed_tokens, computed + 4 + 203) << "what is not goes";
}

TEST(Sharing, ABudgetIsACapacity) {
  const std::unique_ptr<Engine> sizes = make_engine();
  EXPECT_EQ(sizes->configure({.memory_bytes = 1000}).code(), Code::invalid_argument);
  EXPECT_EQ(sizes->configure({.prefill_chunk = 0}).code(), Code::invalid_argument);
  Room room({.memory_bytes = budget(*sizes, 4, 3)}), uncached({.prefix_cache = false});
  EXPECT_EQ(room.engine().capacity(), 3 * 64);
  EXPECT_EQ(room.engine().submit(request_of(193, 1, 1)).status().code(), Code::resource_exhausted);
  // Two that fill it: one after the other, each until it is full.
  const auto a = room.ask(request_of(150, -1, 1)), b = room.ask(request_of(100, -1, 2));
  room.finish();
  EXPECT_EQ(*a, uncached.alone(request_of(150, 192 - 150, 1)));
  EXPECT_EQ(*b, uncached.alone(request_of(100, 192 - 100, 2)));
  EXPECT_EQ(a->finish, Finish::length);
}

// A long prompt goes through beside answers and short prompts, and nobody waits for its end.
TEST(Sharing, ShortOnesPassALongOne) {
  Room room({.prefill_chunk = 40});
  const auto speaking = room.ask(request_of(5, 60, 1));
  room.engine().step();
  const auto book = room.ask(request_of(900, 1, 2));
  room.engine().step();
  const auto question = room.ask(request_of(9, 3, 3));
  for (int i = 0; i < 4; ++i) room.engine().step();
  EXPECT_EQ(room.outcome(0).tokens.size(), 6u) << "one token per step";
  EXPECT_EQ(room.outcome(1).tokens.size(), 0u);
  EXPECT_EQ(room.outcome(2).finish, Finish::length);
  room.finish();
  EXPECT_EQ(book->tokens.size(), 1u);
}

}  // namespace
}  // namespace zaya::engine
