// Figures of an evaluation, with intervals.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "eval/evaluation.h"
#include "eval/statistics.h"

namespace zaya::eval {

// A share with its 95 % interval.
struct Share {
  double value = 0;
  Interval interval;
};

struct At {
  int64_t k = 1;
  Share share;
};

struct GroupSummary {
  std::string group;
  int64_t items = 0;
  Share accuracy;
};

struct StrategySummary {
  std::string name;
  reasoning::Settings settings;
  std::string tokens_of;
  int64_t items = 0, samples = 0;  // with at least one sample; samples of all items together
  bool whole = true;               // every item has all its samples

  // The mean over items of the mean over samples. Wilson's interval where every item has one sample, else the
  // bootstrap over items (`wilson` says which).
  Share accuracy;
  bool wilson = true;
  // The published score: the mean over the candidates of the last round. Bootstrap over items.
  Share last_round;
  std::vector<Share> by_round;  // the same for each round
  // Over the samples of an item; for strategies of one sample only k = 1. Powers of two, and the number of samples.
  std::vector<At> pass, vote;
  double answered = 0;  // share of last-round candidates with an answer
  double closed = 0;    // … whose reasoning ended by itself

  double new_tokens = 0;             // mean of a run
  Interval new_tokens_interval;      // bootstrap over items
  double all_tokens = 0;             // with prompts
  double computed_tokens = 0;        // … of which the prompt's share was not found in a cache
  int64_t wasted_tokens = 0;         // in total
  double seconds = 0;                // wall clock, all sessions
  double tokens_per_second = 0;      // new ones
  double joules = -1;                // of the machine; −1 = not known
  std::vector<GroupSummary> groups;  // in the order of the items
};

struct PairSummary {
  std::string a, b;
  int64_t items = 0;
  Difference difference;  // b − a, in accuracy
  bool mcnemar = false;   // one sample each: the exact test on discordant items; else the paired bootstrap's p
  int64_t only_a = 0, only_b = 0;
  double p = 1;
};

struct Summary {
  std::vector<StrategySummary> strategies;
  std::vector<PairSummary> pairs;  // each strategy against the first, on the items that both have
};

Summary summarize(const Evaluation& evaluation);

// Strategy `b` of one evaluation against `a` of another, or of the same: on the items that both have.
// Errors: invalid_argument when there is no item in common.
Result<PairSummary> compare(const Evaluation& of_a, int64_t a, const Evaluation& of_b, int64_t b);

// One JSON object, for programs.
std::string summary_json(const Evaluation& evaluation, const Summary& summary);

}  // namespace zaya::eval
