// A chat request with a `markovian_rsa` object: what it asks for, and the limits on that.
#pragma once

#include <optional>
#include <string>

#include "reasoning/settings.h"
#include "server/ask.h"

namespace zaya::server {

// Bounds on runs of Markovian RSA that the configuration may move.
struct RunLimits {
  int64_t max_runs = 2;                      // under way at once, 0 = none are offered; beyond: 429
  int64_t max_candidates = 512;              // of one run, all rounds together
  int64_t max_new_tokens = 8 * 1024 * 1024;  // of one run
  int64_t max_parallel = 32;                 // candidates of one run in the engine at once: the others wait outside
};

struct RunAsk {
  Ask ask;  // id, stream, include_usage; one prompt, which stays empty
  std::string problem;
  reasoning::Settings settings;
  std::string prompts;  // boxed or plain
};

// Whether a chat request asks for a run.
bool wants_run(const Json& body);

// Leaves the first error in `error`; fields of the object are named as in "markovian_rsa.N".
void parse_run(const Json& body, const AskContext& context, const RunLimits& limits, RunAsk& run,
               std::optional<ApiError>& error);

}  // namespace zaya::server
