// The routes: who may ask, what is asked, and which part of the room answers. Knows HTTP only as http.h has it.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/ask.h"
#include "server/http.h"
#include "server/keys.h"
#include "server/metrics.h"
#include "server/run_answer.h"

namespace zaya::server {

class Format;

struct ApiOptions {
  std::vector<ApiKey> keys;                // empty = no key is asked for
  std::vector<std::string> allow_origins;  // other web sites' pages that may call, as "https://chat.example.org"
  bool loopback = true;                    // listening on a loopback address only
  bool log_prompts = false;
  AskLimits limits;
  RunLimits runs;
};

class Api {
 public:
  // `log` takes one line of JSON at a time, from any thread. `http_stats` may be set later.
  Api(Backend backend, ApiOptions options, std::function<void(const std::string&)> log);

  // From any thread.
  void handle(HttpRequest request, std::shared_ptr<Responder> responder);

  void set_http_stats(std::function<HttpStats()> stats) { http_stats_ = std::move(stats); }
  // From here on /ready says no, and new work is refused.
  void set_draining() { draining_ = true; }
  // Stops runs of Markovian RSA and waits for their threads: they need engine and connections.
  void end_runs() { run_threads_.end(); }

  Metrics& metrics() { return metrics_; }
  const Backend& backend() const { return backend_; }

 private:
  struct Exchange;
  struct Route;

  static const Route kRoutes[];

  bool allowed(Exchange& exchange);
  void dispatch(Exchange& exchange);
  void reply(Exchange& exchange, HttpResponse response);
  void reply_json(Exchange& exchange, const Json& json);
  void reply_error(Exchange& exchange, const ApiError& error);
  void log(const Exchange& exchange, Json fields);
  bool read_body(Exchange& exchange, Json& body);

  using Parser = void (*)(const Json&, const AskContext&, Ask&, std::optional<ApiError>&);
  using MakeFormat = std::unique_ptr<Format> (*)(const Ask&, const Backend&, const Json&);
  void answer(Exchange& exchange, Parser parse, MakeFormat format);
  void answer(Exchange& exchange, const Json& body, Parser parse, MakeFormat format);
  // `body`: a chat request; `format` gets the request as it came.
  void answer_by_run(Exchange& exchange, const Json& body, MakeFormat format, const Json& as_it_came);
  bool take_place(Exchange& exchange, bool run);
  bool refuse_draining(Exchange& exchange);
  std::string next_id(const Exchange& exchange);
  std::function<void(const AnswerRecord&)> hand_over(Exchange& exchange);
  bool offers_runs() const { return backend_.make_generator && options_.runs.max_runs > 0; }

  void page(Exchange& exchange);
  void health(Exchange& exchange);
  void ready(Exchange& exchange);
  void metrics_text(Exchange& exchange);
  void models(Exchange& exchange);
  void tokenize(Exchange& exchange);
  void detokenize(Exchange& exchange);
  void apply_template(Exchange& exchange);
  void chat(Exchange& exchange);
  void completion(Exchange& exchange);
  void response(Exchange& exchange);
  void message(Exchange& exchange);
  void count_tokens(Exchange& exchange);

  const Backend backend_;
  const ApiOptions options_;
  const std::function<void(const std::string&)> log_;
  std::function<HttpStats()> http_stats_;
  Metrics metrics_;
  std::atomic<bool> draining_{false};
  std::atomic<uint64_t> ids_;
  std::deque<KeyUse> key_uses_;  // of options_.keys, which outlive the places in them
  RunThreads run_threads_;       // the last one: its threads use the others
};

// Whether the two are equal, in a time that depends on their lengths only.
bool constant_time_equal(std::string_view a, std::string_view b);

}  // namespace zaya::server
