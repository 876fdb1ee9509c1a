#include "server/run_answer.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <map>

#include "reasoning/prompts.h"
#include "reasoning/run.h"
#include "reasoning/solver.h"

namespace zaya::server {
namespace {

constexpr auto kProgressEvery = std::chrono::milliseconds(500);

std::string utc_now() {
  const std::time_t time = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", utc);
}

// New tokens and prompts by rounds, and how it ended.
Usage usage_of(const reasoning::Run& run, const reasoning::RunResult& result) {
  Usage all;
  Json rounds = Json::array();
  for (const auto& round : run.rounds()) {
    Usage sum;
    int64_t candidates = 0;
    for (const reasoning::Candidate& candidate : round) {
      if (candidate.state != reasoning::Candidate::State::done) continue;
      ++candidates;
      if (candidate.carried) continue;  // counted where it was made
      sum.prompt_tokens += candidate.trace.prompt_tokens;
      sum.cached_tokens += candidate.trace.cached_prompt_tokens;
      sum.completion_tokens += candidate.trace.new_tokens;
      sum.reasoning_tokens += candidate.trace.reasoning.count;
    }
    rounds.push_back({{"round", rounds.size()},
                      {"candidates", candidates},
                      {"prompt_tokens", sum.prompt_tokens},
                      {"cached_tokens", sum.cached_tokens},
                      {"completion_tokens", sum.completion_tokens},
                      {"reasoning_tokens", sum.reasoning_tokens}});
    all.prompt_tokens += sum.prompt_tokens;
    all.cached_tokens += sum.cached_tokens;
    all.completion_tokens += sum.completion_tokens;
    all.reasoning_tokens += sum.reasoning_tokens;
  }
  all.markovian_rsa = {{"rounds", std::move(rounds)},
                       {"wasted_tokens", result.wasted_tokens},
                       {"stopped", reasoning::name_of(result.stopped)}};
  return all;
}

// The chosen candidate as an answer.
Choice choice_of(const reasoning::Run& run, const reasoning::RunResult& result) {
  Choice choice;
  choice.finish = "length";  // no candidate came to an answer
  if (result.round < 0 || result.candidate < 0) return choice;
  const reasoning::Trace& trace =
      run.rounds()[static_cast<size_t>(result.round)][static_cast<size_t>(result.candidate)].trace;
  choice.reasoning = trace.reasoning.text;
  // A trace that stopped at β has no text behind its reasoning, but an answer may stand in it.
  choice.content = result.text.empty() ? result.answer : result.text;
  if (trace.end == reasoning::End::stop) choice.finish = "stop";
  choice.outcome.prompt_tokens = trace.prompt_tokens;
  choice.outcome.cached_prompt_tokens = trace.cached_prompt_tokens;
  choice.outcome.tokens.resize(static_cast<size_t>(trace.new_tokens));  // only counted
  choice.outcome.queue_seconds = trace.queue_seconds;
  choice.outcome.prefill_seconds = trace.prefill_seconds;
  choice.outcome.decode_seconds = trace.decode_seconds;
  return choice;
}

}  // namespace

// ---- Threads

bool RunThreads::start(std::stop_source stop, std::function<std::function<void()>()> work) {
  const std::lock_guard lock(mutex_);
  if (ended_) return false;
  slots_.remove_if([](Slot& slot) {
    if (!slot.done) return false;
    slot.thread.join();
    return true;
  });
  if (static_cast<int64_t>(slots_.size()) >= most_) return false;
  Slot& slot = slots_.emplace_back();
  slot.stop = std::move(stop);
  slot.thread = std::thread([&slot, work = std::move(work)]() mutable {
    const std::function<void()> rest = work();
    slot.done = true;
    rest();
  });
  return true;
}

void RunThreads::end() {
  std::list<Slot> ending;
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    ending.swap(slots_);  // the slots stay where they are
  }
  for (Slot& slot : ending) slot.stop.request_stop();
  for (Slot& slot : ending) slot.thread.join();
}

// ---- The run's thread

struct RunAnswer::Outcome {
  Choice choice;
  Usage usage;
  std::string result_line;
  reasoning::Stopped stopped = reasoning::Stopped::no;
};

class RunAnswer::Watcher : public reasoning::Observer {
 public:
  explicit Watcher(RunAnswer& answer) : answer_(answer) {}

  void on_line(const std::string& line) override {
    last_line_ = line;
    post(line, false);
  }

  void on_event(const reasoning::Run&, const reasoning::Event& event) override {
    if (event.kind == reasoning::Event::Kind::done) {
      tokens_.erase(event.job);
    } else {
      tokens_[event.job] = event.new_tokens;
    }
  }

  void on_tick(const reasoning::Run& run) override {
    if (!answer_.ask_.ask.stream || tokens_.empty() || Clock::now() - said_ < kProgressEvery) return;
    said_ = Clock::now();
    const double at = std::chrono::duration<double>(said_ - begin_).count();
    int64_t total = run.new_tokens();
    Json running = Json::array();
    for (const auto& [id, tokens] : tokens_) {
      const reasoning::Candidate& candidate = run.candidate(id);
      running.push_back({{"round", candidate.round}, {"candidate", candidate.index}, {"new_tokens", tokens}});
      total += tokens;
    }
    const Json line = {{"event", "progress"},
                       {"at", static_cast<double>(static_cast<int64_t>(at * 1000)) / 1000},
                       {"new_tokens", total},
                       {"running", std::move(running)}};
    post(dump(line), true);
  }

  const std::string& last_line() const { return last_line_; }

 private:
  void post(const std::string& line, bool droppable) {
    if (!answer_.ask_.ask.stream) return;
    answer_.responder_->post([self = answer_.shared_from_this(), line, droppable] { self->add_line(line, droppable); });
  }

  RunAnswer& answer_;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point said_ = begin_;
  std::map<int64_t, int64_t> tokens_;  // of running jobs
  std::string last_line_;
};

Result<RunAnswer::Outcome> RunAnswer::solve() {
  const std::unique_ptr<reasoning::Generator> generator = backend_.make_generator();
  ZAYA_ASSIGN(reasoning::Prompts prompts, reasoning::Prompts::named(ask_.prompts));
  ZAYA_ASSIGN(reasoning::Run run,
              reasoning::Run::create(ask_.problem, ask_.settings, std::move(prompts),
                                     [&](std::span<const text::TokenId> tokens) { return generator->decode(tokens); }));
  reasoning::SolveOptions options;
  options.stop = stop_.get_token();
  options.parallel = limits_.max_parallel;
  options.id = ask_.ask.id;
  options.created = utc_now();
  options.model = backend_.model_name;
  Watcher watcher(*this);
  ZAYA_ASSIGN(const reasoning::RunResult result, reasoning::solve(run, *generator, nullptr, &watcher, options));
  return Outcome{choice_of(run, result), usage_of(run, result), watcher.last_line(), result.stopped};
}

std::function<void()> RunAnswer::work() {
  const auto outcome = std::make_shared<const Result<Outcome>>(solve());
  const auto tell = [self = shared_from_this(), outcome] {
    if (self->over_) return;
    if (!outcome->ok()) return self->fail(to_api_error(outcome->status(), "markovian_rsa"));
    // A client that left is not told; what is left is the end of the server.
    if ((*outcome)->stopped == reasoning::Stopped::interrupted) {
      return self->fail({.status = 503, .message = "the server is shutting down", .code = "cancelled"});
    }
    self->finish(**outcome);
  };
  return [self = shared_from_this(), tell] { self->responder_->post(tell); };
}

// ---- The connection's thread

RunAnswer::RunAnswer(RunAsk ask, const Backend& backend, const RunLimits& limits, Metrics& metrics,
                     std::shared_ptr<Responder> responder, Headers headers,
                     std::function<void(const AnswerRecord&)> on_end)
    : ask_(std::move(ask)),
      backend_(backend),
      limits_(limits),
      metrics_(metrics),
      responder_(std::move(responder)),
      headers_(std::move(headers)),
      on_end_(std::move(on_end)) {
  record_.choices = 1;
}

bool RunAnswer::start(RunThreads& threads) {
  // Counted first: the work may be over before start() returns.
  ++metrics_.running;
  const bool started = threads.start(stop_, [self = shared_from_this()] {
    self->responder_->post([self] {
      self->responder_->watch([self] { self->flush(); },
                              [self] {
                                if (self->over_) return;
                                self->record_.status = 499;
                                self->record_.finish = "gone";
                                self->stop_.request_stop();
                                self->end();
                              });
    });
    return self->work();
  });
  if (!started) --metrics_.running;
  return started;
}

void RunAnswer::add_line(const std::string& line, bool droppable) {
  if (over_) return;
  if (droppable && !pending_.empty()) return;
  begin();
  pending_ += format_->run_line(line);
  flush();
}

// With the first line: what fails before it is answered with a status.
void RunAnswer::begin() {
  if (begun_) return;
  begun_ = true;
  HttpResponse head{.content_type = "text/event-stream", .headers = headers_};
  head.headers.emplace_back("Cache-Control", "no-cache");
  head.headers.emplace_back("X-Accel-Buffering", "no");  // nginx
  responder_->begin(std::move(head), format_->heartbeat());
  responder_->write(format_->begin());
}

void RunAnswer::flush() {
  if (over_ || pending_.empty() || !responder_->writable()) return;
  responder_->write(std::exchange(pending_, {}));
}

void RunAnswer::finish(const Outcome& outcome) {
  const Choice& choice = outcome.choice;
  record_.usage = outcome.usage;
  record_.finish = choice.finish;
  record_.queue_seconds = choice.outcome.queue_seconds;
  if (ask_.ask.stream) {
    begin();
    Delta delta;
    delta.append(Part::Kind::reasoning, choice.reasoning);
    delta.append(Part::Kind::content, choice.content);
    std::string events = std::exchange(pending_, {});
    events += format_->delta(0, delta);  // step by step: a format may number its events as it makes them
    events += format_->finish(0, choice);
    events += format_->end({choice}, outcome.usage);
    responder_->write(std::move(events));
    responder_->end();
  } else {
    Json answer = format_->whole({choice}, outcome.usage);
    answer["markovian_rsa"] = Json::parse(outcome.result_line, nullptr, false);
    responder_->send({.headers = headers_, .body = dump(answer)});
  }
  end();
}

void RunAnswer::fail(const ApiError& error) {
  record_.status = error.status;
  record_.finish = "failed";
  record_.error = error.message;
  if (begun_) {
    responder_->write(std::exchange(pending_, {}) + format_->failure(error));
    responder_->end();
  } else {
    HttpResponse response = error_response(error, false);
    response.headers.insert(response.headers.end(), headers_.begin(), headers_.end());
    responder_->send(std::move(response));
  }
  end();
}

void RunAnswer::end() {
  over_ = true;
  pending_.clear();
  --metrics_.running;
  if (const auto call = std::exchange(on_end_, nullptr)) call(record_);
}

}  // namespace zaya::server
