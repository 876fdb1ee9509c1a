// A run of Markovian RSA as the answer to one request.
//
// The run has a thread of its own, on which reasoning::solve drives it; everything that concerns the client happens on
// the connection's thread (Responder::post), as in answer.h. While the run goes on its journal's lines go out as
// events; then comes the chosen candidate's answer like any other answer. When the client goes away, or the server
// ends, the run is stopped and its candidates are cancelled.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "server/answer.h"
#include "server/run_ask.h"

namespace zaya::server {

// The threads of runs, bounded in number. Ends them when it is destroyed.
class RunThreads {
 public:
  explicit RunThreads(int64_t most) : most_(most) {}
  ~RunThreads() { end(); }

  // Runs `work`, and then what it returns, when the place is free for the next: who has an answer may ask again at
  // once. False when there are as many as there may be. `stop` is what end() asks the work to end by.
  bool start(std::stop_source stop, std::function<std::function<void()>()> work);

  // Stops what runs, waits for it, and starts nothing more.
  void end();

 private:
  struct Slot {
    std::stop_source stop;
    std::atomic<bool> done{false};
    std::thread thread;
  };
  const int64_t most_;
  std::mutex mutex_;
  std::list<Slot> slots_;
  bool ended_ = false;
};

class RunAnswer : public std::enable_shared_from_this<RunAnswer> {
 public:
  using Clock = Answer::Clock;

  // As Answer's; `limits` must outlive it too.
  RunAnswer(RunAsk ask, const Backend& backend, const RunLimits& limits, Metrics& metrics,
            std::shared_ptr<Responder> responder, Headers headers, std::function<void(const AnswerRecord&)> on_end);

  const Ask& ask() const { return ask_.ask; }
  // Before start().
  void set_format(std::unique_ptr<Format> format) { format_ = std::move(format); }

  // From any thread, once. False when `threads` are all taken: then nothing was sent, and `on_end` is not called.
  bool start(RunThreads& threads);

 private:
  class Watcher;
  struct Outcome;

  // On the run's thread.
  std::function<void()> work();  // what tells the client
  Result<Outcome> solve();

  // On the connection's.
  void add_line(const std::string& line, bool droppable);
  void begin();
  void flush();
  void finish(const Outcome& outcome);
  void fail(const ApiError& error);
  void end();

  const RunAsk ask_;
  const Backend& backend_;
  const RunLimits& limits_;
  Metrics& metrics_;
  std::unique_ptr<Format> format_;
  const std::shared_ptr<Responder> responder_;
  const Headers headers_;
  std::function<void(const AnswerRecord&)> on_end_;
  std::stop_source stop_;

  std::string pending_;  // events that are not written yet
  AnswerRecord record_;
  bool over_ = false, begun_ = false;
};

}  // namespace zaya::server
