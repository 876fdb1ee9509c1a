#include "engine/service.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>

#include "engine/test_engine.h"

namespace zaya::engine {
namespace {

std::unique_ptr<Service> start(ServiceOptions options = {}) {
  Result<std::unique_ptr<Service>> service = Service::start(make_engine(), std::move(options));
  EXPECT_TRUE(service.ok()) << service.status().to_string();
  return std::move(service).value();
}

std::vector<text::TokenId> alone(const Request& request) {
  static const std::unique_ptr<Engine> engine = make_engine({.prefix_cache = false});
  return engine->generate(request)->tokens;
}

// Threads submit, some cancel; everybody is told once, and who was not cancelled got what it gets alone.
TEST(Service, ManyThreadsAtOnce) {
  const auto service = start({.engine = {.prefill_chunk = 50}, .max_queue = 1000});
  constexpr int kThreads = 8, kEach = 12;
  std::atomic<int> told{0}, cancelled{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(static_cast<uint64_t>(t));
      std::vector<std::pair<Request, std::shared_ptr<Ticket>>> mine;
      for (int i = 0; i < kEach; ++i) {
        Request request =
            request_of(static_cast<int64_t>(1 + random() % 200), static_cast<int64_t>(1 + random() % 40), random() % 4);
        Result<std::shared_ptr<Ticket>> ticket = service->submit(
            request, [](const Event&) {},
            [&](const Outcome& outcome) {
              ++told;
              EXPECT_NE(outcome.finish, Finish::none);
            });
        ASSERT_TRUE(ticket.ok());
        if (i % 4 == 3) (*ticket)->cancel();
        mine.emplace_back(std::move(request), *ticket);
      }
      for (int i = 0; i < kEach; ++i) {
        const auto& [request, ticket] = mine[static_cast<size_t>(i)];
        const Outcome& outcome = ticket->wait();
        EXPECT_TRUE(ticket->done());
        if (outcome.finish == Finish::cancelled) ++cancelled;
        if (i % 4 != 3) {
          EXPECT_EQ(outcome.finish, Finish::length);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(told, kThreads * kEach);
  const ServiceStats stats = service->stats();
  EXPECT_EQ(stats.cancelled, cancelled);
  EXPECT_EQ(stats.finished + stats.cancelled, kThreads * kEach);
  EXPECT_EQ(stats.failed + stats.refused, 0);
  EXPECT_GT(stats.cached_prompt_tokens, 0);
  EXPECT_TRUE(service->drain().ok());

  const auto again = start();
  std::vector<std::pair<Request, std::shared_ptr<Ticket>>> all;
  for (uint64_t i = 0; i < 12; ++i) {
    const Request request = request_of(static_cast<int64_t>(20 + i * 9), 30, i % 3);
    all.emplace_back(request, *again->submit(request));
  }
  for (const auto& [request, ticket] : all) EXPECT_EQ(ticket->wait().tokens, alone(request));
}

TEST(Service, ACancelFreesThePlaceWithinOneStep) {
  const auto service = start({.engine = {.max_running = 1}});
  std::atomic<int64_t> tokens{0};
  std::shared_ptr<Ticket> first;
  std::atomic<bool> ready{false};
  first = *service->submit(request_of(30, -1, 1), [&](const Event&) {
    while (!ready) std::this_thread::yield();  // until `first` is there to be cancelled
    if (++tokens == 5) first->cancel();
  });
  ready = true;
  const auto second = *service->submit(request_of(30, 3, 1));
  EXPECT_EQ(first->wait().finish, Finish::cancelled);
  EXPECT_EQ(tokens, 5) << "none after the cancel";
  EXPECT_EQ(second->wait().finish, Finish::length);
  EXPECT_GE(second->wait().queue_seconds, 0);
  EXPECT_EQ(service->stats().running, 0);
}

TEST(Service, RefusesWhatDoesNotFitTheQueueAndNothingDies) {
  const auto service = start({.engine = {.max_running = 1}, .max_queue = 3});
  std::atomic<bool> started{false}, go{false};
  const auto running = *service->submit(request_of(10, 50, 1), [&](const Event&) {
    started = true;
    while (!go) std::this_thread::yield();
  });
  while (!started) std::this_thread::yield();
  std::vector<std::shared_ptr<Ticket>> accepted;
  Status refusal;
  for (int i = 0; i < 10; ++i) {
    Result<std::shared_ptr<Ticket>> ticket = service->submit(request_of(10, 5, 2));
    if (ticket.ok()) {
      accepted.push_back(*ticket);
    } else {
      refusal = ticket.status();
    }
  }
  EXPECT_EQ(refusal.code(), Code::resource_exhausted);
  EXPECT_GE(accepted.size(), 2u);
  EXPECT_LE(accepted.size(), 3u);
  EXPECT_EQ(service->stats().refused, 10 - static_cast<int64_t>(accepted.size()));
  EXPECT_EQ(service->submit({}).status().code(), Code::invalid_argument);
  go = true;
  for (const auto& ticket : accepted) EXPECT_EQ(ticket->wait().finish, Finish::length);
  EXPECT_EQ(running->wait().tokens.size(), 50u);
}

TEST(Service, DrainFinishesWhatRunsOrCancelsIt) {
  auto service = start();
  const auto ticket = *service->submit(request_of(50, 40, 1));
  EXPECT_TRUE(service->drain().ok());
  EXPECT_EQ(ticket->wait().finish, Finish::length);
  EXPECT_EQ(service->submit(request_of(5, 5, 1)).status().code(), Code::resource_exhausted);

  std::shared_ptr<Ticket> endless;
  {
    const auto other = start();
    endless = *other->submit(request_of(20, -1, 1));
  }  // ends with the service
  EXPECT_TRUE(endless->done());
  EXPECT_EQ(endless->wait().finish, Finish::cancelled);
  EXPECT_EQ(Service::start(nullptr).status().code(), Code::invalid_argument);
  EXPECT_EQ(Service::start(make_engine(), {.memory_bytes = 5}).status().code(), Code::invalid_argument);
}

// What a callback may do: submit, from the engine's own thread.
TEST(Service, ACallbackMaySubmit) {
  const auto service = start();
  std::atomic<int> generations{0};
  std::function<void(const Outcome&)> next = [&](const Outcome&) {
    if (++generations < 5) {
      EXPECT_TRUE(service->submit(request_of(10, 3, 1), {}, next).ok());
    }
  };
  ASSERT_TRUE(service->submit(request_of(10, 3, 1), {}, next).ok());
  while (generations < 5) std::this_thread::yield();
}

// Who is told of the tokens commonly holds the ticket, to cancel by: the two must not keep each other alive.
TEST(Service, LetsGoOfItsListeners) {
  const auto service = start();
  for (const bool cancelled : {false, true}) {
    struct Listener {
      std::shared_ptr<Ticket> ticket;
      int events = 0;
    };
    auto listener = std::make_shared<Listener>();
    const std::weak_ptr<Listener> watched = listener;
    Result<std::shared_ptr<Ticket>> ticket =
        service->submit(request_of(20, 5, 1), [listener](const Event&) { ++listener->events; });
    ASSERT_TRUE(ticket.ok());
    if (cancelled) (*ticket)->cancel();
    (*ticket)->wait();
    listener->ticket = std::move(ticket).value();
    listener.reset();
    EXPECT_TRUE(watched.expired());
  }
}

}  // namespace
}  // namespace zaya::engine
