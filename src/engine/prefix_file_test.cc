#include "engine/prefix_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "engine/service.h"
#include "engine/test_engine.h"

namespace zaya::engine {
namespace {

namespace fs = std::filesystem;

fs::path place(const std::string& name) {
  const fs::path directory = fs::path(testing::TempDir()) / ("prefix_file_" + std::to_string(::getpid()));
  fs::create_directories(directory);
  fs::remove(directory / name);
  fs::remove(directory / (name + ".partial"));
  return directory / name;
}

// An engine that has answered some requests: pages, ends inside pages, forks.
std::unique_ptr<Engine> used_engine() {
  auto engine = make_engine();
  for (uint64_t seed = 0; seed < 3; ++seed) {
    EXPECT_TRUE(engine->generate(request_of(150, 20, seed)).ok());
    EXPECT_TRUE(engine->generate(request_of(100, 5, seed)).ok());
  }
  return engine;
}

void corrupt(const fs::path& path, int64_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(at);
  const char byte = static_cast<char>(file.get() ^ 0x20);
  file.seekp(at);
  file.put(byte);
}

TEST(PrefixFile, WhatWasKnownIsKnownAgain) {
  const fs::path path = place("restart");
  const auto before = used_engine();
  ASSERT_TRUE(before->save_cache(path).ok());
  const auto after = make_engine();
  const Status status = after->load_cache(path);
  ASSERT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(after->stats().cache_nodes, before->stats().cache_nodes);
  EXPECT_EQ(after->stats().memory_used, before->stats().memory_used) << "shared pages are shared again";

  for (uint64_t seed = 0; seed < 3; ++seed) {
    for (int64_t length : {100, 150, 155}) {
      Request request = request_of(length, 12, seed);
      request.sampling.top_logprobs = 64;
      std::vector<float> said[2];
      Result<Outcome> outcomes[2] = {Outcome{}, Outcome{}};
      for (Engine* engine : {before.get(), after.get()}) {
        const size_t i = engine == after.get();
        outcomes[i] = engine->generate(request, [&](const Event& event) {
          for (const TokenLogprob& logprob : event.sampled.top) said[i].push_back(logprob.logprob);
        });
        ASSERT_TRUE(outcomes[i].ok());
      }
      EXPECT_EQ(said[0], said[1]);
      EXPECT_EQ(outcomes[0]->cached_prompt_tokens, outcomes[1]->cached_prompt_tokens);
      EXPECT_GE(outcomes[1]->cached_prompt_tokens, length == 155 ? 128 : length - 1);
    }
  }
  // Saved once more, and with an empty tree.
  ASSERT_TRUE(after->save_cache(path).ok());
  ASSERT_TRUE(make_engine()->save_cache(path).ok());
  EXPECT_TRUE(after->load_cache(path).ok());
  EXPECT_EQ(after->stats().cache_nodes, 0);
}

TEST(PrefixFile, DamageAnywhereIsRefusedAndHarmless) {
  const fs::path path = place("damaged");
  ASSERT_TRUE(used_engine()->save_cache(path).ok());
  const auto engine = make_engine();
  const std::string good = *read_file(path);
  const auto refused = [&](const std::string& what) {
    const Status status = engine->load_cache(path);
    EXPECT_TRUE(status.code() == Code::malformed || status.code() == Code::unsupported) << what << status.to_string();
    EXPECT_EQ(engine->stats().cache_nodes, 0) << what;
    EXPECT_EQ(engine->stats().memory_used, 0) << what;
  };
  const int64_t size = static_cast<int64_t>(good.size());
  std::vector<int64_t> positions;
  for (int64_t i = 0; i < 400; ++i) positions.push_back(i);  // header and the first node's
  for (int64_t i = 1; i < 100; ++i) positions.push_back(size * i / 100);
  positions.push_back(size - 1);
  for (int64_t at : positions) {
    corrupt(path, at);
    refused("flipped at " + std::to_string(at));
    corrupt(path, at);  // back
  }
  EXPECT_TRUE(engine->load_cache(path).ok());
  for (int64_t end : {int64_t{0}, int64_t{5}, int64_t{72}, size / 3, size - 1}) {
    ASSERT_TRUE(write_file(path, std::string_view(good).substr(0, static_cast<size_t>(end))).ok());
    refused("cut at " + std::to_string(end));
  }
  ASSERT_TRUE(write_file(path, good + "x").ok());
  refused("longer");
  EXPECT_EQ(engine->load_cache(path.parent_path() / "nothing").code(), Code::not_found);
  EXPECT_EQ(engine->load_cache(path.parent_path()).code(), Code::io_error);
  EXPECT_TRUE(engine->generate(request_of(100, 5, 1)).ok());
}

TEST(PrefixFile, IsForOneModelOnly) {
  const fs::path path = place("model");
  ASSERT_TRUE(used_engine()->save_cache(path).ok());
  const auto other = make_engine({}, "conv_4_2");
  EXPECT_EQ(other->load_cache(path).code(), Code::unsupported);
}

TEST(PrefixFile, TakesTheMostRecentPartThatThereIsRoomFor) {
  const fs::path path = place("part");
  const auto full = used_engine();
  ASSERT_TRUE(full->save_cache(path).ok());
  const int64_t half = full->stats().memory_used / 2;
  const auto engine = make_engine({.memory_bytes = half});
  ASSERT_TRUE(engine->load_cache(path).ok());
  EXPECT_LE(engine->stats().memory_used, half);
  EXPECT_GT(engine->stats().memory_used, half / 2);
  EXPECT_GE(engine->generate(request_of(100, 1, 2))->cached_prompt_tokens, 99) << "the last one asked";
}

// A disk that is full, here a limit on the size of files: the save fails, the former file stays.
TEST(PrefixFile, AFullDiskLeavesTheFormerFile) {
  const fs::path path = place("full");
  const auto engine = make_engine();
  ASSERT_TRUE(engine->generate(request_of(100, 5, 1)).ok());
  ASSERT_TRUE(engine->save_cache(path).ok());
  const std::string before = *read_file(path);
  ASSERT_TRUE(engine->generate(request_of(100, 5, 2)).ok());

  struct rlimit old {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {before.size() + 1000, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status status = engine->save_cache(path);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  std::signal(SIGXFSZ, handler);

  EXPECT_EQ(status.code(), Code::io_error) << status.to_string();
  EXPECT_EQ(*read_file(path), before);
  EXPECT_FALSE(fs::exists(path.string() + ".partial")) << "the room is given back";
  EXPECT_TRUE(engine->save_cache(path).ok());
  EXPECT_EQ(engine->save_cache("/nowhere/at/all").code(), Code::not_found);
}

// Killed at some moment of the save: the next start finds the former file whole.
TEST(PrefixFile, AKillDuringTheSaveLeavesACleanStart) {
  const fs::path path = place("killed"), partial = path.string() + ".partial";
  const auto engine = used_engine();
  ASSERT_TRUE(engine->save_cache(path).ok());
  const auto size = fs::file_size(path);
  for (uint64_t part = 0; part < 5; ++part) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) (void)engine->save_cache(path);
    }
    // Until the unfinished file has some length; a slow disk's moment may pass unseen, a kill comes anyway.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    std::error_code gone;
    while (std::chrono::steady_clock::now() < deadline) {
      const auto now = fs::file_size(partial, gone);
      if (!gone && now > 0 && now >= size * part / 5) break;
    }
    ::kill(child, SIGKILL);
    int state = 0;
    ::waitpid(child, &state, 0);
    EXPECT_TRUE(WIFSIGNALED(state));
    const auto next = make_engine();
    const Status status = next->load_cache(path);
    EXPECT_TRUE(status.ok()) << status.to_string();
    EXPECT_EQ(next->stats().cache_nodes, engine->stats().cache_nodes);
    EXPECT_TRUE(next->save_cache(path).ok()) << "whatever was left of the unfinished one";
    EXPECT_FALSE(fs::exists(partial));
  }
}

TEST(PrefixFile, OneAtATime) {
  const fs::path path = place("lock");
  const auto engine = make_engine();
  const int other = ::open((path.string() + ".partial").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::flock(other, LOCK_EX), 0);
  EXPECT_EQ(engine->save_cache(path).code(), Code::resource_exhausted);
  ::close(other);
  EXPECT_TRUE(engine->save_cache(path).ok());
}

TEST(PrefixFile, AServiceKeepsItsCacheOverARestart) {
  const fs::path path = place("service");
  const Request request = request_of(200, 5, 3);
  std::vector<text::TokenId> said;
  for (int run = 0; run < 3; ++run) {
    if (run == 2) corrupt(path, 300);
    auto service = Service::start(make_engine(), {.cache_file = path});
    ASSERT_TRUE(service.ok());
    const std::shared_ptr<Ticket> ticket = *(*service)->submit(request);
    const Outcome& outcome = ticket->wait();
    EXPECT_EQ(outcome.cached_prompt_tokens, run == 1 ? 199 : 0);
    if (run == 0) said = outcome.tokens;
    EXPECT_EQ(outcome.tokens, said);
    const std::string note = (*service)->stats().cache_note;
    EXPECT_NE(note.find(run == 0 ? "empty" : run == 1 ? "nodes from" : "damaged"), std::string::npos) << note;
    EXPECT_TRUE((*service)->drain().ok());
  }
}

}  // namespace
}  // namespace zaya::engine
