// zaya solve: Markovian RSA and its relatives on one problem, with a live board, a journal, and resuming.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <memory>
#include <random>

#include "apps/zaya/common.h"
#include "apps/zaya/solve_board.h"
#include "apps/zaya/solve_settings.h"
#include "apps/zaya/solve_tools.h"
#include "apps/zaya/token_source.h"
#include "apps/zaya/verbs.h"
#include "engine/service.h"
#include "reasoning/local_generator.h"
#include "reasoning/solver.h"
#include "text/utf8.h"

namespace zaya::app {
namespace {

using reasoning::Journal;
using reasoning::Prompts;
using reasoning::Run;
using reasoning::RunResult;
using reasoning::SavedRun;
using reasoning::Settings;

struct Options {
  ModelOptions model;
  RemoteOptions remote;
  SettingsOptions settings;
  std::string prompt, journal, resume, show, verifier, method = "markovian-rsa";
  double max_seconds = -1;
  bool no_early_stop = false, deterministic = false, no_journal = false;
  bool json = false, estimate = false, compare_answers = false;
};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

uint64_t random_number() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

// Where journals go when none is named: $ZAYA_RUNS, else the user's state directory.
Result<std::filesystem::path> runs_directory() {
  std::filesystem::path directory;
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const std::string runs = variable("ZAYA_RUNS"); !runs.empty()) {
    directory = runs;
  } else if (const std::string state = variable("XDG_STATE_HOME"); !state.empty()) {
    directory = std::filesystem::path(state) / "zaya" / "runs";
  } else if (const std::string home = variable("HOME"); !home.empty()) {
    directory = std::filesystem::path(home) / ".local" / "state" / "zaya" / "runs";
  } else {
    return Status(Code::not_found, "there is no place for the run's journal", "name one by --journal, or --no-journal");
  }
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return Status(Code::io_error, fmt::format("cannot make {}: {}", directory.string(), error.message()));
  return directory;
}

// The settings that all options ask for. `context`: of the model, 0 = not known.
Result<Settings> settings_of(const Options& options, const CLI::App& verb, int64_t context, std::string& prompts) {
  ZAYA_ASSIGN(Settings settings, options.settings.settings(verb, context, prompts));
  ZAYA_RETURN_IF_ERROR(parse_name(options.method, settings.method));
  if (verb.count("--seed") == 0) settings.seed = random_number() >> 11;  // exact as a double, for JSON readers
  if (verb.count("--max-seconds") > 0) settings.max_seconds = options.max_seconds;
  settings.early_stop = !options.no_early_stop && !options.deterministic;
  if (options.deterministic && settings.max_seconds >= 0) {
    return Status(Code::invalid_argument, "a limit in seconds makes a run depend on the clock",
                  "with --deterministic, limit tokens or rounds");
  }
  settings.apply_method();
  ZAYA_RETURN_IF_ERROR(settings.validate());
  return settings;
}

// Shows a run while it goes on: the board, plain lines, or JSON events.
class Display : public reasoning::Observer {
 public:
  Display(bool json, double before)
      : json_(json), board_on_(!json && is_terminal(STDERR_FILENO)), begin_(seconds_now() - before) {}

  void on_line(const std::string& line) override {
    if (!json_) return;
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }

  void on_event(const Run& run, const reasoning::Event& event) override {
    progress_.note(event, at());
    if (event.kind == reasoning::Event::Kind::restarted && !board_on_ && !json_) {
      const auto& candidate = run.candidate(event.job);
      fmt::print(stderr, "round {} candidate {}: again ({})\n", candidate.round, candidate.index + 1, event.note);
    }
  }

  void on_tick(const Run& run) override {
    if (take_interrupt()) stop_.request_stop();
    if (board_on_) board_.draw(run, progress_, at());
    if (json_ && at() - last_ >= 0.5) {
      last_ = at();
      const double rate = progress_.rate(run, last_), left = seconds_left(run, progress_, rate);
      text::Json lanes = text::Json::array();
      for (const auto& round : run.rounds()) {
        for (const auto& candidate : round) {
          const auto* lane = progress_.lane(run.id_of(candidate.round, candidate.index));
          if (lane == nullptr) continue;
          lanes.push_back({{"round", candidate.round}, {"candidate", candidate.index}, {"new_tokens", lane->tokens}});
        }
      }
      text::Json line = {{"event", "progress"},
                         {"at", last_},
                         {"new_tokens", run.new_tokens() + progress_.running_tokens()},
                         {"tokens_per_second", rate},
                         {"seconds_left", left < 0 ? text::Json() : text::Json(left)},
                         {"running", lanes}};
      fmt::print("{}\n", json_text(line));
      std::fflush(stdout);
    }
    if (!board_on_ && !json_) say_rounds(run);
  }

  void finish(const Run& run) {
    if (board_on_) board_.draw(run, progress_, at(), true);
    if (!board_on_ && !json_) say_rounds(run);
  }

  std::stop_token stop() { return stop_.get_token(); }
  double at() const { return seconds_now() - begin_; }

 private:
  // A line for each round that has become complete.
  void say_rounds(const Run& run) {
    for (; said_ < run.rounds().size(); ++said_) {
      const auto& candidates = run.rounds()[said_];
      int64_t tokens = 0;
      for (const auto& candidate : candidates) {
        if (candidate.state != reasoning::Candidate::State::done) return;
        tokens += candidate.trace.new_tokens;
      }
      std::string votes;
      for (const auto& vote : run.votes(static_cast<int64_t>(said_))) {
        votes += fmt::format(" · {} × {}", vote.candidates.size(), vote.answer);
      }
      fmt::print(stderr, "{:7.1f} s  round {}: {} candidates, {} new tokens{}\n", at(), said_, candidates.size(),
                 tokens, text::replace_controls(votes));
    }
  }

  bool json_, board_on_;
  double begin_, last_ = 0;
  size_t said_ = 0;
  SolveProgress progress_;
  SolveBoard board_;
  std::stop_source stop_;
};

int report(const RunResult& result, const Options& options, const std::string& journal, double seconds) {
  if (!options.json) {
    const std::string& text = result.text.empty() ? result.answer : result.text;
    const std::string shown = is_terminal(STDOUT_FILENO) ? text::replace_controls(text) : text;
    const size_t from = std::min(shown.find_first_not_of("\r\n"), shown.size());
    fmt::print("{}\n", std::string_view(shown).substr(from));
    std::fflush(stdout);
    const double rate = seconds > 0 ? static_cast<double>(result.new_tokens) / seconds : 0;
    fmt::print(stderr, "{} new tokens in {:.1f} s ({:.1f} tok/s) · prompts {} tokens, {} of them shared",
               result.new_tokens, seconds, rate, result.prompt_tokens, result.cached_prompt_tokens);
    if (result.candidates_cut > 0) {
      fmt::print(stderr, " · decided early: {} candidates, about {} tokens saved", result.candidates_cut,
                 result.tokens_saved);
    }
    fmt::print(stderr, "\n");
    if (result.stopped != reasoning::Stopped::complete && result.stopped != reasoning::Stopped::decided) {
      fmt::print(stderr, "zaya: the run stopped early ({}); this is the best answer of round {}{}\n",
                 name_of(result.stopped), result.round, journal.empty() ? "" : ", zaya solve --resume goes on");
    }
    if (!journal.empty()) fmt::print(stderr, "journal: {}\n", journal);
  }
  return result.candidate >= 0 ? kFine : kFailed;
}

int run_on(Run& run, TokenSource& source, Journal* journal, const std::string& journal_path, const Options& options,
           reasoning::SolveOptions solve_options) {
  catch_interrupts();
  Display display(options.json, solve_options.seconds_before);
  solve_options.stop = display.stop();
  solve_options.parallel = options.settings.parallel;
  if (!options.verifier.empty()) solve_options.verifier = command_verifier(options.verifier, run.problem());
  Result<RunResult> result = reasoning::solve(run, *source.generator, journal, &display, solve_options);
  display.finish(run);
  if (!result.ok()) return fail(result.status());
  return report(*result, options, journal_path, display.at());
}

int resume(const Options& options, const CLI::App& verb) {
  // Opened for writing first: that takes a torn line away and keeps others out.
  Result<Journal> journal = Journal::reopen(options.resume);
  if (!journal.ok()) return fail(journal.status());
  Result<SavedRun> saved = reasoning::read_journal(options.resume);
  if (!saved.ok()) return fail(saved.status());
  if (saved->complete) return show_run(*saved, options.json);
  if (verb.count("--max-new-tokens") > 0) saved->settings.max_new_tokens = options.settings.given.max_new_tokens;
  if (verb.count("--max-seconds") > 0) saved->settings.max_seconds = options.max_seconds;
  Options opened = options;
  if (opened.model.model.empty() && !opened.remote.given()) opened.model.model = saved->model;
  if (!saved->settings.early_stop) opened.deterministic = true;
  Result<std::unique_ptr<TokenSource>> source = open_source(opened.model, opened.remote, opened.deterministic);
  if (!source.ok()) return fail(source.status());
  Result<Run> run = reasoning::restore_run(
      *saved, [&](std::span<const text::TokenId> tokens) { return (*source)->generator->decode(tokens); });
  if (!run.ok()) return fail(run.status());
  return run_on(*run, **source, &*journal, options.resume, options,
                {.seconds_before = saved->seconds, .resumed = true});
}

int solve(const Options& options, const CLI::App& verb) {
  if (options.compare_answers) return compare_answers();
  if (!options.show.empty()) {
    Result<SavedRun> saved = reasoning::read_journal(options.show);
    return saved.ok() ? show_run(*saved, options.json) : fail(saved.status());
  }
  if (!options.resume.empty()) return resume(options, verb);
  if (options.prompt.empty()) return fail(Status(Code::invalid_argument, "there is no problem", "give one by -p"));
  std::string problem = options.prompt;
  if (problem == "-") problem.assign(std::istreambuf_iterator<char>(std::cin), {});

  // Settings before the model, where they can be told: a mistake should not cost the loading of 16 GB.
  std::string prompts_name;
  if (Result<Settings> early = settings_of(options, verb, 0, prompts_name); !early.ok()) return fail(early.status());
  Result<std::unique_ptr<TokenSource>> source = open_source(options.model, options.remote, options.deterministic);
  if (!source.ok()) return fail(source.status());
  Result<Settings> settings = settings_of(options, verb, (*source)->generator->context(), prompts_name);
  if (!settings.ok()) return fail(settings.status());
  Result<Prompts> prompts = Prompts::named(prompts_name);
  if (!prompts.ok()) return fail(prompts.status());
  if (settings->choice == reasoning::Choice::verifier && options.verifier.empty()) {
    return fail(
        Status(Code::invalid_argument, "a verifier is to choose, and there is none", "name a command by --verifier"));
  }
  Result<Run> run = Run::create(problem, *settings, std::move(*prompts), [&](std::span<const text::TokenId> tokens) {
    return (*source)->generator->decode(tokens);
  });
  if (!run.ok()) return fail(run.status());
  if (options.estimate) return estimate(*run, *(*source)->generator, (*source)->service.get(), options.json);

  const std::string id = fmt::format("{}-{:04x}", utc_text("%Y%m%d-%H%M%S"), random_number() & 0xFFFF);
  std::optional<Journal> journal;
  std::string path = options.journal;
  if (!options.no_journal) {
    if (path.empty()) {
      Result<std::filesystem::path> directory = runs_directory();
      if (!directory.ok()) return fail(directory.status());
      path = (*directory / (id + ".jsonl")).string();
    }
    Result<Journal> created = Journal::create(path);
    if (!created.ok()) return fail(created.status());
    journal.emplace(std::move(*created));
  }
  return run_on(*run, **source, journal.has_value() ? &*journal : nullptr, options.no_journal ? "" : path, options,
                {.id = id, .created = utc_text("%Y-%m-%dT%H:%M:%SZ"), .model = (*source)->model});
}

}  // namespace

Action add_solve(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  options->model.add_to(verb);
  options->remote.add_to(verb);
  verb.add_option("-p,--prompt", options->prompt, "The problem; - reads it from standard input");
  verb.add_option("--method", options->method,
                  "markovian-rsa, single, vote, rsa, delethink, pacore or best-of (default: markovian-rsa)");
  options->settings.add_to(verb);
  verb.add_option("--verifier", options->verifier,
                  "Command that reads {problem, answer, text} as JSON; exit 0 = right (for best-of)");
  verb.add_option("--max-seconds", options->max_seconds, "End with the best answer after this time");
  verb.add_flag("--no-early-stop", options->no_early_stop, "Finish the last round though its vote is decided");
  verb.add_option("--journal", options->journal, "The run's file (default: a new one in ~/.local/state/zaya/runs)");
  verb.add_flag("--no-journal", options->no_journal, "Keep no file");
  verb.add_option("--resume", options->resume, "Go on with the run of this journal");
  verb.add_option("--show", options->show, "Print the run of this journal");
  verb.add_flag("--estimate", options->estimate, "Say what the run would cost here, and do not run it");
  verb.add_flag("--json", options->json, "Print events as JSON lines; the last one is the result");
  verb.add_flag("--compare-answers", options->compare_answers,
                "Plumbing: read {\"gold\", \"text\"} JSON lines, print what is read and whether it is the same");
  return [options, &verb] {
    options->deterministic = verb.count("--deterministic") > 0;  // declared with the model's options
    return solve(*options, verb);
  };
}

}  // namespace zaya::app
