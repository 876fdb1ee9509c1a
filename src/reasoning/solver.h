// Drives a run: hands its jobs to a generator, its traces to the journal, and watches the limits.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "base/status.h"
#include "reasoning/generator.h"
#include "reasoning/journal.h"
#include "reasoning/run.h"

namespace zaya::reasoning {

// Watches a run from the thread that solves it.
class Observer {
 public:
  virtual ~Observer() = default;
  // Every line that the journal gets, also where there is none.
  virtual void on_line(const std::string&) {}
  // What the generator says, before the run has taken note of it.
  virtual void on_event(const Run&, const Event&) {}
  // At least ten times a second while anything runs.
  virtual void on_tick(const Run&) {}
};

struct SolveOptions {
  std::stop_token stop;            // ends the run with the best answer it has
  Verifier verifier;               // for best-of-N and the choice `verifier`
  int64_t parallel = 0;            // candidates under way at once; 0 = what the generator takes
  double seconds_before = 0;       // of earlier sessions of this run
  bool resumed = false;            // the journal begins already
  std::string id, created, model;  // for the journal's first line
};

// Runs to the end or to a limit. `journal` and `observer` may be null. A failed candidate is no failure of the run; it
// fails when the journal cannot be written, or no candidate at all brought anything.
Result<RunResult> solve(Run& run, Generator& generator, Journal* journal, Observer* observer,
                        const SolveOptions& options);

// out_of_range when an aggregation prompt's tails and a budget of thinking, C·τ + β, cannot fit into `context` tokens;
// 0 = not known, always fine. solve() checks it too.
Status check_context(const Settings& settings, int64_t context);

}  // namespace zaya::reasoning
