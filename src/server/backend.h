// What the server needs of a model and the engine behind it. Tests put a scripted engine in its place.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/service.h"
#include "libzaya/session.h"
#include "reasoning/generator.h"

namespace zaya::server {

struct Backend {
  using Cancel = std::function<void()>;

  std::shared_ptr<const Session> session;  // templates, tokenizer, sampling defaults
  std::string model_name;
  int64_t created = 0;  // Unix time, for /v1/models

  // As engine::Service::submit.
  std::function<Result<Cancel>(engine::Request, engine::EventSink, engine::DoneSink)> submit;
  std::function<engine::ServiceStats()> stats;
  // What a run of Markovian RSA generates with, for that run alone; null = runs are not offered. From any thread.
  std::function<std::unique_ptr<reasoning::Generator>()> make_generator;

  const text::Tokenizer& tokenizer() const { return session->engine->tokenizer(); }
  int64_t vocabulary() const { return session->engine->vocabulary(); }
  int64_t context() const { return session->engine->model().config().max_positions; }
};

}  // namespace zaya::server
