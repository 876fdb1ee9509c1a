// Many runs of reasoning at once on one generator, so that its batches stay full while single runs wait for their
// rounds to end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "base/status.h"
#include "reasoning/generator.h"
#include "reasoning/run.h"

namespace zaya::eval {

struct PendingRun {
  int64_t tag = 0;  // the caller's name for it
  reasoning::Run run;
  std::filesystem::path journal;  // empty = none; one that exists is gone on with
};

struct FinishedRun {
  int64_t tag = 0;
  reasoning::Run run;
  double seconds = 0;   // from its first job to its end
  std::string failure;  // not empty: no candidate brought anything
};

struct ManyRunsOptions {
  int64_t parallel = 64;                 // candidates under way at once; the generator's capacity where that is less
  std::stop_token stop;                  // cancels what runs; unfinished runs are dropped
  std::function<void(int64_t)> on_tick;  // at least ten times a second: tokens so far, of what is under way
};

// Asks `next` for runs while there is room, drives them, and hands each to `done` when it has ended. Both are called on
// this thread. Runs that cannot fit the generator's context are failures of the caller: invalid settings.
// Returns whether everything was done (false: stopped). Errors: those of `next`, `done` and journals.
Result<bool> drive(reasoning::Generator& generator, const std::function<Result<std::optional<PendingRun>>()>& next,
                   const std::function<Status(FinishedRun)>& done, const ManyRunsOptions& options);

}  // namespace zaya::eval
