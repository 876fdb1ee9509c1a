// zaya eval: sets of problems, strategies at a price, intervals; rollouts and aggregation examples for training.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "apps/zaya/common.h"
#include "apps/zaya/eval_tools.h"
#include "apps/zaya/progress.h"
#include "apps/zaya/solve_settings.h"
#include "apps/zaya/solve_tools.h"
#include "apps/zaya/token_source.h"
#include "apps/zaya/verbs.h"
#include "base/file.h"
#include "eval/report.h"
#include "eval/rollouts.h"
#include "eval/runner.h"
#include "reasoning/prompts.h"

namespace zaya::app {
namespace {

using eval::Evaluation;
using eval::ItemSet;
using eval::Plan;
using eval::Strategy;
using reasoning::Journal;
using reasoning::Settings;

struct Options {
  ModelOptions model;
  RemoteOptions remote;
  SettingsOptions settings;
  eval::SetChoice set;
  eval::JudgeOptions judge;
  std::string difficulties = "0-2", split = "held_out", out, resume, rollouts, plan_file;
  std::vector<std::string> strategies;
  int64_t samples = 1, keep_tokens = 4096, memory_megabytes = 1024;
  bool equal_tokens = false, early_stop = false, traces = false, deterministic = false, json = false;
};

constexpr const char* kJournal = "journal.jsonl";

// "0-3,5": numbers and ranges.
Result<std::vector<int>> parse_numbers(std::string_view text) {
  std::vector<int> numbers;
  const auto wrong = [&] {
    return Status(Code::invalid_argument, fmt::format("\"{}\" is no list of difficulties", text), "such as 0-3,5");
  };
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    int from = 0, to = 0;
    auto read = std::from_chars(part.data(), part.data() + part.size(), from);
    if (read.ec != std::errc() || from < 0) return wrong();
    to = from;
    if (read.ptr != part.data() + part.size()) {
      if (*read.ptr != '-') return wrong();
      read = std::from_chars(read.ptr + 1, part.data() + part.size(), to);
      if (read.ec != std::errc() || read.ptr != part.data() + part.size() || to < from || to > 1000) return wrong();
    }
    for (int number = from; number <= to; ++number) numbers.push_back(number);
  }
  if (numbers.empty()) return wrong();
  return numbers;
}

Result<ItemSet> load_set(Options& options) {
  ZAYA_ASSIGN(options.set.gym.difficulties, parse_numbers(options.difficulties));
  std::replace(options.split.begin(), options.split.end(), '-', '_');
  const auto split = gym::parse_split(options.split);
  if (!split.has_value()) {
    return Status(Code::invalid_argument, fmt::format("there is no split \"{}\"", options.split), "train or held_out");
  }
  options.set.gym.split = *split;
  if (options.set.sources.empty()) options.set.sources = {"gym"};
  for (std::string& source : options.set.sources) {
    // Resuming may happen elsewhere.
    if (source != "gym" && !source.starts_with("gym:")) source = std::filesystem::absolute(source).lexically_normal();
  }
  return eval::load_set(options.set);
}

void say_notes(const ItemSet& set, bool json) {
  for (const std::string& note : set.notes) fmt::print(stderr, "zaya: {}\n", note);
  if (!json && is_terminal(STDERR_FILENO)) fmt::print(stderr, "{} problems\n", set.items.size());
}

// The plan that all options ask for. `context`: of the model, 0 = not known.
Result<Plan> make_plan(const Options& options, const CLI::App& verb, const ItemSet& set, int64_t context) {
  Plan plan{.set = options.set, .digest = set.digest(), .items = static_cast<int64_t>(set.items.size())};
  plan.samples = options.samples;
  plan.created = utc_text("%Y-%m-%dT%H:%M:%SZ");
  plan.deterministic = options.deterministic;
  plan.traces = options.traces;
  plan.answer_kind = options.settings.answer_kind;
  std::string prompts_name;
  ZAYA_ASSIGN(Settings base, options.settings.settings(verb, context, prompts_name));
  plan.seed = base.seed;
  base.seed = 0;
  base.early_stop = options.early_stop;
  // Problems of the gym and of code say themselves what form the answer has.
  const bool complete = std::all_of(set.items.begin(), set.items.end(), [](const eval::Item& item) {
    return item.judge == eval::Judge::gym || item.judge == eval::Judge::code;
  });
  if (options.settings.prompts.empty() && complete) prompts_name = "plain";
  ZAYA_ASSIGN(const reasoning::Prompts prompts, reasoning::Prompts::named(prompts_name));
  plan.prompts = prompts.source();

  if (!options.rollouts.empty()) {
    if (!options.strategies.empty() || !options.plan_file.empty() || options.equal_tokens) {
      return Status(Code::invalid_argument, "rollouts have no strategy", "-k says how many each problem gets");
    }
    base.method = reasoning::Method::vote;
    base.population = options.samples;
    base.early_stop = false;
    base.apply_method();
    ZAYA_RETURN_IF_ERROR(base.validate());
    plan.samples = 1;
    plan.strategies = {{.name = "rollouts", .settings = base}};
    return plan;
  }
  std::vector<std::string> specs = options.strategies;
  if (specs.empty() && options.plan_file.empty()) {
    specs = options.equal_tokens ? std::vector<std::string>{"single", "vote", "rsa", "markovian-rsa"}
                                 : std::vector<std::string>{"single"};
  }
  ZAYA_ASSIGN(plan.strategies, parse_strategies(specs, base));
  if (!options.plan_file.empty()) {
    ZAYA_ASSIGN(const std::string content, read_file(options.plan_file, size_t{1} << 20));
    ZAYA_ASSIGN(std::vector<Strategy> more, read_strategies(content, base));
    std::move(more.begin(), more.end(), std::back_inserter(plan.strategies));
  }
  ZAYA_RETURN_IF_ERROR(check_strategies(plan.strategies, options.equal_tokens));
  return plan;
}

// Shows an evaluation while it goes on: a bar, or JSON lines.
class Display {
 public:
  explicit Display(const Options& options) : json_(options.json) { catch_interrupts(); }

  void attach(eval::RunnerOptions& runner) {
    runner.stop = stop_.get_token();
    runner.on_progress = [this](const eval::Progress& progress) {
      if (take_interrupt()) stop_.request_stop();
      if (json_) return;
      if (strategy_ != progress.strategy) {
        strategy_ = progress.strategy;
        bar_.reset();
        bar_ = std::make_unique<Progress>(strategy_, progress.all - progress.done);
        before_ = progress.done;
      }
      bar_->update(progress.done - before_);
    };
    runner.on_line = [this](const std::string& line) {
      if (!json_) return;
      fmt::print("{}\n", line);
      std::fflush(stdout);
    };
  }

  void attach(eval::RolloutOptions& rollouts) {
    rollouts.stop = stop_.get_token();
    rollouts.on_progress = [this](int64_t done, int64_t all, int64_t, int64_t) {
      if (take_interrupt()) stop_.request_stop();
      if (json_) return;
      if (bar_ == nullptr) {
        bar_ = std::make_unique<Progress>("rollouts", all - done);
        before_ = done;
      }
      bar_->update(done - before_);
    };
  }

  void finish() { bar_.reset(); }

 private:
  bool json_;
  std::string strategy_;
  int64_t before_ = 0;
  std::unique_ptr<Progress> bar_;
  std::stop_source stop_;
};

eval::RunnerOptions runner_options(const Options& options, const TokenSource& source) {
  eval::RunnerOptions runner{.judge = options.judge};
  const int64_t usual = options.remote.given() ? source.generator->capacity() : 64;
  runner.parallel = options.settings.parallel > 0 ? options.settings.parallel : usual;
  return runner;
}

int run(Evaluation& evaluation, const ItemSet& set, TokenSource& source, Journal& journal,
        const std::filesystem::path& directory, const Options& options) {
  eval::RunnerOptions runner = runner_options(options, source);
  if (evaluation.plan.traces) runner.traces = directory / "runs";
  Display display(options);
  display.attach(runner);
  Result<bool> whole = eval::run_plan(evaluation, set, *source.generator, journal, runner);
  display.finish();
  // What there is deserves its report, however it ended; from the journal, so that `report` can repeat it.
  Result<Evaluation> written = eval::read_evaluation(directory / kJournal);
  if (!written.ok()) return fail(written.status());
  evaluation = std::move(*written);
  if (Status status = eval::write_report(evaluation, directory); !status.ok()) return fail(status);
  if (!whole.ok()) return fail(whole.status());
  const eval::Summary summary = eval::summarize(evaluation);
  if (options.json) {
    fmt::print("{}\n", eval::summary_json(evaluation, summary));
  } else {
    fmt::print("{}", eval::strategy_table(evaluation, summary));
    if (!summary.pairs.empty()) fmt::print("\n{}", eval::pair_table(summary.pairs));
    fmt::print(stderr, "report: {}\n", (directory / "report.md").string());
  }
  if (!*whole || evaluation.failed > 0) {
    fmt::print(stderr, "zaya: {} (zaya eval --resume {} goes on)\n",
               *whole ? fmt::format("{} runs failed: {}", evaluation.failed, evaluation.first_failure)
                      : "the evaluation was stopped",
               directory.string());
    return kFailed;
  }
  return kFine;
}

int resume(Options options) {
  const std::filesystem::path directory = options.resume, path = directory / kJournal;
  Result<Journal> journal = Journal::reopen(path);  // takes a torn line away and keeps others out
  if (!journal.ok()) return fail(journal.status());
  Result<Evaluation> evaluation = eval::read_evaluation(path);
  if (!evaluation.ok()) return fail(evaluation.status());
  Plan& plan = evaluation->plan;
  Result<ItemSet> set = eval::load_set(plan.set);
  if (!set.ok()) return fail(set.status());
  if (set->digest() != plan.digest) {
    return fail(Status(Code::invalid_argument, "the problems are not those with which this evaluation began",
                       "bring the files back, or begin another evaluation"));
  }
  if (options.model.model.empty() && !options.remote.given()) {
    if (plan.model.empty()) {
      return fail(Status(Code::invalid_argument, "this evaluation ran on servers", "name them by --endpoint"));
    }
    options.model.model = plan.model;
  }
  Result<std::unique_ptr<TokenSource>> source =
      open_source(options.model, options.remote, options.deterministic || plan.deterministic);
  if (!source.ok()) return fail(source.status());
  if (Status status = journal->append(eval::session_line()); !status.ok()) return fail(status);
  ++evaluation->sessions;
  evaluation->failed = 0;
  return run(*evaluation, *set, **source, *journal, directory, options);
}

int write_rollouts(const Options& options, Plan plan, const ItemSet& set, TokenSource& source) {
  std::vector<std::string> skip;
  std::error_code error;
  std::optional<Journal> file;
  if (std::filesystem::exists(options.rollouts, error)) {
    Result<Journal> reopened = Journal::reopen(options.rollouts);
    if (!reopened.ok()) return fail(reopened.status());
    Plan before;
    Result<std::vector<std::string>> ids = eval::read_rollouts(options.rollouts, before);
    if (!ids.ok()) return fail(ids.status());
    plan.created = before.created;
    if (eval::rollouts_line(plan) != eval::rollouts_line(before)) {
      return fail(Status(Code::invalid_argument,
                         fmt::format("{} holds rollouts of other problems or settings", options.rollouts),
                         "repeat the command that made it, or name another file"));
    }
    skip = std::move(*ids);
    file.emplace(std::move(*reopened));
  } else {
    Result<Journal> created = Journal::create(options.rollouts);
    if (!created.ok()) return fail(created.status());
    file.emplace(std::move(*created));
    if (Status status = file->append(eval::rollouts_line(plan)); !status.ok()) return fail(status);
  }
  const eval::RunnerOptions runner = runner_options(options, source);
  eval::RolloutOptions rollouts{.parallel = runner.parallel, .keep_tokens = options.keep_tokens, .judge = runner.judge};
  Display display(options);
  display.attach(rollouts);
  Result<eval::RolloutTotals> totals = eval::write_rollouts(plan, set, skip, *source.generator, *file, rollouts);
  display.finish();
  if (!totals.ok()) return fail(totals.status());
  const double share =
      totals->rollouts > 0 ? static_cast<double>(totals->right) / static_cast<double>(totals->rollouts) : 0;
  if (options.json) {
    fmt::print("{}\n", json_text({{"problems", totals->problems},
                                  {"skipped", totals->skipped},
                                  {"rollouts", totals->rollouts},
                                  {"right", totals->right},
                                  {"new_tokens", totals->new_tokens},
                                  {"whole", totals->whole}}));
  } else {
    fmt::print("{} problems, {} rollouts, {:.1f} % right, {} new tokens{}\n", totals->problems, totals->rollouts,
               100 * share, totals->new_tokens,
               totals->skipped > 0 ? fmt::format("; {} problems were there already", totals->skipped) : "");
  }
  if (!totals->whole) {
    fmt::print(stderr, "zaya: stopped (the same command goes on)\n");
    return kFailed;
  }
  return kFine;
}

int evaluate(Options options, const CLI::App& verb) {
  options.judge.limits.memory_bytes = options.memory_megabytes << 20;
  if (!options.resume.empty()) return resume(std::move(options));
  if (options.out.empty() == options.rollouts.empty()) {
    return fail(Status(Code::invalid_argument, "where should the results go?",
                       "name a new directory by --out, or a file of rollouts by --rollouts"));
  }
  Result<ItemSet> set = load_set(options);
  if (!set.ok()) return fail(set.status());
  // Before the model: a mistake should not cost the loading of 16 GB.
  if (Result<Plan> early = make_plan(options, verb, *set, 0); !early.ok()) return fail(early.status());
  const std::filesystem::path directory = options.out;
  std::error_code error;
  if (!options.out.empty() && std::filesystem::exists(directory / kJournal, error)) {
    return fail(Status(Code::invalid_argument, fmt::format("{} holds an evaluation already", options.out),
                       "go on with it by --resume, or name another directory"));
  }
  say_notes(*set, options.json);
  Result<std::unique_ptr<TokenSource>> source = open_source(options.model, options.remote, options.deterministic);
  if (!source.ok()) return fail(source.status());
  Result<Plan> plan = make_plan(options, verb, *set, (*source)->generator->context());
  if (!plan.ok()) return fail(plan.status());
  plan->model = (*source)->model;
  plan->generator = (*source)->generator->describe();
  if (!options.rollouts.empty()) return write_rollouts(options, std::move(*plan), *set, **source);

  std::filesystem::create_directories(directory, error);
  if (error) {
    return fail(Status(Code::io_error, fmt::format("cannot make {}: {}", directory.string(), error.message())));
  }
  Result<Journal> journal = Journal::create(directory / kJournal);
  if (!journal.ok()) return fail(journal.status());
  Evaluation evaluation{.plan = std::move(*plan)};
  const std::string line = eval::plan_line(evaluation.plan);
  if (Status status = journal->append(line); !status.ok()) return fail(status);
  if (options.json) fmt::print("{}\n", line);
  return run(evaluation, *set, **source, *journal, directory, options);
}

}  // namespace

Action add_eval(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  options->model.add_to(verb);
  options->remote.add_to(verb);
  verb.add_option("--set", options->set.sources,
                  "gym, gym:NAME,NAME…, or a file of problems (JSON lines or CSV; docs/eval.md); may be repeated "
                  "(default: gym)")
      ->allow_extra_args(false);
  verb.add_option("--difficulty", options->difficulties, "Of the gym's problems, as in 0-3,5 (default: 0-2)");
  verb.add_option("-n,--count", options->set.gym.count, "Gym problems of each environment and difficulty (default: 20)")
      ->check(CLI::Range(1, 1000000));
  verb.add_option("--split", options->split, "Of the gym: held_out or train (default: held_out)");
  verb.add_option("--first-seed", options->set.gym.first_seed, "Of the gym's problems (default: 0)");
  verb.add_option("--limit", options->set.limit, "Problems of each file at most")->check(CLI::NonNegativeNumber);
  verb.add_option("-k,--samples", options->samples,
                  "Runs of each strategy on each problem; with --rollouts: rollouts of each (default: 1)")
      ->check(CLI::Range(1, 100000));
  verb.add_option("--strategy", options->strategies,
                  "single, vote, markovian-rsa, rsa, delethink, pacore or best-of, with settings of its own: "
                  "[NAME=]METHOD[:N=8,C=2,T=3,tau=64,…]; may be repeated (default: single)")
      ->allow_extra_args(false);
  verb.add_option("--plan", options->plan_file, "JSON file of strategies (docs/eval.md)");
  verb.add_flag("--equal-tokens", options->equal_tokens,
                "Choose N of `vote` so that it spends as many new tokens as Markovian RSA; with no --strategy: single, "
                "vote, rsa and markovian-rsa");
  options->settings.add_to(verb);
  verb.add_flag("--early-stop", options->early_stop, "End a run's last round once its vote is decided");
  verb.add_option("--out", options->out, "New directory for journal, report.md and plots");
  verb.add_option("--resume", options->resume, "Go on with the evaluation in this directory");
  verb.add_flag("--traces", options->traces,
                "Keep each run's own journal too (zaya solve --show), and resume inside it");
  verb.add_option("--rollouts", options->rollouts,
                  "Write rollouts with verdicts and token ids to this file instead (material for make-aggregation)");
  verb.add_option("--keep-tokens", options->keep_tokens, "With --rollouts: last token ids of each side that are kept")
      ->check(CLI::Range(1, 1 << 24));
  verb.add_option("--code-seconds", options->judge.limits.seconds, "Time for each test of code (default: 10)")
      ->check(CLI::Range(0.1, 3600.0));
  verb.add_option("--code-memory", options->memory_megabytes, "Megabytes for each test of code (default: 1024)")
      ->check(CLI::Range(16, 1 << 20));
  verb.add_option("--python", options->judge.python, "What runs code (default: python3)");
  verb.add_flag("--json", options->json, "Print the journal's lines as they come, and the summary as the last");
  const std::shared_ptr<EvalTools> tools = add_eval_tools(verb);
  return [options, tools, &verb] {
    if (const auto code = tools->run(); code.has_value()) return *code;
    options->deterministic = verb.count("--deterministic") > 0;  // declared with the model's options
    return evaluate(*options, verb);
  };
}

}  // namespace zaya::app
