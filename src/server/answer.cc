#include "server/answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace zaya::server {
namespace {

double seconds(Answer::Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

Answer::Answer(Ask ask, const Backend& backend, Metrics& metrics, std::shared_ptr<Responder> responder, Headers headers,
               Clock::time_point arrival, std::function<void(const AnswerRecord&)> on_end)
    : ask_(std::move(ask)),
      backend_(backend),
      metrics_(metrics),
      responder_(std::move(responder)),
      headers_(std::move(headers)),
      arrival_(arrival),
      on_end_(std::move(on_end)) {
  ++metrics_.running;
}

void Answer::start() {
  responder_->post([self = shared_from_this()] { self->submit(); });
}

void Answer::submit() {
  responder_->watch([self = shared_from_this()] { self->flush_all(); },
                    [self = shared_from_this()] {
                      if (self->over_) return;
                      self->record_.status = 499;  // as nginx logs it
                      self->record_.finish = "gone";
                      self->cancel_all();
                      self->end(self->record_);
                    });
  if (over_) return;  // gone already
  states_.resize(ask_.prompts.size() * static_cast<size_t>(ask_.n));
  record_.choices = static_cast<int64_t>(states_.size());
  for (size_t i = 0; i < states_.size(); ++i) {
    const size_t copy = i % static_cast<size_t>(ask_.n);
    engine::Request request = ask_.prompts[i / static_cast<size_t>(ask_.n)];
    // Each choice its own, and all of them repeatable.
    if (request.sampling.seed) *request.sampling.seed += copy;
    State& state = states_[i];
    state.reasoning = request.thinking.starts_inside;
    if (ask_.calls) {
      state.parser = std::make_unique<text::ToolCallParser>(ask_.tools);
      add_calls(state, state.parser->push(ask_.prefill));
    }
    // The engine's thread only hands over.
    auto cancel = backend_.submit(
        std::move(request),
        [self = shared_from_this(), responder = responder_, i](const engine::Event& event) {
          responder->post([self, i, event, time = Clock::now()] { self->on_event(i, event, time); });
        },
        [self = shared_from_this(), responder = responder_, i](const engine::Outcome& outcome) {
          responder->post([self, i, outcome] { self->on_done(i, outcome); });
        });
    if (!cancel.ok()) {
      ApiError error = to_api_error(cancel.status(), ask_.prompt_field);
      if (error.status == 429) {
        const engine::ServiceStats stats = backend_.stats();
        const double wait = metrics_.whole_request.mean() * static_cast<double>(stats.queued) /
                            static_cast<double>(std::max<int64_t>(1, stats.running));
        error.retry_after = static_cast<int>(std::clamp(std::ceil(wait), 1.0, 60.0));
      }
      return fail(error);
    }
    state.cancel = std::move(*cancel);
  }
  if (ask_.stream) {
    HttpResponse head{.content_type = "text/event-stream", .headers = headers_};
    head.headers.emplace_back("Cache-Control", "no-cache");
    head.headers.emplace_back("X-Accel-Buffering", "no");  // nginx
    begun_ = true;
    responder_->begin(std::move(head), format_->heartbeat());
    responder_->write(format_->begin());
    flush_all();
  }
}

void Answer::on_event(size_t index, const engine::Event& event, Clock::time_point time) {
  if (over_) return;
  State& state = states_[index];
  if (event.sampled.token >= 0) {
    if (record_.first_token_seconds == 0) {
      record_.first_token_seconds = seconds(time - arrival_);
      metrics_.first_token.add(record_.first_token_seconds);
    }
    if (state.last_token != Clock::time_point{}) metrics_.between_tokens.add(seconds(time - state.last_token));
    state.last_token = time;
  }
  for (const auto& piece : event.pieces) {
    state.reasoning = piece.reasoning;
    if (!piece.reasoning) {
      add_answer(state, piece.text);
    } else if (ask_.show_reasoning) {
      state.pending.append(Part::Kind::reasoning, piece.text);
    }
  }
  if (ask_.logprobs && !state.reasoning && event.sampled.chosen) state.pending.tokens.push_back(event.sampled);
  if (ask_.stream && responder_->writable()) flush(index);
}

void Answer::add_answer(State& state, std::string_view text) {
  if (state.parser) {
    add_calls(state, state.parser->push(text));
  } else {
    state.pending.append(Part::Kind::content, std::string(text));
  }
}

void Answer::add_calls(State& state, const std::vector<text::ToolCallParser::Piece>& pieces) {
  using Kind = text::ToolCallParser::Piece::Kind;
  for (const auto& piece : pieces) {
    switch (piece.kind) {
      case Kind::content: state.pending.append(Part::Kind::content, piece.text); break;
      case Kind::call:
        state.pending.append(Part::Kind::call, piece.text, fmt::format("call_{}{}", ask_.id, calls_++));
        break;
      case Kind::arguments: state.pending.append(Part::Kind::arguments, piece.text); break;
    }
  }
}

void Answer::flush(size_t index) {
  State& state = states_[index];
  if (state.pending.empty()) return;
  const Delta delta = std::exchange(state.pending, Delta());
  state.choice.append(delta);
  if (begun_) responder_->write(format_->delta(index, delta));
}

void Answer::flush_all() {
  if (over_ || !begun_) return;
  for (size_t i = 0; i < states_.size() && responder_->writable(); ++i) flush(i);
}

void Answer::on_done(size_t index, const engine::Outcome& outcome) {
  if (over_) return;
  State& state = states_[index];
  state.done = true;
  if (outcome.finish == engine::Finish::failed) return fail(to_api_error(outcome.failure, ""));
  if (outcome.finish == engine::Finish::cancelled) {
    return fail({.status = 503, .message = "the server is shutting down", .code = "cancelled"});
  }
  const bool complete = outcome.finish == engine::Finish::stop;
  if (state.parser) add_calls(state, state.parser->finish(complete));
  flush(index);
  Choice& choice = state.choice;
  choice.outcome = outcome;
  choice.finish = complete ? (choice.calls.empty() ? "stop" : "tool_calls") : "length";
  if (ask_.stream) responder_->write(format_->finish(index, choice));
  if (std::all_of(states_.begin(), states_.end(), [](const State& s) { return s.done; })) finish_all();
}

Usage Answer::usage() const {
  Usage usage;
  for (size_t i = 0; i < states_.size(); ++i) {
    const engine::Outcome& outcome = states_[i].choice.outcome;
    if (i % static_cast<size_t>(ask_.n) == 0) {  // the choices of one prompt share it
      usage.prompt_tokens += static_cast<int64_t>(ask_.prompts[i / static_cast<size_t>(ask_.n)].prompt.size());
      usage.cached_tokens += outcome.cached_prompt_tokens;
    }
    usage.completion_tokens += static_cast<int64_t>(outcome.tokens.size());
    usage.reasoning_tokens += outcome.reasoning_tokens;
  }
  return usage;
}

void Answer::finish_all() {
  std::vector<Choice> choices;
  for (State& state : states_) choices.push_back(std::move(state.choice));
  for (size_t i = 0; i < states_.size(); ++i) states_[i].choice.outcome = choices[i].outcome;
  record_.usage = usage();
  record_.finish = choices.front().finish;
  record_.queue_seconds = choices.front().outcome.queue_seconds;
  if (ask_.stream) {
    responder_->write(format_->end(choices, record_.usage));
    responder_->end();
  } else {
    responder_->send({.headers = headers_, .body = dump(format_->whole(choices, record_.usage))});
  }
  metrics_.whole_request.add(seconds(Clock::now() - arrival_));
  end(record_);
}

void Answer::fail(const ApiError& error) {
  cancel_all();
  record_.status = error.status;
  record_.finish = "failed";
  record_.error = error.message;
  if (begun_) {
    responder_->write(format_->failure(error));
    responder_->end();
  } else {
    HttpResponse response = error_response(error, format_->anthropic());
    response.headers.insert(response.headers.end(), headers_.begin(), headers_.end());
    responder_->send(std::move(response));
  }
  end(record_);
}

void Answer::cancel_all() {
  for (const State& state : states_) {
    if (state.cancel && !state.done) state.cancel();
  }
}

void Answer::end(AnswerRecord record) {
  over_ = true;
  --metrics_.running;
  if (const auto call = std::exchange(on_end_, nullptr)) call(record);
}

}  // namespace zaya::server
