#include "eval/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>

#include "eval/energy.h"
#include "eval/many_runs.h"
#include "reasoning/prompts.h"
#include "reasoning/solver.h"

namespace zaya::eval {
namespace {

using reasoning::Candidate;
using reasoning::Run;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Judged {
  Sample sample;
  std::string failure;
};

// Judging stands on a thread of its own: tests of code take seconds, and tokens should flow meanwhile.
class Court {
 public:
  explicit Court(const JudgeOptions& options) : options_(options), thread_([this] { work(); }) {}
  ~Court() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void submit(const Item& item, Sample sample, FinishedRun run) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({&item, std::move(sample), std::move(run)});
    ++open_;
    changed_.notify_all();
  }

  // What is judged by now; with `all`, waits until everything is.
  std::vector<Judged> take(bool all) {
    std::unique_lock lock(mutex_);
    if (all) changed_.wait(lock, [this] { return open_ == static_cast<int64_t>(done_.size()); });
    open_ -= static_cast<int64_t>(done_.size());
    return std::exchange(done_, {});
  }

 private:
  struct Case {
    const Item* item;
    Sample sample;
    FinishedRun run;
  };

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return over_ || !waiting_.empty(); });
      if (over_) return;
      Case next = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      Judged judged = judge(std::move(next));
      lock.lock();
      done_.push_back(std::move(judged));
      changed_.notify_all();
    }
  }

  Judged judge(Case next) const {
    Sample& sample = next.sample;
    const Run& run = next.run.run;
    const auto verifier = [&](const Candidate& candidate) {
      return is_right(*next.item, candidate.trace.answer.text, candidate.answer, options_) ? 1.0 : 0.0;
    };
    const reasoning::RunResult result = run.result(verifier);
    for (const auto& round : run.rounds()) {
      std::vector<Verdict> verdicts;
      for (size_t i = 0; i < round.size(); ++i) {
        const Candidate& candidate = round[i];
        const bool chosen = candidate.round == result.round && candidate.index == result.candidate;
        verdicts.push_back(
            {.right = candidate.usable() && is_right(*next.item, candidate.trace.answer.text, candidate.answer,
                                                     options_, chosen ? &sample.why : nullptr),
             .answered = candidate.answer.has_value(),
             .closed = candidate.trace.closed,
             .new_tokens = candidate.trace.new_tokens});
        if (chosen) {
          sample.right = verdicts.back().right;
          sample.finished = candidate.trace.closed && candidate.trace.end == reasoning::End::stop;
        }
      }
      sample.rounds.push_back(std::move(verdicts));
    }
    sample.answer = result.answer;
    sample.new_tokens = result.new_tokens;
    sample.wasted_tokens = result.wasted_tokens;
    sample.prompt_tokens = result.prompt_tokens;
    sample.cached_prompt_tokens = result.cached_prompt_tokens;
    sample.seconds = next.run.seconds;
    return {std::move(sample), std::move(next.run.failure)};
  }

  const JudgeOptions& options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Case> waiting_;
  std::vector<Judged> done_;
  int64_t open_ = 0;  // submitted and not taken
  bool over_ = false;
  std::thread thread_;  // last: it uses the others
};

// A file name of an item's id.
std::string file_name(std::string_view id) {
  std::string name;
  for (char c : id) name += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.' ? c : '_';
  return name.substr(0, 120);
}

class Runner {
 public:
  Runner(Evaluation& evaluation, const ItemSet& set, reasoning::Generator& generator, reasoning::Journal& journal,
         const RunnerOptions& options)
      : evaluation_(evaluation),
        plan_(evaluation.plan),
        set_(set),
        generator_(generator),
        journal_(journal),
        options_(options),
        court_(options.judge) {}

  Result<bool> run() {
    for (const Strategy& strategy : plan_.strategies) {
      ZAYA_RETURN_IF_ERROR(
          reasoning::check_context(strategy.settings, generator_.context()).with_context(strategy.name));
    }
    progress_.all = static_cast<int64_t>(plan_.strategies.size()) * plan_.samples * plan_.items;
    progress_.done = static_cast<int64_t>(evaluation_.samples.size());
    for (const Sample& sample : evaluation_.samples) done_.insert({sample.strategy, sample.item, sample.number});
    // Those that are to match another's tokens come behind it.
    for (const bool matching : {false, true}) {
      for (size_t i = 0; i < plan_.strategies.size(); ++i) {
        if (plan_.strategies[i].tokens_of.empty() == matching) continue;
        ZAYA_ASSIGN(const bool whole, run_strategy(static_cast<int64_t>(i)));
        if (!whole) return false;
      }
    }
    return true;
  }

 private:
  // Chooses the population with which a vote spends what its reference spent.
  Status match(Strategy& strategy) {
    if (strategy.tokens_of.empty() || strategy.matched) return Status();
    double spent = 0, runs = 0, rollout_tokens = 0, rollouts = 0;
    for (const Sample& sample : evaluation_.samples) {
      if (plan_.strategies[static_cast<size_t>(sample.strategy)].name != strategy.tokens_of) continue;
      spent += static_cast<double>(sample.new_tokens);
      runs += 1;
      if (sample.rounds.empty()) continue;
      for (const Verdict& verdict : sample.rounds[0]) {
        rollout_tokens += static_cast<double>(verdict.new_tokens);
        rollouts += 1;
      }
    }
    if (runs == 0 || rollout_tokens == 0) {
      return Status(
          Code::invalid_argument,
          fmt::format("{} is to spend the tokens of {}, which has no samples", strategy.name, strategy.tokens_of),
          "name that strategy before it");
    }
    spent /= runs;
    rollout_tokens /= rollouts;
    strategy.settings.population = std::max<int64_t>(1, std::llround(spent / rollout_tokens));
    strategy.settings.apply_method();
    ZAYA_RETURN_IF_ERROR(strategy.settings.validate().with_context(strategy.name));
    strategy.matched = true;
    return write(matched_line(strategy, spent, rollout_tokens));
  }

  Status write(const std::string& line) {
    if (options_.on_line) options_.on_line(line);
    return journal_.append(line);
  }

  Result<std::optional<PendingRun>> next_run(int64_t index, const reasoning::Prompts& prompts) {
    const Strategy& strategy = plan_.strategies[static_cast<size_t>(index)];
    const int64_t all = plan_.samples * static_cast<int64_t>(set_.items.size());
    for (; next_ < all; ++next_) {
      // The samples of an item stand together: they share its prompt.
      const Item& item = set_.items[static_cast<size_t>(next_ / plan_.samples)];
      const int64_t number = next_ % plan_.samples;
      if (done_.count({index, item.id, number}) > 0) continue;
      reasoning::Settings settings = strategy.settings;
      settings.seed = run_seed(plan_, item.id, number);
      settings.answer_kind = !plan_.answer_kind.empty() ? plan_.answer_kind : name_of(answer_kind_of(item.judge));
      ZAYA_ASSIGN(Run run, Run::create(item.prompt, settings, prompts, [this](std::span<const text::TokenId> tokens) {
                    return generator_.decode(tokens);
                  }));
      std::filesystem::path path;
      if (!options_.traces.empty()) {
        path = options_.traces / file_name(strategy.name) / fmt::format("{}.{}.jsonl", file_name(item.id), number);
      }
      return std::optional<PendingRun>(PendingRun{next_++, std::move(run), std::move(path)});
    }
    return std::optional<PendingRun>();
  }

  Status take_verdicts(bool all) {
    for (Judged& judged : court_.take(all)) {
      Sample& sample = judged.sample;
      sample.session = evaluation_.sessions;
      sample.at = now() - begin_;
      if (const double joules = meter_.joules(); joules >= 0) sample.joules = joules - joules_before_;
      if (!judged.failure.empty()) {
        ZAYA_RETURN_IF_ERROR(write(failed_line(plan_, sample, judged.failure)));
        if (evaluation_.first_failure.empty()) evaluation_.first_failure = judged.failure;
        ++evaluation_.failed;
        constexpr int kInARow = 5;
        if (++failures_ >= kInARow) {
          return Status(Code::io_error, fmt::format("{} runs in a row brought nothing: {}", kInARow, judged.failure),
                        "--resume goes on");
        }
        continue;
      }
      failures_ = 0;
      ++progress_.done;
      ++progress_.judged;
      progress_.right += sample.right ? 1 : 0;
      ZAYA_RETURN_IF_ERROR(write(sample_line(plan_, sample)));
      evaluation_.samples.push_back(std::move(sample));
    }
    return Status();
  }

  Result<bool> run_strategy(int64_t index) {
    Strategy& strategy = plan_.strategies[static_cast<size_t>(index)];
    ZAYA_RETURN_IF_ERROR(match(strategy));
    ZAYA_ASSIGN(const reasoning::Prompts prompts, reasoning::Prompts::parse(plan_.prompts, "of the evaluation"));
    if (!options_.traces.empty()) {
      std::error_code error;
      std::filesystem::create_directories(options_.traces / file_name(strategy.name), error);
      if (error)
        return Status(Code::io_error, fmt::format("cannot make {}: {}", options_.traces.string(), error.message()));
    }
    begin_ = now();
    joules_before_ = meter_.joules();
    next_ = 0;
    progress_.strategy = strategy.name.c_str();
    progress_.right = progress_.judged = 0;
    for (const Sample& sample : evaluation_.samples) {
      if (sample.strategy != index) continue;
      ++progress_.judged;
      progress_.right += sample.right ? 1 : 0;
    }
    const auto done = [&](FinishedRun run) {
      const Item& item = set_.items[static_cast<size_t>(run.tag / plan_.samples)];
      Sample sample{.strategy = index, .number = run.tag % plan_.samples, .item = item.id, .group = item.group};
      court_.submit(item, std::move(sample), std::move(run));
      return take_verdicts(false);
    };
    ManyRunsOptions many{.parallel = options_.parallel, .stop = options_.stop};
    many.on_tick = [&](int64_t tokens) {
      progress_.running_tokens = tokens;
      if (options_.on_progress) options_.on_progress(progress_);
    };
    ZAYA_ASSIGN(const bool whole, drive(
                                      generator_, [&] { return next_run(index, prompts); }, done, many));
    ZAYA_RETURN_IF_ERROR(take_verdicts(true));
    return whole;
  }

  Evaluation& evaluation_;
  Plan& plan_;
  const ItemSet& set_;
  reasoning::Generator& generator_;
  reasoning::Journal& journal_;
  const RunnerOptions& options_;
  Court court_;
  EnergyMeter meter_;
  Progress progress_;
  std::set<std::tuple<int64_t, std::string, int64_t>> done_;
  int64_t next_ = 0;
  double begin_ = 0, joules_before_ = 0;
  int failures_ = 0;
};

}  // namespace

Result<bool> run_plan(Evaluation& evaluation, const ItemSet& set, reasoning::Generator& generator,
                      reasoning::Journal& journal, const RunnerOptions& options) {
  return Runner(evaluation, set, generator, journal, options).run();
}

}  // namespace zaya::eval
