// One request on its way through the engine: submits its choices, gathers what comes, and writes it in the format of
// the client's API, whole or as a stream.
//
// Everything but construction happens on the connection's thread (Responder::post), so there are no locks. The engine
// never waits for a client: while a client does not read, pieces are merged here and go out when it reads again, so
// what is held is bounded by the answer's text. When the client goes away the choices are cancelled.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/format.h"
#include "server/metrics.h"
#include "text/tool_call.h"

namespace zaya::server {

// What a request came to, for the log.
struct AnswerRecord {
  int status = 200;
  std::string finish;  // of the first choice; "gone" if the client left, "failed" with `error`
  std::string error;
  Usage usage;
  int64_t choices = 0;
  double first_token_seconds = 0;  // from arrival
  double queue_seconds = 0;
};

class Answer : public std::enable_shared_from_this<Answer> {
 public:
  using Clock = std::chrono::steady_clock;

  // `backend` and `metrics` must outlive it. `on_end` is called once, when the answer is out or given up.
  Answer(Ask ask, const Backend& backend, Metrics& metrics, std::shared_ptr<Responder> responder, Headers headers,
         Clock::time_point arrival, std::function<void(const AnswerRecord&)> on_end);

  const Ask& ask() const { return ask_; }
  // Before start().
  void set_format(std::unique_ptr<Format> format) { format_ = std::move(format); }

  // From any thread, once.
  void start();

 private:
  struct State {
    Choice choice;
    std::unique_ptr<text::ToolCallParser> parser;  // with tools
    Delta pending;                                 // not written yet
    Backend::Cancel cancel;
    Clock::time_point last_token{};
    bool reasoning = false;  // the last token was
    bool done = false;
  };

  void submit();
  void on_event(size_t index, const engine::Event& event, Clock::time_point time);
  void on_done(size_t index, const engine::Outcome& outcome);
  void add_answer(State& state, std::string_view text);
  void add_calls(State& state, const std::vector<text::ToolCallParser::Piece>& pieces);
  void flush(size_t index);
  void flush_all();
  void finish_all();
  void fail(const ApiError& error);
  void cancel_all();
  void end(AnswerRecord record);
  Usage usage() const;

  const Ask ask_;
  const Backend& backend_;
  Metrics& metrics_;
  std::unique_ptr<Format> format_;
  std::shared_ptr<Responder> responder_;  // let go at the end
  Headers headers_;
  const Clock::time_point arrival_;
  std::function<void(const AnswerRecord&)> on_end_;
  std::vector<State> states_;
  AnswerRecord record_;
  size_t calls_ = 0;  // for their ids
  bool over_ = false, begun_ = false;
};

}  // namespace zaya::server
