// An evaluation as data: what is asked (Plan), what came of it (Sample), and the journal that holds both.
//
// The journal is a file of JSON lines, written as things happen:
//   eval      the plan: where the items come from, their digest, strategies with all settings, what generates
//   sample    one run of one strategy on one item: verdicts, tokens, times
//   failed    a run in which every candidate failed; not a sample, made again on resuming
//   matched   a population that was chosen so that tokens match
//   resume    another session
// It has the durability of reasoning/journal.h: one write() a line, a torn last line is dropped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "eval/items.h"
#include "reasoning/run.h"
#include "reasoning/settings.h"

namespace zaya::eval {

// Where items come from.
struct SetChoice {
  std::vector<std::string> sources;  // "gym", "gym:NAME,NAME…" or a file
  GymChoice gym;                     // its environments are the sources'
  int64_t limit = 0;                 // items of each file; 0 = all
};

// The items of all sources. Errors: those of gym_items and read_items.
Result<ItemSet> load_set(const SetChoice& choice);

struct Strategy {
  std::string name;
  reasoning::Settings settings;
  std::string tokens_of;  // the strategy whose mean new tokens this one's population is chosen to match; or empty
  bool matched = false;   // … has been chosen
};

struct Plan {
  SetChoice set;
  std::string digest;  // of the items
  int64_t items = 0;
  int64_t samples = 1;  // runs of each strategy on each item
  uint64_t seed = 0;
  std::vector<Strategy> strategies;
  std::string prompts;      // source of the prompt templates
  std::string answer_kind;  // how answers are read; empty = by the item's judge
  std::string model;        // directory; empty for servers
  std::string generator;    // a JSON object: Generator::describe()
  std::string created;
  bool deterministic = false;
  bool traces = false;  // each run keeps its own journal
};

// Of one candidate of a run.
struct Verdict {
  bool right = false, answered = false, closed = false;
  int64_t new_tokens = 0;
};

struct Sample {
  int64_t strategy = 0, number = 0;  // places in the plan: strategy, and 0 … samples − 1
  std::string item, group;
  bool right = false;     // the run's answer
  bool finished = false;  // … comes from a trace that ended by itself
  std::string answer;     // as read; empty = none
  std::string why;        // code: what was wrong
  std::vector<std::vector<Verdict>> rounds;
  int64_t new_tokens = 0, wasted_tokens = 0, prompt_tokens = 0, cached_prompt_tokens = 0;
  double seconds = 0;  // from the run's first job to its last
  double at = 0;       // seconds of this session that its strategy had taken by then
  double joules = -1;  // … and joules, of the machine; −1 = not known
  int64_t session = 1;
};

struct Evaluation {
  Plan plan;
  std::vector<Sample> samples;  // in the order of the journal; no two of one run
  int64_t failed = 0;           // runs that failed and were not made again
  std::string first_failure;
  int64_t sessions = 1;
};

// Lines, without line breaks.
std::string plan_line(const Plan& plan);
std::string sample_line(const Plan& plan, const Sample& sample);
std::string failed_line(const Plan& plan, const Sample& sample, const std::string& why);
std::string matched_line(const Strategy& strategy, double reference_tokens, double rollout_tokens);
std::string session_line();

// Errors: io_error, not_found; malformed with the line's number; unsupported (another version).
Result<Evaluation> read_evaluation(const std::filesystem::path& path);
Result<Evaluation> parse_evaluation(std::string_view content);

// One run's seed: from the plan's, the item and the sample's number alone, so that strategies meet the same problems
// with the same random numbers.
uint64_t run_seed(const Plan& plan, const std::string& item, int64_t number);

}  // namespace zaya::eval
