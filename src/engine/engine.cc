#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace zaya::engine {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

Engine::Engine(std::unique_ptr<model::Model> model, text::Tokenizer tokenizer, EngineOptions options)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      options_(options),
      vocabulary_(std::min<int64_t>(tokenizer_.size(), model_->config().vocab_size)) {}

Result<std::shared_ptr<Generation>> Engine::submit(Request request, EventSink sink) {
  ZAYA_ASSIGN(std::shared_ptr<Generation> generation, prepare(std::move(request), std::move(sink)));
  enqueue(generation);
  return generation;
}

void Engine::enqueue(std::shared_ptr<Generation> generation) {
  if (generation->done()) return;
  std::vector<text::TokenId> pending = generation->request().prompt;
  active_.push_back(
      {.generation = std::move(generation), .sequence = model_->new_sequence(), .pending = std::move(pending)});
}

Result<std::shared_ptr<Generation>> Engine::prepare(Request request, EventSink sink) const {
  if (request.prompt.empty())
    return Status(Code::invalid_argument, "the prompt is empty", "a prompt needs at least one token");
  ZAYA_RETURN_IF_ERROR(request.sampling.validate(vocabulary_));
  const int64_t context = model_->config().max_positions, length = static_cast<int64_t>(request.prompt.size());
  if (length > context) {
    return Status(Code::out_of_range,
                  fmt::format("the prompt has {} tokens; the model's context is {}", length, context),
                  "shorten the prompt or start a new conversation");
  }
  for (text::TokenId token : request.prompt) {
    if (token < 0 || token >= model_->config().vocab_size) {
      return Status(
          Code::out_of_range,
          fmt::format("the prompt holds token {}; the model's vocabulary has {}", token, model_->config().vocab_size),
          "the tokenizer may belong to another model");
    }
  }
  return std::make_shared<Generation>(std::move(request), tokenizer_, vocabulary_, context - length, std::move(sink));
}

std::vector<model::TokenRun> Engine::plan(std::vector<Active*>& chosen) {
  std::vector<model::TokenRun> runs;
  int64_t room = options_.prefill_chunk;
  for (Active& active : active_) {
    int64_t count = static_cast<int64_t>(active.pending.size());
    if (count > 1) {
      count = std::min(count, room);
      room -= count;
      if (count == 0) continue;  // the prompts before it fill this step
    }
    const bool whole = count == static_cast<int64_t>(active.pending.size());
    runs.push_back({.sequence = &active.sequence,
                    .tokens = std::span(active.pending).first(static_cast<size_t>(count)),
                    .logits = whole ? model::Logits::last : model::Logits::none});
    chosen.push_back(&active);
  }
  return runs;
}

void Engine::fail_all(const std::vector<Active*>& chosen, const Status& status) {
  for (Active* active : chosen) active->generation->end(Finish::failed, status);
}

void Engine::step() {
  for (Active& active : active_) {
    if (active.generation->cancel_requested()) active.generation->end(Finish::cancelled);
    if (active.started == 0) active.started = now();
  }
  active_.remove_if([](const Active& active) { return active.generation->done(); });

  std::vector<Active*> chosen;
  const std::vector<model::TokenRun> runs = plan(chosen);
  if (runs.empty()) return;
  if (Status status = model_->forward(runs, logits_); !status.ok()) {
    fail_all(chosen, status);
  } else {
    size_t row = 0;
    for (size_t i = 0; i < runs.size(); ++i) {
      Active& active = *chosen[i];
      const size_t fed = runs[i].tokens.size();
      if (runs[i].logits == model::Logits::none) {
        active.pending.erase(active.pending.begin(), active.pending.begin() + static_cast<std::ptrdiff_t>(fed));
        continue;
      }
      const size_t width = static_cast<size_t>(model_->config().vocab_size);
      const text::TokenId token = active.generation->next(std::span(logits_).subspan(row++ * width, width));
      const double time = now();
      Outcome& outcome = active.generation->outcome();
      if (active.first_token == 0) active.first_token = time;
      outcome.prefill_seconds = active.first_token - active.started;
      outcome.decode_seconds = time - active.first_token;
      active.pending.assign(1, token);
    }
  }
  active_.remove_if([](const Active& active) { return active.generation->done(); });
}

Result<Outcome> Engine::generate(Request request, EventSink sink) {
  ZAYA_ASSIGN(const std::shared_ptr<Generation> generation, submit(std::move(request), std::move(sink)));
  while (!generation->done()) step();
  if (generation->outcome().finish == Finish::failed) return generation->outcome().failure;
  return generation->outcome();
}

}  // namespace zaya::engine
