// Carries out a plan: every strategy on every item, as often as asked for, skipping what a journal holds already.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>

#include "base/status.h"
#include "eval/evaluation.h"
#include "eval/judge.h"
#include "reasoning/generator.h"
#include "reasoning/journal.h"

namespace zaya::eval {

struct Progress {
  int64_t done = 0, all = 0;      // runs, of all strategies
  int64_t right = 0, judged = 0;  // of the present strategy
  const char* strategy = "";
  int64_t running_tokens = 0;
};

struct RunnerOptions {
  int64_t parallel = 64;  // candidates under way at once
  JudgeOptions judge;
  std::stop_token stop;
  std::filesystem::path traces;  // where each run's own journal goes; empty = nowhere
  std::function<void(const Progress&)> on_progress;
  std::function<void(const std::string&)> on_line;  // every line that the journal gets
};

// `evaluation` holds what is done already, and gets the rest. `journal` begins with its plan line already.
// Returns whether everything was done (false: stopped by `options.stop`).
// Errors: the journal cannot be written; io_error when five runs in a row brought nothing (servers are gone, say):
// what was done is in the journal. invalid_argument: a strategy that does not fit the context, a prompt file.
Result<bool> run_plan(Evaluation& evaluation, const ItemSet& set, reasoning::Generator& generator,
                      reasoning::Journal& journal, const RunnerOptions& options);

}  // namespace zaya::eval
