#include "eval/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "base/file.h"
#include "eval/json.h"
#include "reasoning/settings_json.h"
#include "reasoning/subsets.h"

namespace zaya::eval {
namespace {

constexpr int64_t kMany = int64_t{1} << 40;
constexpr size_t kMostStrategies = 1000;

double rounded(double seconds) { return std::round(seconds * 1000) / 1000; }

double number_at(const Json& json, const char* key, double fallback) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number() ? found->get<double>() : fallback;
}

uint64_t seed_at(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

const Json& member(const Json& json, const char* key) {
  static const Json kNothing;
  const auto found = json.find(key);
  return found != json.end() ? *found : kNothing;
}

// A verdict as a number: bits for right, answered and closed; its tokens beside it.
Json rounds_json(const std::vector<std::vector<Verdict>>& rounds) {
  Json all = Json::array();
  for (const auto& round : rounds) {
    Json one = {
        {"right", Json::array()}, {"answered", Json::array()}, {"closed", Json::array()}, {"tokens", Json::array()}};
    for (const Verdict& verdict : round) {
      one["right"].push_back(verdict.right ? 1 : 0);
      one["answered"].push_back(verdict.answered ? 1 : 0);
      one["closed"].push_back(verdict.closed ? 1 : 0);
      one["tokens"].push_back(verdict.new_tokens);
    }
    all.push_back(std::move(one));
  }
  return all;
}

std::vector<std::vector<Verdict>> rounds_from(const Json& json) {
  std::vector<std::vector<Verdict>> rounds;
  if (!json.is_array()) return rounds;
  for (const Json& one : json) {
    if (!one.is_object()) continue;
    const Json& right = member(one, "right");
    std::vector<Verdict> round(right.is_array() ? right.size() : 0);
    for (size_t i = 0; i < round.size(); ++i) {
      const auto at = [&](const char* key) {
        const Json& list = member(one, key);
        if (!list.is_array() || i >= list.size() || !list[i].is_number_integer()) return int64_t{0};
        return std::clamp<int64_t>(list[i].get<int64_t>(), 0, kMany);
      };
      round[i] = {at("right") != 0, at("answered") != 0, at("closed") != 0, at("tokens")};
    }
    rounds.push_back(std::move(round));
  }
  return rounds;
}

Json set_json(const SetChoice& set) {
  return {{"sources", set.sources},           {"difficulties", set.gym.difficulties},
          {"count", set.gym.count},           {"split", gym::name_of(set.gym.split)},
          {"first_seed", set.gym.first_seed}, {"limit", set.limit}};
}

Status read_set(const Json& json, SetChoice& set) {
  if (!json.is_object()) return Status(Code::malformed, "does not say where its items come from");
  for (const Json& source : member(json, "sources")) {
    if (source.is_string()) set.sources.push_back(source.get<std::string>());
  }
  for (const Json& difficulty : member(json, "difficulties")) {
    if (difficulty.is_number_integer()) {
      set.gym.difficulties.push_back(static_cast<int>(std::clamp<int64_t>(difficulty.get<int64_t>(), 0, 1000)));
    }
  }
  set.gym.count = count_at(json, "count");
  set.gym.first_seed = seed_at(json, "first_seed");
  set.limit = count_at(json, "limit");
  const auto split = gym::parse_split(text_at(json, "split"));
  if (!split.has_value()) return Status(Code::malformed, "names no split of the gym");
  set.gym.split = *split;
  return Status();
}

Status read_plan(const Json& json, Plan& plan) {
  if (text_at(json, "event") != "eval") return Status(Code::malformed, "is not the beginning of an evaluation");
  if (count_at(json, "version") != 1) {
    return Status(Code::unsupported, "is of another version of evaluations", "this program writes and reads version 1");
  }
  ZAYA_RETURN_IF_ERROR(read_set(member(json, "set"), plan.set));
  plan.digest = text_at(json, "digest");
  plan.items = count_at(json, "items");
  plan.samples = std::max<int64_t>(1, count_at(json, "samples"));
  plan.seed = seed_at(json, "seed");
  plan.prompts = text_at(json, "prompts");
  plan.answer_kind = text_at(json, "answer_kind");
  plan.model = text_at(json, "model");
  plan.generator = text_of(member(json, "generator"));
  plan.created = text_at(json, "created");
  plan.deterministic = truth_at(json, "deterministic");
  plan.traces = truth_at(json, "traces");
  const Json& strategies = member(json, "strategies");
  if (!strategies.is_array() || strategies.empty() || strategies.size() > kMostStrategies) {
    return Status(Code::malformed, "names no strategies");
  }
  for (const Json& one : strategies) {
    if (!one.is_object() || !member(one, "settings").is_object()) {
      return Status(Code::malformed, "has a strategy without settings");
    }
    Strategy strategy{.name = text_at(one, "name"), .tokens_of = text_at(one, "tokens_of")};
    ZAYA_ASSIGN(strategy.settings, reasoning::settings_from_json(member(one, "settings")));
    plan.strategies.push_back(std::move(strategy));
  }
  return Status();
}

int64_t strategy_named(const Plan& plan, const std::string& name) {
  for (size_t i = 0; i < plan.strategies.size(); ++i) {
    if (plan.strategies[i].name == name) return static_cast<int64_t>(i);
  }
  return -1;
}

Status read_sample(const Json& json, const Plan& plan, Sample& sample) {
  sample.strategy = strategy_named(plan, text_at(json, "strategy"));
  if (sample.strategy < 0) return Status(Code::malformed, "names a strategy that the plan does not have");
  sample.number = count_at(json, "sample");
  if (sample.number >= plan.samples) return Status(Code::malformed, "has more samples than the plan");
  sample.item = text_at(json, "item");
  sample.group = text_at(json, "group");
  sample.right = truth_at(json, "right");
  sample.finished = truth_at(json, "finished");
  sample.answer = text_at(json, "answer");
  sample.why = text_at(json, "why");
  sample.new_tokens = count_at(json, "new_tokens");
  sample.wasted_tokens = count_at(json, "wasted_tokens");
  sample.prompt_tokens = count_at(json, "prompt_tokens");
  sample.cached_prompt_tokens = count_at(json, "cached_prompt_tokens");
  sample.seconds = number_at(json, "seconds", 0);
  sample.at = number_at(json, "at", 0);
  sample.joules = number_at(json, "joules", -1);
  sample.rounds = rounds_from(member(json, "rounds"));
  return Status();
}

class Reader {
 public:
  Status take(const Json& json, bool first) {
    if (first) return read_plan(json, evaluation_.plan);
    const std::string event = text_at(json, "event");
    if (event == "sample" || event == "failed") {
      Sample sample;
      ZAYA_RETURN_IF_ERROR(read_sample(json, evaluation_.plan, sample));
      sample.session = evaluation_.sessions;
      const auto key = std::tuple(sample.strategy, sample.item, sample.number);
      if (event == "failed") {
        failed_.insert(key);
        if (evaluation_.first_failure.empty()) evaluation_.first_failure = text_at(json, "why");
      } else if (done_.insert(key).second) {
        evaluation_.samples.push_back(std::move(sample));
      }
    } else if (event == "matched") {
      const int64_t at = strategy_named(evaluation_.plan, text_at(json, "strategy"));
      if (at < 0) return Status(Code::malformed, "names a strategy that the plan does not have");
      Strategy& strategy = evaluation_.plan.strategies[static_cast<size_t>(at)];
      strategy.settings.population = count_at(json, "population");
      strategy.matched = true;
      ZAYA_RETURN_IF_ERROR(strategy.settings.validate());
    } else if (event == "resume") {
      ++evaluation_.sessions;
    }
    return Status();
  }

  Evaluation finish() {
    for (const auto& key : failed_) evaluation_.failed += done_.count(key) == 0;
    if (evaluation_.failed == 0) evaluation_.first_failure.clear();
    return std::move(evaluation_);
  }

 private:
  Evaluation evaluation_;
  std::set<std::tuple<int64_t, std::string, int64_t>> done_, failed_;
};

}  // namespace

Result<ItemSet> load_set(const SetChoice& choice) {
  ItemSet set;
  if (choice.sources.empty())
    return Status(Code::invalid_argument, "no set of problems is named", "--set gym, or a file");
  for (const std::string& source : choice.sources) {
    if (source == "gym" || source.starts_with("gym:")) {
      GymChoice gym = choice.gym;
      gym.environments.clear();
      std::string_view names = std::string_view(source).substr(std::min<size_t>(source.size(), 4));
      while (!names.empty()) {
        const size_t end = std::min(names.find(','), names.size());
        if (end > 0) gym.environments.emplace_back(names.substr(0, end));
        names.remove_prefix(std::min(end + 1, names.size()));
      }
      ZAYA_ASSIGN(ItemSet items, gym_items(gym));
      append_items(set, std::move(items));
    } else {
      ZAYA_ASSIGN(ItemSet items, read_items(source, choice.limit));
      append_items(set, std::move(items));
    }
  }
  return set;
}

std::string plan_line(const Plan& plan) {
  Json strategies = Json::array();
  for (const Strategy& strategy : plan.strategies) {
    Json one = {{"name", strategy.name}, {"settings", reasoning::settings_json(strategy.settings)}};
    if (!strategy.tokens_of.empty()) one["tokens_of"] = strategy.tokens_of;
    strategies.push_back(std::move(one));
  }
  Json generator = Json::parse(plan.generator, nullptr, false);
  return text_of({{"event", "eval"},
                  {"version", 1},
                  {"created", plan.created},
                  {"model", plan.model},
                  {"generator", generator.is_discarded() ? Json() : std::move(generator)},
                  {"set", set_json(plan.set)},
                  {"items", plan.items},
                  {"digest", plan.digest},
                  {"samples", plan.samples},
                  {"seed", plan.seed},
                  {"answer_kind", plan.answer_kind},
                  {"deterministic", plan.deterministic},
                  {"traces", plan.traces},
                  {"strategies", std::move(strategies)},
                  {"prompts", plan.prompts}});
}

std::string sample_line(const Plan& plan, const Sample& sample) {
  Json json = {{"event", "sample"},
               {"strategy", plan.strategies[static_cast<size_t>(sample.strategy)].name},
               {"item", sample.item},
               {"group", sample.group},
               {"sample", sample.number},
               {"right", sample.right},
               {"finished", sample.finished},
               {"answer", sample.answer},
               {"new_tokens", sample.new_tokens},
               {"prompt_tokens", sample.prompt_tokens},
               {"cached_prompt_tokens", sample.cached_prompt_tokens},
               {"wasted_tokens", sample.wasted_tokens},
               {"seconds", rounded(sample.seconds)},
               {"at", rounded(sample.at)},
               {"rounds", rounds_json(sample.rounds)}};
  if (sample.joules >= 0) json["joules"] = rounded(sample.joules);
  if (!sample.why.empty()) json["why"] = sample.why;
  return text_of(json);
}

std::string failed_line(const Plan& plan, const Sample& sample, const std::string& why) {
  return text_of({{"event", "failed"},
                  {"strategy", plan.strategies[static_cast<size_t>(sample.strategy)].name},
                  {"item", sample.item},
                  {"sample", sample.number},
                  {"why", why}});
}

std::string matched_line(const Strategy& strategy, double reference_tokens, double rollout_tokens) {
  return text_of({{"event", "matched"},
                  {"strategy", strategy.name},
                  {"tokens_of", strategy.tokens_of},
                  {"population", strategy.settings.population},
                  {"reference_tokens", rounded(reference_tokens)},
                  {"rollout_tokens", rounded(rollout_tokens)}});
}

std::string session_line() { return text_of({{"event", "resume"}}); }

Result<Evaluation> parse_evaluation(std::string_view content) {
  const size_t last = content.rfind('\n');
  content = content.substr(0, last == std::string_view::npos ? 0 : last + 1);
  if (content.empty()) return Status(Code::malformed, "the evaluation has no whole line");
  Reader reader;
  for (int64_t number = 1; !content.empty(); ++number) {
    const size_t end = content.find('\n');
    const Json json = Json::parse(content.substr(0, end), nullptr, false);
    content.remove_prefix(end + 1);
    if (!json.is_object()) return Status(Code::malformed, fmt::format("line {} is no JSON object", number));
    if (Status status = reader.take(json, number == 1); !status.ok()) {
      return status.with_context(fmt::format("line {}", number));
    }
  }
  return reader.finish();
}

Result<Evaluation> read_evaluation(const std::filesystem::path& path) {
  ZAYA_ASSIGN(const std::string content, read_file(path, size_t{4} << 30));
  Result<Evaluation> evaluation = parse_evaluation(content);
  if (evaluation.ok()) return evaluation;
  return evaluation.status().with_context(path.string());
}

uint64_t run_seed(const Plan& plan, const std::string& item, int64_t number) {
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : item) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return reasoning::mix(plan.seed, hash, static_cast<uint64_t>(number)) >> 11;  // exact as a double, for JSON readers
}

}  // namespace zaya::eval
