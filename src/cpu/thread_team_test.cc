#include "cpu/thread_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace zaya::cpu {
namespace {

void keep_busy(std::chrono::microseconds time) {
  for (const auto until = std::chrono::steady_clock::now() + time; std::chrono::steady_clock::now() < until;) {
  }
}

TEST(ThreadTeam, RunsEveryWorkerOncePerCall) {
  for (int size : {1, 2, 3, 7}) {
    ThreadTeam team(size);
    std::vector<int> calls(static_cast<size_t>(size), 0);
    for (int round = 0; round < 1000; ++round) team.run([&](int worker) { ++calls[static_cast<size_t>(worker)]; });
    for (int count : calls) EXPECT_EQ(count, 1000);
  }
}

TEST(ThreadTeam, ParallelForCoversEachIndexOnce) {
  ThreadTeam team(4);
  for (int64_t count : {0, 1, 2, 63, 64, 65, 1000}) {
    for (int64_t grain : {1, 3, 64, 5000}) {
      std::vector<int> seen(static_cast<size_t>(count), 0);
      team.parallel_for(count, grain, [&](int64_t begin, int64_t end, int worker) {
        ASSERT_GE(worker, 0);
        ASSERT_LT(worker, team.size());
        for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), int64_t{0}), count);
      for (int times : seen) EXPECT_EQ(times, 1);
    }
  }
}

// Workers that give way in the middle of a call, more of them than processors, and come back to the same call or a
// later one.
TEST(ThreadTeam, CoversEachIndexOnceWhileWorkersGiveWay) {
  ThreadTeam team(5);
  for (int round = 0; round < 3; ++round) {
    std::vector<int> seen(200, 0);
    std::atomic<int> strict{0};
    team.parallel_for(200, 1, [&](int64_t begin, int64_t, int) {
      keep_busy(std::chrono::microseconds(200));
      ++seen[static_cast<size_t>(begin)];
    });
    for (int times : seen) EXPECT_EQ(times, 1);
    team.run([&](int) {
      keep_busy(std::chrono::milliseconds(3));
      ++strict;
    });
    EXPECT_EQ(strict.load(), team.size());
  }
}

// Sleeping workers (idle for longer than they spin) must wake up again.
TEST(ThreadTeam, WakesAfterSleep) {
  ThreadTeam team(3);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<int> calls{0};
    team.run([&](int) { ++calls; });
    EXPECT_EQ(calls.load(), 3);
  }
}

TEST(ThreadTeam, StopsWhileIdle) {
  for (int round = 0; round < 50; ++round) ThreadTeam team(4);
}

}  // namespace
}  // namespace zaya::cpu
