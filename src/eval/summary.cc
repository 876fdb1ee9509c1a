#include "eval/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "nlohmann/json.hpp"
#include "reasoning/answers.h"
#include "reasoning/settings_json.h"
#include "reasoning/subsets.h"

namespace zaya::eval {
namespace {

using Json = nlohmann::ordered_json;

// The samples of each item of one strategy, items in the order in which they first appear.
struct ByItem {
  std::vector<std::string> ids;
  std::vector<std::vector<const Sample*>> samples;
};

ByItem by_item(const Evaluation& evaluation, int64_t strategy) {
  // The order of completion depends on the clock; that of the ids of a plan's first strategy does not matter either,
  // but must be the same each time.
  std::map<std::string, std::vector<const Sample*>> sorted;
  for (const Sample& sample : evaluation.samples) {
    if (sample.strategy == strategy) sorted[sample.item].push_back(&sample);
  }
  ByItem all;
  for (auto& [id, samples] : sorted) {
    std::sort(samples.begin(), samples.end(), [](const Sample* a, const Sample* b) { return a->number < b->number; });
    all.ids.push_back(id);
    all.samples.push_back(std::move(samples));
  }
  return all;
}

double mean_of(const std::vector<double>& values) {
  return values.empty() ? 0 : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

Share share_of(const std::vector<double>& values) { return {mean_of(values), bootstrap_mean(values)}; }

double accuracy_of(const std::vector<const Sample*>& samples) {
  double right = 0;
  for (const Sample* sample : samples) right += sample->right ? 1 : 0;
  return right / static_cast<double>(samples.size());
}

// Wilson where there is one trial per item, else the bootstrap.
Share accuracy_share(const std::vector<double>& values, bool single) {
  if (!single) return share_of(values);
  const int64_t right =
      static_cast<int64_t>(std::count_if(values.begin(), values.end(), [](double v) { return v > 0.5; }));
  return {mean_of(values), eval::wilson(right, static_cast<int64_t>(values.size()))};
}

// The mean, over draws of k samples, of whether their vote is right. All of them: exactly; fewer: over 200 draws.
double vote_at(const std::vector<const Sample*>& samples, const std::vector<size_t>& classes, int64_t k) {
  const int64_t n = static_cast<int64_t>(samples.size());
  std::vector<std::vector<int64_t>> draws;
  if (k >= n) {
    draws.emplace_back(static_cast<size_t>(n));
    std::iota(draws[0].begin(), draws[0].end(), 0);
  } else {
    draws = reasoning::draw_subsets(0, 0, 200, n, k);
  }
  double right = 0;
  for (auto& draw : draws) {
    std::sort(draw.begin(), draw.end());
    struct Count {
      int64_t votes = 0, finished = 0;
      const Sample* first = nullptr;
    };
    std::map<size_t, Count> counts;
    for (int64_t index : draw) {
      const Sample* sample = samples[static_cast<size_t>(index)];
      if (sample->answer.empty()) continue;
      Count& count = counts[classes[static_cast<size_t>(index)]];
      if (count.first == nullptr) count.first = sample;
      ++count.votes;
      count.finished += sample->finished ? 1 : 0;
    }
    const Count* best = nullptr;
    for (const auto& [name, count] : counts) {
      if (best == nullptr || count.votes > best->votes ||
          (count.votes == best->votes &&
           (count.finished > best->finished ||
            (count.finished == best->finished && count.first->number < best->first->number)))) {
        best = &count;
      }
    }
    right += best != nullptr && best->first->right ? 1 : 0;
  }
  return right / static_cast<double>(draws.size());
}

// Which samples gave the same answer: the place of the first of them.
std::vector<size_t> answer_classes(const std::vector<const Sample*>& samples) {
  std::vector<size_t> classes(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    classes[i] = i;
    for (size_t j = 0; j < i; ++j) {
      if (classes[j] == j && reasoning::same_answer(samples[j]->answer, samples[i]->answer)) {
        classes[i] = j;
        break;
      }
    }
  }
  return classes;
}

void add_rounds(const ByItem& items, StrategySummary& summary) {
  size_t rounds = 0;
  for (const auto& samples : items.samples) {
    for (const Sample* sample : samples) rounds = std::max(rounds, sample->rounds.size());
  }
  double candidates = 0, answered = 0, closed = 0;
  for (size_t round = 0; round < rounds; ++round) {
    std::vector<double> values;
    for (const auto& samples : items.samples) {
      double right = 0, count = 0;
      for (const Sample* sample : samples) {
        if (round >= sample->rounds.size()) continue;
        for (const Verdict& verdict : sample->rounds[round]) {
          right += verdict.right ? 1 : 0;
          count += 1;
          if (round + 1 != rounds) continue;
          candidates += 1;
          answered += verdict.answered ? 1 : 0;
          closed += verdict.closed ? 1 : 0;
        }
      }
      if (count > 0) values.push_back(right / count);
    }
    summary.by_round.push_back(share_of(values));
  }
  if (!summary.by_round.empty()) summary.last_round = summary.by_round.back();
  summary.answered = candidates > 0 ? answered / candidates : 0;
  summary.closed = candidates > 0 ? closed / candidates : 0;
}

void add_pass_and_vote(const ByItem& items, StrategySummary& summary) {
  size_t most = SIZE_MAX;  // of samples that every item has
  for (const auto& samples : items.samples) most = std::min(most, samples.size());
  if (items.samples.empty()) return;
  std::vector<int64_t> ks;
  for (size_t k = 1; k < most; k *= 2) ks.push_back(static_cast<int64_t>(k));
  ks.push_back(static_cast<int64_t>(most));
  std::vector<std::vector<size_t>> classes;
  for (const auto& samples : items.samples) classes.push_back(answer_classes(samples));
  for (int64_t k : ks) {
    std::vector<double> passes, votes;
    for (size_t i = 0; i < items.samples.size(); ++i) {
      const auto& samples = items.samples[i];
      const auto right = std::count_if(samples.begin(), samples.end(), [](const Sample* s) { return s->right; });
      passes.push_back(pass_at_k(static_cast<int64_t>(samples.size()), right, k));
      votes.push_back(vote_at(samples, classes[i], k));
    }
    summary.pass.push_back({k, most == 1 ? summary.accuracy : share_of(passes)});
    summary.vote.push_back({k, most == 1 ? summary.accuracy : share_of(votes)});
  }
}

void add_costs(const ByItem& items, StrategySummary& summary) {
  std::map<int64_t, double> seconds, joules;
  std::vector<double> tokens;
  double count = 0, new_tokens = 0, prompts = 0, cached = 0;
  for (const auto& samples : items.samples) {
    double here = 0;
    for (const Sample* sample : samples) {
      count += 1;
      here += static_cast<double>(sample->new_tokens);
      prompts += static_cast<double>(sample->prompt_tokens);
      cached += static_cast<double>(sample->cached_prompt_tokens);
      summary.wasted_tokens += sample->wasted_tokens;
      seconds[sample->session] = std::max(seconds[sample->session], sample->at);
      if (sample->joules >= 0) joules[sample->session] = std::max(joules[sample->session], sample->joules);
    }
    new_tokens += here;
    tokens.push_back(here / static_cast<double>(samples.size()));
  }
  if (count == 0) return;
  summary.new_tokens = new_tokens / count;
  summary.new_tokens_interval = bootstrap_mean(tokens);
  summary.all_tokens = (new_tokens + prompts) / count;
  summary.computed_tokens = (new_tokens + prompts - cached) / count;
  for (const auto& [session, value] : seconds) summary.seconds += value;
  summary.tokens_per_second = summary.seconds > 0 ? new_tokens / summary.seconds : 0;
  // A session without a counter leaves the sum unknown.
  if (!joules.empty() && joules.size() == seconds.size()) {
    summary.joules = 0;
    for (const auto& [session, value] : joules) summary.joules += value;
  }
}

void add_groups(const ByItem& items, bool single, StrategySummary& summary) {
  std::map<std::string, std::vector<double>> groups;
  for (const auto& samples : items.samples) {
    if (!samples[0]->group.empty()) groups[samples[0]->group].push_back(accuracy_of(samples));
  }
  for (const auto& [group, values] : groups) {
    summary.groups.push_back({group, static_cast<int64_t>(values.size()), accuracy_share(values, single)});
  }
}

StrategySummary summarize_one(const Evaluation& evaluation, int64_t index) {
  const Strategy& strategy = evaluation.plan.strategies[static_cast<size_t>(index)];
  StrategySummary summary{.name = strategy.name, .settings = strategy.settings, .tokens_of = strategy.tokens_of};
  const ByItem items = by_item(evaluation, index);
  summary.items = static_cast<int64_t>(items.ids.size());
  std::vector<double> values;
  for (const auto& samples : items.samples) {
    values.push_back(accuracy_of(samples));
    summary.samples += static_cast<int64_t>(samples.size());
    summary.wilson = summary.wilson && samples.size() == 1;
  }
  summary.whole = summary.samples == evaluation.plan.items * evaluation.plan.samples;
  summary.accuracy = accuracy_share(values, summary.wilson);
  add_rounds(items, summary);
  add_pass_and_vote(items, summary);
  add_costs(items, summary);
  add_groups(items, summary.wilson, summary);
  return summary;
}

Json share_json(const Share& share) {
  return {{"value", share.value}, {"low", share.interval.low}, {"high", share.interval.high}};
}

}  // namespace

Result<PairSummary> compare(const Evaluation& of_a, int64_t a, const Evaluation& of_b, int64_t b) {
  const ByItem in_a = by_item(of_a, a), in_b = by_item(of_b, b);
  PairSummary pair{.a = of_a.plan.strategies[static_cast<size_t>(a)].name,
                   .b = of_b.plan.strategies[static_cast<size_t>(b)].name,
                   .mcnemar = true};
  std::vector<double> values_a, values_b;
  for (size_t i = 0, j = 0; i < in_a.ids.size() && j < in_b.ids.size();) {
    if (in_a.ids[i] != in_b.ids[j]) {
      in_a.ids[i] < in_b.ids[j] ? ++i : ++j;
      continue;
    }
    const auto& samples_a = in_a.samples[i++];
    const auto& samples_b = in_b.samples[j++];
    values_a.push_back(accuracy_of(samples_a));
    values_b.push_back(accuracy_of(samples_b));
    pair.mcnemar = pair.mcnemar && samples_a.size() == 1 && samples_b.size() == 1;
    pair.only_a += values_a.back() > 0.5 && values_b.back() < 0.5;
    pair.only_b += values_b.back() > 0.5 && values_a.back() < 0.5;
  }
  if (values_a.empty()) {
    return Status(Code::invalid_argument, fmt::format("{} and {} have no item in common", pair.a, pair.b),
                  "compare evaluations of the same set");
  }
  pair.items = static_cast<int64_t>(values_a.size());
  pair.difference = paired_bootstrap(values_b, values_a);
  pair.p = pair.mcnemar ? mcnemar_exact(pair.only_a, pair.only_b) : pair.difference.p;
  return pair;
}

Summary summarize(const Evaluation& evaluation) {
  Summary summary;
  for (size_t i = 0; i < evaluation.plan.strategies.size(); ++i) {
    summary.strategies.push_back(summarize_one(evaluation, static_cast<int64_t>(i)));
    if (i == 0) continue;
    if (Result<PairSummary> pair = compare(evaluation, 0, evaluation, static_cast<int64_t>(i)); pair.ok()) {
      summary.pairs.push_back(std::move(*pair));
    }
  }
  return summary;
}

std::string summary_json(const Evaluation& evaluation, const Summary& summary) {
  Json strategies = Json::array(), pairs = Json::array();
  for (const StrategySummary& one : summary.strategies) {
    Json rounds = Json::array(), pass = Json::array(), vote = Json::array(), groups = Json::array();
    for (const Share& share : one.by_round) rounds.push_back(share_json(share));
    const auto at_json = [](const At& at) {
      Json json = {{"k", at.k}};
      json.update(share_json(at.share));
      return json;
    };
    for (const At& at : one.pass) pass.push_back(at_json(at));
    for (const At& at : one.vote) vote.push_back(at_json(at));
    for (const GroupSummary& group : one.groups) {
      Json json = {{"group", group.group}, {"items", group.items}};
      json.update(share_json(group.accuracy));
      groups.push_back(std::move(json));
    }
    strategies.push_back({{"name", one.name},
                          {"settings", reasoning::settings_json(one.settings)},
                          {"tokens_of", one.tokens_of},
                          {"items", one.items},
                          {"samples", one.samples},
                          {"whole", one.whole},
                          {"accuracy", share_json(one.accuracy)},
                          {"interval", one.wilson ? "wilson" : "bootstrap over items"},
                          {"last_round", share_json(one.last_round)},
                          {"by_round", std::move(rounds)},
                          {"pass_at_k", std::move(pass)},
                          {"vote_at_k", std::move(vote)},
                          {"answered", one.answered},
                          {"closed", one.closed},
                          {"new_tokens", one.new_tokens},
                          {"new_tokens_low", one.new_tokens_interval.low},
                          {"new_tokens_high", one.new_tokens_interval.high},
                          {"all_tokens", one.all_tokens},
                          {"computed_tokens", one.computed_tokens},
                          {"wasted_tokens", one.wasted_tokens},
                          {"seconds", one.seconds},
                          {"tokens_per_second", one.tokens_per_second},
                          {"joules", one.joules >= 0 ? Json(one.joules) : Json()},
                          {"groups", std::move(groups)}});
  }
  for (const PairSummary& pair : summary.pairs) {
    pairs.push_back({{"a", pair.a},
                     {"b", pair.b},
                     {"items", pair.items},
                     {"difference", pair.difference.mean},
                     {"low", pair.difference.interval.low},
                     {"high", pair.difference.interval.high},
                     {"test", pair.mcnemar ? "mcnemar" : "paired bootstrap"},
                     {"only_a", pair.only_a},
                     {"only_b", pair.only_b},
                     {"p", pair.p}});
  }
  const Json json = {
      {"event", "summary"},          {"items", evaluation.plan.items},  {"samples", evaluation.plan.samples},
      {"failed", evaluation.failed}, {"sessions", evaluation.sessions}, {"strategies", std::move(strategies)},
      {"pairs", std::move(pairs)}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace zaya::eval
