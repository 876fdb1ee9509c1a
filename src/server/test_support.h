// A client without a socket, and an engine that says what it is told: for tests and fuzzing of this room.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/api.h"
#include "text/reasoning_parser.h"

namespace zaya::server {

// What a responder was told. Tasks run one after the other on whichever thread comes first, as on a connection.
class FakeResponder : public Responder {
 public:
  void send(HttpResponse given) override {
    const std::lock_guard lock(mutex_);
    response = std::move(given);
    ended_ = true;
    changed_.notify_all();
  }
  void begin(HttpResponse head, std::string) override {
    const std::lock_guard lock(mutex_);
    response = std::move(head);
    streamed = true;
  }
  void write(std::string chunk) override {
    const std::lock_guard lock(mutex_);
    ++writes;
    response.body += chunk;
    changed_.notify_all();
  }
  void end() override {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  void post(std::function<void()> task) override {
    std::unique_lock lock(mutex_);
    tasks_.push_back(std::move(task));
    if (running_) return;
    running_ = true;
    while (!tasks_.empty()) {
      const auto next = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      next();
      lock.lock();
    }
    running_ = false;
  }
  bool writable() const override { return writable_; }
  void watch(std::function<void()> on_writable, std::function<void()> on_gone) override {
    on_writable_ = std::move(on_writable);
    on_gone_ = std::move(on_gone);
  }

  // What the other side does.
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_; });
  }
  void wait_for_writes(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return writes >= count; });
  }
  bool ended() const {
    const std::lock_guard lock(mutex_);
    return ended_;
  }
  void set_writable(bool writable) {
    post([this, writable] {
      writable_ = writable;
      if (writable && on_writable_) on_writable_();
    });
  }
  void go_away() {
    post([this] {
      on_writable_ = nullptr;
      if (const auto gone = std::exchange(on_gone_, nullptr)) gone();
    });
  }
  // As a connection does when an exchange is over.
  void forget() { on_writable_ = on_gone_ = nullptr; }

  HttpResponse response;
  bool streamed = false;
  int writes = 0;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool running_ = false, ended_ = false, writable_ = true;
  std::function<void()> on_writable_, on_gone_;
};

// An engine that answers every request with the same text, a few bytes per token, at once and on the caller's thread.
// The text is what a model would generate: behind an open <think>, if the prompt ends inside of it.
struct Script {
  std::string text;
  size_t bytes_per_token = 3;
  engine::Finish finish = engine::Finish::stop;
  std::string stop_string;
  std::vector<engine::Request> requests;  // that came

  Backend backend(std::shared_ptr<const Session> session) {
    Backend made;
    made.session = std::move(session);
    made.model_name = "script";
    made.stats = [] { return engine::ServiceStats(); };
    made.submit = [this](engine::Request request, const engine::EventSink& on_event,
                         const engine::DoneSink& on_done) -> Result<Backend::Cancel> {
      requests.push_back(request);
      engine::Outcome outcome;
      outcome.prompt_tokens = static_cast<int64_t>(request.prompt.size());
      text::ReasoningParser parser(request.thinking.open_tag, request.thinking.close_tag,
                                   request.thinking.starts_inside);
      const auto emit = [&](std::vector<text::ReasoningParser::Piece> pieces, int32_t token) {
        engine::Event event;
        event.sampled.token = token;
        if (request.sampling.top_logprobs >= 0) {
          event.sampled.chosen = engine::TokenLogprob{token, -0.5f};
          event.sampled.top.assign(static_cast<size_t>(request.sampling.top_logprobs), {token, -0.5f});
        }
        for (const auto& piece : pieces) (piece.reasoning ? outcome.reasoning : outcome.answer) += piece.text;
        event.pieces = std::move(pieces);
        outcome.tokens.push_back(token);
        on_event(event);
      };
      for (size_t i = 0; i < text.size(); i += bytes_per_token) {
        if (parser.inside()) ++outcome.reasoning_tokens;
        emit(parser.push(std::string_view(text).substr(i, bytes_per_token)), static_cast<int32_t>(10 + i % 90));
      }
      emit(parser.finish(), 5);
      outcome.finish = finish;
      outcome.stop_string = stop_string;
      if (finish == engine::Finish::failed) outcome.failure = Status(Code::malformed, "the script says so");
      on_done(outcome);
      return Backend::Cancel([] {});
    };
    return made;
  }
};

// The responder after the request was handled and answered.
inline std::shared_ptr<FakeResponder> ask(Api& api, const std::string& method, const std::string& path,
                                          const std::string& body, Headers headers = {}) {
  const auto responder = std::make_shared<FakeResponder>();
  HttpRequest request;
  request.method = method;
  request.path = path;
  request.body = body;
  request.headers = std::move(headers);
  api.handle(std::move(request), responder);
  responder->wait();
  responder->forget();
  return responder;
}

}  // namespace zaya::server
