// The engine as a service: one thread steps it, any thread may submit to it. This is what servers and programs that
// sample many answers stand on.
//
// Sharing needs no calls: requests with a common token prefix share keys, values and the state behind them through the
// engine's prefix tree, also while the first of them is still in prefill (the others wait for it instead of computing
// it again). So N answers to one prompt are N submits and cost one prefill.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/generation.h"

namespace zaya::engine {

struct ServiceOptions {
  EngineOptions engine;      // prefill chunk, batch limits; its memory and cache fields are overridden by those below
  int64_t memory_bytes = 0;  // keys, values, snapshots, prefix cache; 0 = found automatically
  int64_t max_queue = 256;   // requests that wait for a place; submit() beyond it is refused with resource_exhausted
  bool prefix_cache = true;
  std::filesystem::path cache_file;  // where the prefix cache is kept over restarts; empty = nowhere
};

using DoneSink = std::function<void(const Outcome&)>;

// A running or waiting request, shared by its owner and the service.
class Ticket {
 public:
  explicit Ticket(std::shared_ptr<Generation> generation) : generation_(std::move(generation)) {}

  // From any thread. The place and its memory are free within one step; on_done still comes.
  void cancel() { generation_->request_cancel(); }

  bool done() const { return done_.load(std::memory_order_acquire); }

  // Blocks until done; never on the engine's thread (in a callback), which would wait for itself.
  const Outcome& wait() const;

 private:
  friend class Service;
  std::shared_ptr<Generation> generation_;
  std::atomic<bool> done_{false};
};

struct ServiceStats {
  int64_t queued = 0;   // waiting for a place, preempted ones included
  int64_t running = 0;  // in prefill or decode

  // Totals since start. Every submitted request ends up in one of finished, cancelled, failed.
  int64_t finished = 0, cancelled = 0, failed = 0, refused = 0;
  int64_t preempted = 0;             // times a request had to give its memory up and was queued again
  int64_t prompt_tokens = 0;         // of requests that got a place
  int64_t cached_prompt_tokens = 0;  // of these, found in the prefix cache
  int64_t new_tokens = 0;
  int64_t steps = 0;
  int64_t computed_tokens = 0;  // that went through the model, recomputed ones included
  int64_t evicted_nodes = 0;    // of the prefix cache, to make room

  int64_t batch_tokens_last = 0;  // tokens of the last step
  int64_t batch_runs_last = 0;    // requests in the last step
  int64_t memory_limit = 0;
  int64_t memory_used = 0;  // pages and states of requests and cache together, shared ones counted once
  int64_t cache_bytes = 0;  // of these, what only the cache holds: it could be given up at once
  int64_t cache_nodes = 0;
  std::string cache_note;  // what became of the cache file, for people
};

class Service {
 public:
  // Owns the engine from here on (read-only use of its tokenizer and model's config stays allowed) and starts the
  // thread. Errors: invalid_argument (options that make no sense). A cache file that cannot be used is not an error:
  // stats().cache_note says why the cache starts empty.
  static Result<std::unique_ptr<Service>> start(std::shared_ptr<Engine> engine, ServiceOptions options = {});

  // As drain(0).
  ~Service();

  // From any thread. Errors are those of Engine::submit, and resource_exhausted when the queue is full or the service
  // is draining. `on_event`: once per new token; `on_done`: exactly once, after the last event. Both are called on the
  // engine's thread, between steps: they must not block. They may submit and cancel.
  Result<std::shared_ptr<Ticket>> submit(Request request, EventSink on_event = {}, DoneSink on_done = {});

  ServiceStats stats() const;
  const Engine& engine() const { return *engine_; }

  // Refuses new work, finishes what is there, and after `seconds` cancels what is left; saves the prefix cache. Returns
  // when the thread has ended: what became of the save. Calls after the first wait for it and return the same.
  Status drain(double seconds = std::numeric_limits<double>::infinity());

 private:
  struct Entry {  // a request on its way
    std::shared_ptr<Ticket> ticket;
    DoneSink on_done;
  };

  Service(std::shared_ptr<Engine> engine, ServiceOptions options);
  void run();
  void load_cache();
  bool take_new_work();
  void settle_finished();
  void publish();  // the engine's figures into stats_

  const std::shared_ptr<Engine> engine_;
  const ServiceOptions options_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<Entry> inbox_;
  bool draining_ = false;
  std::optional<std::chrono::steady_clock::time_point> deadline_;
  ServiceStats stats_;

  std::list<Entry> entries_;  // the thread's own: everything that the engine has
  Status saved_;              // written by the thread before it ends

  std::once_flag joined_;
  std::thread thread_;
};

}  // namespace zaya::engine
