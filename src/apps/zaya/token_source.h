// What a run needs to generate: the engine in this process, or servers elsewhere.
#pragma once

#include <memory>
#include <string>

#include "apps/zaya/common.h"
#include "apps/zaya/solve_tools.h"
#include "engine/service.h"
#include "reasoning/generator.h"

namespace zaya::app {

struct TokenSource {
  Session session;
  std::unique_ptr<engine::Service> service;
  std::unique_ptr<reasoning::Generator> generator;
  std::string model;  // absolute path; empty for servers
};

// `deterministic`: FP32 activations, unless the user chose others.
Result<std::unique_ptr<TokenSource>> open_source(const ModelOptions& model, const RemoteOptions& remote,
                                                 bool deterministic);

}  // namespace zaya::app
