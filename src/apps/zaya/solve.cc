// zaya solve: Markovian RSA and its relatives on one problem, with a live board, a journal, and resuming.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <iterator>
#include <memory>
#include <random>

#include "apps/zaya/common.h"
#include "apps/zaya/solve_board.h"
#include "apps/zaya/solve_tools.h"
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
  std::string prompt, preset, prompts, journal, resume, show, verifier;
  std::string method = "markovian-rsa", tail, close, answers, order, carry, choice, answer_kind;
  Settings given;  // the numbers of the command line; those that were not given are ignored
  int64_t parallel = 0;
  bool no_early_stop = false, no_overlap = false, deterministic = false, no_journal = false;
  bool json = false, estimate = false, compare_answers = false;
};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

uint64_t random_number() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

std::string utc_text(const char* format) {
  const std::time_t time = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[64];
  return std::string(text, std::strftime(text, sizeof text, format, &parts));
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

// The settings that preset and options ask for. `context`: of the model, 0 = not known.
Result<Settings> settings_of(const Options& options, const CLI::App& verb, int64_t context, std::string& prompts) {
  Settings settings;
  std::string preset = options.preset;
  if (preset.empty()) {
    const Settings light;
    const bool fits = context == 0 || light.aggregation_size * light.tail_length + 2 * light.thinking_budget < context;
    preset = fits ? "light" : "tiny";
  }
  ZAYA_RETURN_IF_ERROR(reasoning::apply_preset(preset, settings));
  prompts = !options.prompts.empty() ? options.prompts : preset == "tiny" ? "plain" : "boxed";

  const Settings& given = options.given;
  const auto take = [&](const char* option, auto& to, const auto& from) {
    if (verb.count(option) > 0) to = from;
  };
  take("--population", settings.population, given.population);
  take("--aggregate", settings.aggregation_size, given.aggregation_size);
  take("--rounds", settings.rounds, given.rounds);
  take("--beta", settings.thinking_budget, given.thinking_budget);
  take("--tau", settings.tail_length, given.tail_length);
  take("--final-budget", settings.final_budget, given.final_budget);
  take("--temperature", settings.sampling.temperature, given.sampling.temperature);
  take("--top-p", settings.sampling.top_p, given.sampling.top_p);
  take("--top-k", settings.sampling.top_k, given.sampling.top_k);
  take("--min-p", settings.sampling.min_p, given.sampling.min_p);
  take("--head-tokens", settings.head_length, given.head_length);
  take("--widths", settings.widths, given.widths);
  take("--max-new-tokens", settings.max_new_tokens, given.max_new_tokens);
  take("--max-seconds", settings.max_seconds, given.max_seconds);
  take("--max-rounds", settings.max_rounds, given.max_rounds);
  settings.seed = verb.count("--seed") > 0 ? given.seed : random_number() >> 11;  // exact as a double, for JSON readers

  ZAYA_RETURN_IF_ERROR(parse_name(options.method, settings.method));
  const auto name = [](const std::string& text, auto& value) {
    return text.empty() ? Status() : parse_name(text, value);
  };
  ZAYA_RETURN_IF_ERROR(name(options.tail, settings.tail_content));
  ZAYA_RETURN_IF_ERROR(name(options.close, settings.close));
  ZAYA_RETURN_IF_ERROR(name(options.answers, settings.answer_rounds));
  ZAYA_RETURN_IF_ERROR(name(options.order, settings.tail_order));
  ZAYA_RETURN_IF_ERROR(name(options.carry, settings.carry));
  ZAYA_RETURN_IF_ERROR(name(options.choice, settings.choice));
  if (!options.answer_kind.empty()) settings.answer_kind = options.answer_kind;
  settings.early_stop = !options.no_early_stop && !options.deterministic;
  settings.overlap = !options.no_overlap;
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

// What a run needs to generate: the engine in this process, or servers elsewhere.
struct Source {
  Session session;
  std::unique_ptr<engine::Service> service;
  std::unique_ptr<reasoning::Generator> generator;
  std::string model;
};

Result<std::unique_ptr<Source>> open_source(const Options& options) {
  auto source = std::make_unique<Source>();
  if (options.remote.given()) {
    ZAYA_ASSIGN(source->generator, open_remote(options.remote, options.model.model));
    return source;
  }
  ModelOptions model = options.model;
  if (options.deterministic && model.load.activations == "auto") model.load.activations = "f32";
  ZAYA_ASSIGN(source->session, model.open());
  if (!source->session.chat_template.has_value()) {
    return Status(Code::not_found, fmt::format("{} has no chat template", source->session.directory.string()),
                  "add chat_template.jinja to it");
  }
  source->model = std::filesystem::absolute(source->session.directory).lexically_normal().string();
  std::shared_ptr<engine::Engine> engine = std::move(source->session.engine);
  ZAYA_ASSIGN(source->service, engine::Service::start(std::move(engine)));
  source->generator = std::make_unique<reasoning::LocalGenerator>(*source->service, *source->session.chat_template,
                                                                  source->session.directory.filename().string());
  return source;
}

int run_on(Run& run, Source& source, Journal* journal, const std::string& journal_path, const Options& options,
           reasoning::SolveOptions solve_options) {
  catch_interrupts();
  Display display(options.json, solve_options.seconds_before);
  solve_options.stop = display.stop();
  solve_options.parallel = options.parallel;
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
  if (verb.count("--max-new-tokens") > 0) saved->settings.max_new_tokens = options.given.max_new_tokens;
  if (verb.count("--max-seconds") > 0) saved->settings.max_seconds = options.given.max_seconds;
  Options opened = options;
  if (opened.model.model.empty() && !opened.remote.given()) opened.model.model = saved->model;
  if (!saved->settings.early_stop) opened.deterministic = true;
  Result<std::unique_ptr<Source>> source = open_source(opened);
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
  Result<std::unique_ptr<Source>> source = open_source(options);
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
  Settings& given = options->given;
  options->model.add_to(verb);
  options->remote.add_to(verb);
  verb.add_option("-p,--prompt", options->prompt, "The problem; - reads it from standard input");
  verb.add_option("--preset", options->preset,
                  "tiny, light, small, deployment, headline, high, extra-high (default: light, or tiny where the "
                  "model's context is too short for it)");
  verb.add_option("--method", options->method,
                  "markovian-rsa, single, vote, rsa, delethink, pacore or best-of (default: markovian-rsa)");
  verb.add_option("-N,--population", given.population, "N: candidates in a round");
  verb.add_option("-C,--aggregate", given.aggregation_size, "C: tails that a candidate reads");
  verb.add_option("-T,--rounds", given.rounds, "T: aggregation rounds; T + 1 rounds are generated");
  verb.add_option("--beta", given.thinking_budget, "β: reasoning tokens of a rollout");
  verb.add_option("--tau", given.tail_length, "τ: tokens of a tail");
  verb.add_option("--final-budget", given.final_budget, "Answer tokens behind the reasoning");
  verb.add_option("--temperature", given.sampling.temperature, "Sampling temperature (default: 1)");
  verb.add_option("--top-p", given.sampling.top_p, "Keep the likeliest tokens of this mass (default: 1)");
  verb.add_option("--top-k", given.sampling.top_k, "Keep the k likeliest tokens (default: all)");
  verb.add_option("--min-p", given.sampling.min_p, "Keep tokens of at least this share of the likeliest one's");
  verb.add_option("--seed", given.seed, "Draws and sampling follow from it (default: a new one)");
  verb.add_option("--tail", options->tail, "What a tail holds: reasoning, with-answer, hybrid (PaCoRe), answer");
  verb.add_option("--close", options->close, "At β: force (close the reasoning and answer) or stop");
  verb.add_option("--answers", options->answers, "Rounds whose traces go on to an answer: every or last");
  verb.add_option("--order", options->order, "Tails in a prompt: shared (so that prompts begin alike) or drawn");
  verb.add_option("--carry", options->carry,
                  "Tails go into a new question (aggregate), or are continued (resume; C = 1)");
  verb.add_option("--choice", options->choice, "The run's answer: vote, last, aggregate (one more round) or verifier");
  verb.add_option("--answer-kind", options->answer_kind, "auto, boxed, tag, option, number, code or text");
  verb.add_option("--head-tokens", given.head_length, "With --carry resume: first tokens that stay in front");
  verb.add_option("--widths", given.widths, "Candidates of each round, T + 1 numbers: 16,4,1")
      ->delimiter(',')
      ->allow_extra_args(false);
  verb.add_option("--prompts", options->prompts, "boxed, plain, or a template file (docs/markovian-rsa.md)");
  verb.add_option("--verifier", options->verifier,
                  "Command that reads {problem, answer, text} as JSON; exit 0 = right (for best-of)");
  verb.add_option("--max-new-tokens", given.max_new_tokens, "New tokens of the whole run at most");
  verb.add_option("--max-seconds", given.max_seconds, "End with the best answer after this time");
  verb.add_option("--max-rounds", given.max_rounds, "Aggregation rounds at most");
  verb.add_flag("--no-early-stop", options->no_early_stop, "Finish the last round though its vote is decided");
  verb.add_flag("--no-overlap", options->no_overlap, "Begin a round only when the one before is complete");
  verb.add_option("--parallel", options->parallel, "Candidates under way at once (default: all)");
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
