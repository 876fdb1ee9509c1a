#include "eval/rollouts.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "base/file.h"
#include "eval/json.h"
#include "eval/many_runs.h"
#include "eval/runner.h"
#include "reasoning/prompts.h"
#include "reasoning/subsets.h"

namespace zaya::eval {
namespace {

using reasoning::Candidate;
using reasoning::Run;

Json side_json(const reasoning::Text& side, int64_t keep, const reasoning::Generator& generator) {
  const size_t length = std::min(side.tokens.size(), static_cast<size_t>(keep));
  const std::vector<text::TokenId> kept(side.tokens.end() - static_cast<std::ptrdiff_t>(length), side.tokens.end());
  Json json = {{"text", length == side.tokens.size() ? side.text : generator.decode(kept)}, {"tokens", side.count}};
  if (side.estimated) json["estimated"] = true;
  if (!kept.empty()) json["ids"] = kept;
  return json;
}

reasoning::Text side_from(const Json& json, const char* key) {
  reasoning::Text side;
  const auto found = json.find(key);
  if (found == json.end() || !found->is_object()) return side;
  side.text = text_at(*found, "text");
  side.count = count_at(*found, "tokens");
  side.estimated = truth_at(*found, "estimated");
  if (const auto ids = found->find("ids"); ids != found->end() && ids->is_array()) {
    for (const Json& id : *ids) {
      if (!id.is_number_integer()) continue;
      const int64_t token = id.get<int64_t>();
      if (token >= 0 && token <= text::kMaxTokenId) side.tokens.push_back(static_cast<text::TokenId>(token));
    }
  }
  return side;
}

Json rollout_json(const Candidate& candidate, bool right, int64_t keep, const reasoning::Generator& generator) {
  const reasoning::Trace& trace = candidate.trace;
  return {{"right", right},
          {"answer", candidate.answer.has_value() ? Json(*candidate.answer) : Json()},
          {"closed", trace.closed},
          {"end", reasoning::name_of(trace.end)},
          {"new_tokens", trace.new_tokens},
          {"reasoning", side_json(trace.reasoning, keep, generator)},
          {"final", side_json(trace.answer, keep, generator)}};
}

reasoning::Trace trace_from(const Json& json) {
  reasoning::Trace trace;
  trace.reasoning = side_from(json, "reasoning");
  trace.answer = side_from(json, "final");
  trace.closed = truth_at(json, "closed");
  trace.new_tokens = count_at(json, "new_tokens");
  const std::string end = text_at(json, "end");
  trace.end = end == reasoning::name_of(reasoning::End::stop)     ? reasoning::End::stop
              : end == reasoning::name_of(reasoning::End::length) ? reasoning::End::length
                                                                  : reasoning::End::failed;
  return trace;
}

// Lines of a file, one after the other, whole ones only.
class Lines {
 public:
  explicit Lines(const std::filesystem::path& path) : file_(path, std::ios::binary), path_(path.string()) {}

  // Nothing at the end. Errors: io_error, malformed.
  Result<Json> next() {
    if (!file_.is_open()) return Status(Code::not_found, "cannot open " + path_);
    std::string line;
    if (!std::getline(file_, line) || file_.eof()) return Json();  // a last line without its end is torn
    ++number_;
    Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) {
      return Status(Code::malformed, fmt::format("{}: line {} is no JSON object", path_, number_));
    }
    return json;
  }

  Status wrong(const std::string& what) const {
    return Status(Code::malformed, fmt::format("{}: line {} {}", path_, number_, what));
  }

 private:
  std::ifstream file_;
  std::string path_;
  int64_t number_ = 0;
};

Result<Plan> plan_from(const Json& line) {
  if (text_at(line, "event") != "rollouts") return Status(Code::malformed, "is not the beginning of a rollouts file");
  const auto plan = line.find("plan");
  if (plan == line.end() || !plan->is_object()) return Status(Code::malformed, "has no plan");
  ZAYA_ASSIGN(Evaluation evaluation, parse_evaluation(text_of(*plan) + "\n"));
  return evaluation.plan;
}

}  // namespace

std::string rollouts_line(const Plan& plan) {
  return text_of({{"event", "rollouts"}, {"version", 1}, {"plan", Json::parse(plan_line(plan), nullptr, false)}});
}

Result<std::vector<std::string>> read_rollouts(const std::filesystem::path& path, Plan& plan) {
  Lines lines(path);
  ZAYA_ASSIGN(const Json first, lines.next());
  if (first.is_null()) return lines.wrong("is missing: the file is empty");
  ZAYA_ASSIGN(plan, plan_from(first));
  std::vector<std::string> ids;
  while (true) {
    ZAYA_ASSIGN(const Json line, lines.next());
    if (line.is_null()) return ids;
    if (text_at(line, "event") == "problem") ids.push_back(text_at(line, "id"));
  }
}

Result<RolloutTotals> write_rollouts(const Plan& plan, const ItemSet& set, const std::vector<std::string>& skip,
                                     reasoning::Generator& generator, reasoning::Journal& file,
                                     const RolloutOptions& options) {
  const std::set<std::string> skipped(skip.begin(), skip.end());
  ZAYA_ASSIGN(const reasoning::Prompts prompts, reasoning::Prompts::parse(plan.prompts, "of the rollouts"));
  RolloutTotals totals;
  size_t next_item = 0;
  const auto next = [&]() -> Result<std::optional<PendingRun>> {
    while (next_item < set.items.size() && skipped.count(set.items[next_item].id) > 0) {
      ++next_item;
      ++totals.skipped;
    }
    if (next_item >= set.items.size()) return std::optional<PendingRun>();
    const Item& item = set.items[next_item];
    reasoning::Settings settings = plan.strategies[0].settings;
    settings.seed = run_seed(plan, item.id, 0);
    settings.answer_kind = !plan.answer_kind.empty() ? plan.answer_kind : name_of(answer_kind_of(item.judge));
    ZAYA_ASSIGN(Run run, Run::create(item.prompt, settings, prompts,
                                     [&](std::span<const text::TokenId> tokens) { return generator.decode(tokens); }));
    return std::optional<PendingRun>(PendingRun{static_cast<int64_t>(next_item++), std::move(run), {}});
  };
  const auto done = [&](FinishedRun finished) -> Status {
    const Item& item = set.items[static_cast<size_t>(finished.tag)];
    if (!finished.failure.empty()) {
      return Status(Code::io_error, fmt::format("{}: {}", item.id, finished.failure), "the same command goes on");
    }
    Json rollouts = Json::array();
    for (const Candidate& candidate : finished.run.rounds()[0]) {
      if (!candidate.usable()) continue;
      const bool right = is_right(item, candidate.trace.answer.text, candidate.answer, options.judge);
      totals.right += right ? 1 : 0;
      ++totals.rollouts;
      totals.new_tokens += candidate.trace.new_tokens;
      rollouts.push_back(rollout_json(candidate, right, options.keep_tokens, generator));
    }
    ++totals.problems;
    Json line = {{"event", "problem"},
                 {"id", item.id},
                 {"group", item.group},
                 {"prompt", item.prompt},
                 {"answer", item.expected}};
    if (item.problem != nullptr) {
      line["environment"] = item.problem->environment;
      line["difficulty"] = item.problem->difficulty;
      line["seed"] = item.problem->seed;
      line["split"] = gym::name_of(item.problem->split);
      line["trace"] = item.problem->trace;
      if (!item.problem->trace.empty()) line["target"] = gym::assistant_text(*item.problem);
    }
    line["rollouts"] = std::move(rollouts);
    return file.append(text_of(line));
  };
  ManyRunsOptions many{.parallel = options.parallel, .stop = options.stop};
  many.on_tick = [&](int64_t) {
    if (options.on_progress) {
      options.on_progress(totals.problems + totals.skipped, static_cast<int64_t>(set.items.size()), totals.rollouts,
                          totals.right);
    }
  };
  ZAYA_ASSIGN(totals.whole, drive(generator, next, done, many));
  return totals;
}

Result<AggregationTotals> make_aggregation(const std::filesystem::path& rollouts, const AggregationOptions& options,
                                           const reasoning::Run::Decode& decode, const PromptTokens& prompt_tokens,
                                           const ExampleSink& sink) {
  Lines lines(rollouts);
  ZAYA_ASSIGN(const Json first, lines.next());
  if (first.is_null()) return lines.wrong("is missing: the file is empty");
  ZAYA_ASSIGN(const Plan plan, plan_from(first));
  const std::string source = options.prompts.empty() ? plan.prompts : options.prompts;
  ZAYA_ASSIGN(const reasoning::Prompts prompts, reasoning::Prompts::parse(source, "of the rollouts"));
  std::vector<int64_t> sizes = options.sizes;
  if (sizes.empty()) sizes = {options.settings.aggregation_size};

  AggregationTotals totals;
  while (options.limit == 0 || totals.examples < options.limit) {
    ZAYA_ASSIGN(const Json line, lines.next());
    if (line.is_null()) break;
    if (text_at(line, "event") != "problem") continue;
    const auto saved = line.find("rollouts");
    const std::string problem = text_at(line, "prompt"), id = text_at(line, "id"), target = text_at(line, "target");
    if (saved == line.end() || !saved->is_array() || problem.empty()) return lines.wrong("is no problem with rollouts");
    ++totals.problems;
    if (target.empty()) {
      ++totals.without_trace;
      continue;
    }
    int64_t count = static_cast<int64_t>(saved->size());
    if (options.settings.population > 0) count = std::min(count, options.settings.population);
    bool enough = true;
    for (int64_t example = 0; example < options.per_problem; ++example) {
      const int64_t size = sizes[static_cast<size_t>(totals.problems - 1 + example) % sizes.size()];
      if (size > count) {
        enough = false;
        continue;
      }
      // A run whose round 0 is the saved rollouts; its round 1 says what a candidate would be asked.
      reasoning::Settings settings = options.settings;
      settings.method = reasoning::Method::markovian_rsa;
      settings.population = count;
      settings.aggregation_size = size;
      settings.rounds = 1;
      settings.early_stop = false;
      settings.thinking_budget = std::max(settings.thinking_budget, settings.tail_length);
      // Draws of one problem differ by the candidate; a run has `count` of them.
      const int64_t draw = example / count;
      settings.seed = run_seed({.seed = options.settings.seed}, id, draw);
      ZAYA_ASSIGN(Run run, Run::create(problem, settings, prompts, decode));
      run.start(count);
      for (int64_t i = 0; i < count; ++i) {
        reasoning::Trace trace = trace_from((*saved)[static_cast<size_t>(i)]);
        const auto short_of = [&](const reasoning::Text& side) {
          const auto kept = static_cast<int64_t>(side.tokens.size());
          return kept > 0 && kept < side.count && kept < settings.tail_length;
        };
        if (short_of(trace.reasoning) || short_of(trace.answer)) {
          return Status(
              Code::out_of_range,
              fmt::format("{}: tails of {} tokens are asked for, and the file kept fewer", id, settings.tail_length),
              "make the rollouts with a larger --keep-tokens");
        }
        run.complete(i, std::move(trace));
      }
      std::vector<reasoning::Job> jobs = run.start(count);
      const int64_t wanted = count + example % count;  // ids of round 1 follow those of round 0
      const auto job = std::find_if(jobs.begin(), jobs.end(), [&](const auto& one) { return one.id == wanted; });
      if (job == jobs.end()) continue;
      Json right = Json::array();
      int64_t right_count = 0;
      for (int64_t parent : run.candidate(wanted).parents) {
        const bool is_right = truth_at((*saved)[static_cast<size_t>(parent)], "right");
        right.push_back(is_right);
        right_count += is_right ? 1 : 0;
      }
      if (right_count < options.min_right || right_count > options.max_right) {
        ++totals.filtered;
        continue;
      }
      Json out = {{"messages", Json::array({Json{{"role", "user"}, {"content", job->prompt.text()}},
                                            Json{{"role", "assistant"}, {"content", target}}})},
                  {"loss", "last assistant"},
                  {"id", fmt::format("{}/{}", id, example)},
                  {"C", size},
                  {"tau", settings.tail_length},
                  {"right", std::move(right)}};
      if (prompt_tokens) {
        ZAYA_ASSIGN(out["prompt_tokens"], prompt_tokens(job->prompt));
      }
      ZAYA_RETURN_IF_ERROR(sink(text_of(out)));
      ++totals.examples;
      totals.longest_prompt =
          std::max(totals.longest_prompt,
                   static_cast<int64_t>(out["messages"][0]["content"].get_ref<const std::string&>().size()));
      if (totals.by_right.size() <= static_cast<size_t>(right_count))
        totals.by_right.resize(static_cast<size_t>(right_count) + 1);
      ++totals.by_right[static_cast<size_t>(right_count)];
      if (options.limit > 0 && totals.examples >= options.limit) break;
    }
    totals.too_few += enough ? 0 : 1;
  }
  return totals;
}

}  // namespace zaya::eval
