#include "apps/zaya/eval_tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "apps/zaya/common.h"
#include "apps/zaya/verbs.h"
#include "base/file.h"
#include "eval/report.h"
#include "eval/rollouts.h"
#include "reasoning/local_generator.h"
#include "reasoning/prompts.h"
#include "reasoning/settings_json.h"
#include "text/chat_template.h"

namespace zaya::app {
namespace {

using eval::Evaluation;
using eval::Strategy;
using reasoning::Settings;
using text::Json;

// Settings with some fields replaced; keys that no setting has are refused, for they are mistakes.
Result<Settings> settings_over(const Settings& base, const Json& fields) {
  Json json = reasoning::settings_json(base);
  for (const auto& [key, value] : fields.items()) {
    if (!json.contains(key)) {
      return Status(Code::invalid_argument, fmt::format("there is no setting \"{}\"", key),
                    "N, C, T, beta, tau, final_budget, temperature, tail_content, carry, choice, …");
    }
    json[key] = value;
  }
  return reasoning::settings_from_json(json);
}

// An evaluation's directory, or its journal.
Result<Evaluation> open_evaluation(const std::string& name) {
  std::error_code error;
  const bool directory = std::filesystem::is_directory(name, error);
  return eval::read_evaluation(directory ? std::filesystem::path(name) / "journal.jsonl" : std::filesystem::path(name));
}

struct CompareOptions {
  std::string a, b, strategy_a, strategy_b;
  bool json = false;
};

Result<int64_t> strategy_of(const Evaluation& evaluation, const std::string& name) {
  std::string names;
  for (size_t i = 0; i < evaluation.plan.strategies.size(); ++i) {
    if (evaluation.plan.strategies[i].name == name) return static_cast<int64_t>(i);
    names += (names.empty() ? "" : ", ") + evaluation.plan.strategies[i].name;
  }
  return Status(Code::invalid_argument, fmt::format("there is no strategy \"{}\"", name), "there are " + names);
}

Result<std::vector<eval::PairSummary>> compare_all(const CompareOptions& options) {
  ZAYA_ASSIGN(const Evaluation a, open_evaluation(options.a));
  ZAYA_ASSIGN(const Evaluation b, open_evaluation(options.b.empty() ? options.a : options.b));
  std::vector<std::pair<int64_t, int64_t>> chosen;
  if (!options.strategy_a.empty() || !options.strategy_b.empty()) {
    const std::string& in_a = options.strategy_a.empty() ? options.strategy_b : options.strategy_a;
    const std::string& in_b = options.strategy_b.empty() ? options.strategy_a : options.strategy_b;
    ZAYA_ASSIGN(const int64_t first, strategy_of(a, in_a));
    ZAYA_ASSIGN(const int64_t second, strategy_of(b, in_b));
    chosen.emplace_back(first, second);
  } else if (a.plan.strategies.size() == 1 && b.plan.strategies.size() == 1) {
    chosen.emplace_back(0, 0);
  } else {
    for (size_t i = 0; i < a.plan.strategies.size(); ++i) {
      const Result<int64_t> same = strategy_of(b, a.plan.strategies[i].name);
      if (same.ok()) chosen.emplace_back(static_cast<int64_t>(i), *same);
    }
  }
  if (chosen.empty() || (options.b.empty() && options.strategy_b.empty())) {
    return Status(Code::invalid_argument, "which strategies are to be compared?", "name them by --a and --b");
  }
  std::vector<eval::PairSummary> pairs;
  for (const auto& [first, second] : chosen) {
    ZAYA_ASSIGN(eval::PairSummary pair, eval::compare(a, first, b, second));
    if (!options.b.empty()) {
      pair.a = fmt::format("{} of {}", pair.a, options.a);
      pair.b = fmt::format("{} of {}", pair.b, options.b);
    }
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

int compare(const CompareOptions& options) {
  const Result<std::vector<eval::PairSummary>> pairs = compare_all(options);
  if (!pairs.ok()) return fail(pairs.status());
  if (!options.json) {
    fmt::print("{}", eval::pair_table(*pairs));
    return kFine;
  }
  for (const eval::PairSummary& pair : *pairs) {
    fmt::print("{}\n", json_text({{"a", pair.a},
                                  {"b", pair.b},
                                  {"items", pair.items},
                                  {"difference", pair.difference.mean},
                                  {"low", pair.difference.interval.low},
                                  {"high", pair.difference.interval.high},
                                  {"test", pair.mcnemar ? "mcnemar" : "paired bootstrap"},
                                  {"only_a", pair.only_a},
                                  {"only_b", pair.only_b},
                                  {"p", pair.p}}));
  }
  return kFine;
}

int report(const std::string& directory) {
  const Result<Evaluation> evaluation = open_evaluation(directory);
  if (!evaluation.ok()) return fail(evaluation.status());
  if (Status status = eval::write_report(*evaluation, directory); !status.ok()) return fail(status);
  fmt::print("{}", eval::strategy_table(*evaluation, eval::summarize(*evaluation)));
  return kFine;
}

struct AggregationArguments {
  std::string rollouts, out, model, tail = "reasoning", order = "shared", prompts;
  eval::AggregationOptions options;
  bool prompt_tokens = false, json = false;
};

Result<eval::AggregationTotals> write_examples(AggregationArguments arguments) {
  eval::AggregationOptions& options = arguments.options;
  ZAYA_RETURN_IF_ERROR(parse_name(arguments.tail, options.settings.tail_content));
  ZAYA_RETURN_IF_ERROR(parse_name(arguments.order, options.settings.tail_order));
  if (!arguments.prompts.empty()) {
    ZAYA_ASSIGN(const reasoning::Prompts prompts, reasoning::Prompts::named(arguments.prompts));
    options.prompts = prompts.source();
  }
  eval::Plan plan;
  ZAYA_RETURN_IF_ERROR(eval::read_rollouts(arguments.rollouts, plan).status());
  const std::filesystem::path model = arguments.model.empty() ? plan.model : arguments.model;
  std::optional<text::Tokenizer> tokenizer;
  std::optional<text::ChatTemplate> chat_template;
  if (!model.empty()) {
    ZAYA_ASSIGN(tokenizer, text::Tokenizer::load(model / "tokenizer.json"));
  }
  eval::PromptTokens prompt_tokens;
  if (arguments.prompt_tokens) {
    if (!tokenizer.has_value()) {
      return Status(Code::invalid_argument, "token ids need a tokenizer", "name the model's directory by --model");
    }
    ZAYA_ASSIGN(chat_template, text::ChatTemplate::load(model));
    prompt_tokens = [&](const reasoning::Prompt& prompt) {
      bool inside = false;
      return reasoning::prompt_tokens(prompt, *tokenizer, *chat_template, engine::Thinking(), inside);
    };
  }
  const std::string part = arguments.out + ".part";
  std::ofstream out(part, std::ios::binary | std::ios::trunc);
  const auto broken = [&] { return Status(Code::io_error, "cannot write " + part); };
  if (!out) return broken();
  const auto decode = [&](std::span<const text::TokenId> tokens) {
    // Files made on servers hold text without ids, and nothing is decoded.
    return tokenizer.has_value() ? tokenizer->decode(tokens, /*skip_special=*/true) : std::string();
  };
  ZAYA_ASSIGN(eval::AggregationTotals totals,
              eval::make_aggregation(arguments.rollouts, options, decode, prompt_tokens, [&](const std::string& line) {
                out << line << '\n';
                return out ? Status() : broken();
              }));
  out.close();
  std::error_code error;
  std::filesystem::rename(part, arguments.out, error);
  if (!out || error) return broken();
  return totals;
}

int make_aggregation(const AggregationArguments& arguments) {
  const Result<eval::AggregationTotals> totals = write_examples(arguments);
  if (!totals.ok()) return fail(totals.status());
  if (arguments.json) {
    fmt::print("{}\n", json_text({{"problems", totals->problems},
                                  {"examples", totals->examples},
                                  {"without_trace", totals->without_trace},
                                  {"too_few", totals->too_few},
                                  {"filtered", totals->filtered},
                                  {"by_right", totals->by_right},
                                  {"longest_prompt", totals->longest_prompt}}));
    return kFine;
  }
  fmt::print("{} examples of {} problems; longest prompt {} characters\n", totals->examples, totals->problems,
             totals->longest_prompt);
  for (size_t right = 0; right < totals->by_right.size(); ++right) {
    fmt::print("  {} right rollouts shown: {}\n", right, totals->by_right[right]);
  }
  const auto say = [](int64_t count, const char* what) {
    if (count > 0) fmt::print("  {} {}\n", count, what);
  };
  say(totals->without_trace, "problems have no teacher's trace and were left out");
  say(totals->too_few, "problems have fewer rollouts than C");
  say(totals->filtered, "draws were refused by --min-right or --max-right");
  return kFine;
}

class Tools : public EvalTools {
 public:
  explicit Tools(CLI::App& verb) {
    compare_ = verb.add_subcommand("compare", "Compare two evaluations, or two strategies of one, item by item");
    compare_->footer("Example: zaya eval compare runs/before runs/after");
    compare_->add_option("A", compared_.a, "An evaluation's directory")->required();
    compare_->add_option("B", compared_.b, "Another one (default: the same)");
    compare_->add_option("--a", compared_.strategy_a, "Strategy of A (default: those that both have)");
    compare_->add_option("--b", compared_.strategy_b, "Strategy of B");
    compare_->add_flag("--json", compared_.json, "Print one JSON object per pair");

    report_ = verb.add_subcommand("report", "Write report.md and the plots of an evaluation anew");
    report_->footer("Example: zaya eval report runs/gym");
    report_->add_option("DIRECTORY", reported_, "The evaluation")->required();

    aggregation_ = verb.add_subcommand(
        "make-aggregation",
        "Make training examples of aggregation from rollouts: C tails as a run would show them, and "
        "the teacher's solution");
    aggregation_->footer("Example: zaya eval make-aggregation rollouts.jsonl aggregation.jsonl -C 2,3,4 --tau 128");
    eval::AggregationOptions& options = aggregated_.options;
    options.settings.population = 0;
    options.settings.tail_length = 128;
    aggregation_->add_option("ROLLOUTS", aggregated_.rollouts, "A file of zaya eval --rollouts")->required();
    aggregation_->add_option("OUT", aggregated_.out, "The examples, JSON lines")->required();
    aggregation_->add_option("-C,--aggregate", options.sizes, "Tails that an example shows; several are taken in turn")
        ->delimiter(',')
        ->required()
        ->check(CLI::Range(1, 1024));
    aggregation_->add_option("--tau", options.settings.tail_length, "τ: tokens of a tail (default: 128)")
        ->check(CLI::Range(1, 1 << 24));
    aggregation_->add_option("--tail", aggregated_.tail, "What a tail holds: reasoning, with-answer, hybrid, answer");
    aggregation_->add_option("--order", aggregated_.order, "Tails in a prompt: shared or drawn, as zaya solve --order");
    aggregation_->add_option("--prompts", aggregated_.prompts,
                             "boxed, plain, or a template file (default: what the rollouts were made with)");
    aggregation_->add_option("--per-problem", options.per_problem, "Examples of each problem (default: 1)")
        ->check(CLI::Range(1, 100000));
    aggregation_->add_option("-N,--population", options.settings.population, "Rollouts to draw from (default: all)");
    aggregation_->add_option("--min-right", options.min_right, "Right rollouts that an example shows, at least");
    aggregation_->add_option("--max-right", options.max_right, "… and at most");
    aggregation_->add_option("--limit", options.limit, "Examples at most")->check(CLI::NonNegativeNumber);
    aggregation_->add_option("--seed", options.settings.seed, "Of the draws (default: 0)");
    aggregation_->add_option("--model", aggregated_.model,
                             "Whose tokenizer made the ids (default: the model of the rollouts)");
    aggregation_->add_flag("--prompt-tokens", aggregated_.prompt_tokens,
                           "Add the prompt's token ids, with the chat template, as the engine would get them");
    aggregation_->add_flag("--json", aggregated_.json, "Print the counts as JSON");
  }

  std::optional<int> run() const override {
    if (compare_->parsed()) return compare(compared_);
    if (report_->parsed()) return report(reported_);
    if (aggregation_->parsed()) return make_aggregation(aggregated_);
    return std::nullopt;
  }

 private:
  CLI::App *compare_, *report_, *aggregation_;
  CompareOptions compared_;
  std::string reported_;
  AggregationArguments aggregated_;
};

}  // namespace

Result<std::vector<Strategy>> parse_strategies(const std::vector<std::string>& specs, const Settings& base) {
  std::vector<Strategy> strategies;
  for (const std::string& spec : specs) {
    const size_t colon = std::min(spec.find(':'), spec.size());
    std::string method = spec.substr(0, colon);
    Strategy strategy{.name = spec};
    if (const size_t equals = method.find('='); equals != std::string::npos) {
      strategy.name = method.substr(0, equals);
      method = method.substr(equals + 1);
    }
    Json fields = {{"method", method}};
    std::string_view rest = std::string_view(spec).substr(std::min(colon + 1, spec.size()));
    while (!rest.empty()) {
      const std::string_view part = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(part.size() + 1, rest.size()));
      const size_t equals = part.find('=');
      if (equals == std::string_view::npos) {
        return Status(Code::invalid_argument, fmt::format("strategy {}: \"{}\" has no value", spec, part),
                      "[NAME=]METHOD[:N=8,C=2,…]");
      }
      const std::string key(part.substr(0, equals)), value(part.substr(equals + 1));
      if (key == "tokens_of") {
        strategy.tokens_of = value;
        continue;
      }
      // Numbers and truth values are JSON as they stand; everything else is a name.
      Json parsed = Json::parse(value, nullptr, false);
      fields[key] = parsed.is_number() || parsed.is_boolean() ? parsed : Json(value);
    }
    Result<Settings> settings = settings_over(base, fields);
    if (!settings.ok()) {
      return Status(Code::invalid_argument, fmt::format("strategy {}: {}", spec, settings.status().message()),
                    settings.status().hint());
    }
    strategy.settings = *settings;
    strategies.push_back(std::move(strategy));
  }
  return strategies;
}

Result<std::vector<Strategy>> read_strategies(std::string_view content, const Settings& base) {
  const Json json = Json::parse(content, nullptr, false);
  const auto list = json.is_object() ? json.find("strategies") : json.end();
  if (!json.is_object() || list == json.end() || !list->is_array()) {
    return Status(Code::malformed, "the plan is no JSON object with a list of strategies");
  }
  std::vector<Strategy> strategies;
  for (const Json& one : *list) {
    const auto text_at = [&](const char* key) {
      const auto found = one.is_object() ? one.find(key) : one.end();
      return one.is_object() && found != one.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    Strategy strategy{.name = text_at("name"), .tokens_of = text_at("tokens_of")};
    if (strategy.name.empty()) return Status(Code::malformed, "the plan has a strategy without a name");
    ZAYA_ASSIGN(strategy.settings, settings_over(base, one.value("settings", Json::object())));
    strategies.push_back(std::move(strategy));
  }
  return strategies;
}

Status check_strategies(std::vector<Strategy>& strategies, bool equal_tokens) {
  std::set<std::string> names;
  for (const Strategy& strategy : strategies) {
    if (!names.insert(strategy.name).second) {
      return Status(Code::invalid_argument, fmt::format("two strategies have the name \"{}\"", strategy.name),
                    "name them: NAME=METHOD:…");
    }
  }
  if (equal_tokens) {
    const auto find = [&](auto&& is) { return std::find_if(strategies.begin(), strategies.end(), is); };
    auto reference = find([](const Strategy& s) { return s.settings.method == reasoning::Method::markovian_rsa; });
    if (reference == strategies.end()) reference = find([](const Strategy& s) { return s.settings.rounds > 0; });
    if (reference == strategies.end()) {
      return Status(Code::invalid_argument, "there is no strategy whose tokens could be matched",
                    "with --equal-tokens, name one with rounds, such as markovian-rsa");
    }
    const std::string name = reference->name;
    for (Strategy& strategy : strategies) {
      const bool vote = strategy.settings.method == reasoning::Method::vote;
      if (vote && strategy.tokens_of.empty()) strategy.tokens_of = name;
    }
  }
  for (const Strategy& strategy : strategies) {
    if (strategy.tokens_of.empty()) continue;
    if (names.count(strategy.tokens_of) == 0 || strategy.tokens_of == strategy.name) {
      return Status(Code::invalid_argument,
                    fmt::format("{} is to spend the tokens of \"{}\", which is no other strategy", strategy.name,
                                strategy.tokens_of));
    }
    for (const Strategy& other : strategies) {
      if (other.name == strategy.tokens_of && !other.tokens_of.empty()) {
        return Status(Code::invalid_argument,
                      fmt::format("{} and {} wait for each other's tokens", strategy.name, other.name));
      }
    }
  }
  return Status();
}

std::shared_ptr<EvalTools> add_eval_tools(CLI::App& verb) { return std::make_shared<Tools>(verb); }

}  // namespace zaya::app
