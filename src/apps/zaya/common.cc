#include "apps/zaya/common.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace zaya::app {
namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "the signal handler needs it");

std::filesystem::path executable_directory() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::filesystem::path(".") : self.parent_path();
}

// Tokens per second; the first token of an answer belongs to the prompt's time.
std::string rate(int64_t tokens, double seconds) {
  return seconds > 0 && tokens > 0 ? fmt::format("{:.1f} tok/s", static_cast<double>(tokens) / seconds) : "– tok/s";
}

}  // namespace

int fail(const Status& status) {
  fmt::print(stderr, "zaya: {}\n", status.to_string());
  return status.code() == Code::invalid_argument ? kMisused : kFailed;
}

Result<std::filesystem::path> model_directory(const std::string& given) {
  if (!given.empty()) return std::filesystem::path(given);
  if (const char* chosen = std::getenv("ZAYA_MODEL"); chosen != nullptr && *chosen != '\0') {
    return std::filesystem::path(chosen);
  }
  const std::filesystem::path here = executable_directory();
  for (const char* place : {"../models/nano", "../share/zaya/models/nano"}) {
    std::error_code error;
    if (std::filesystem::exists(here / place / "config.json", error)) {
      return std::filesystem::weakly_canonical(here / place, error);
    }
  }
  return Status(Code::not_found, "the model that comes with the program is not beside it",
                "name a MODEL directory, or set ZAYA_MODEL");
}

std::string json_text(const text::Json& json, int indent) {
  return json.dump(indent, ' ', false, text::Json::error_handler_t::replace);
}

std::string utc_text(const char* format) {
  const std::time_t time = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[64];
  return std::string(text, std::strftime(text, sizeof text, format, &parts));
}

bool is_terminal(int file_descriptor) { return ::isatty(file_descriptor) == 1; }

bool wants_colour(int file_descriptor) {
  const char* off = std::getenv("NO_COLOR");
  return is_terminal(file_descriptor) && (off == nullptr || *off == '\0');
}

void ModelOptions::add_to(CLI::App& verb) {
  verb.add_option("MODEL", model, "Model directory (default: the small model that comes with the program)");
  verb.add_option("--threads", load.threads, "Threads (default: every physical core)")->check(CLI::Range(0, 1024));
  verb.add_option("--format", load.format,
                  "Weights in memory: stored (as in the files), bf16, q8, or q4 (experts 4.5 bits, the rest 8.5)");
  CLI::Option* activations = verb.add_option("--activations", load.activations,
                                             "f32 (bits never depend on the batch), bf16 (tiles where the processor "
                                             "has them), int8 (faster, less exact), or auto: bf16 for packed formats");
  verb.add_flag_callback(
          "--deterministic", [this] { load.activations = "f32"; },
          "A token's bits depend on its sequence alone, not on the batch nor on how a prompt is cut; the same as "
          "--activations f32, and slower for prompts where the processor has tiles")
      ->excludes(activations);
  verb.add_option("--kv", load.kv, "Keys and values: f32, bf16, int8, or auto: bf16 for packed formats, else f32");
  verb.add_option("--head", load.head,
                  "LM head: full, two-stage (4 bits first, the likely rows exactly), or auto: two-stage for packed "
                  "formats");
  verb.add_option("--backend", load.backend, "cpu, or reference (readable, exact, slow)")
      ->check(CLI::IsMember({"cpu", "reference"}));
}

Result<Session> ModelOptions::open() const {
  ZAYA_ASSIGN(const std::filesystem::path directory, model_directory(model));
  const bool note = is_terminal(STDERR_FILENO);
  if (note) fmt::print(stderr, "Loading {} …", directory.string());
  Result<Session> session = Session::open(directory, load);
  if (note) fmt::print(stderr, "\r\x1b[K");
  return session;
}

void SamplingOptions::add_to(CLI::App& verb) {
  verb.add_option("-n,--max-tokens", generate.max_tokens,
                  "New tokens at most, reasoning included (default: the context)")
      ->check(CLI::NonNegativeNumber);
  verb.add_flag("--greedy", greedy, "Always take the likeliest token (temperature 0)");
  verb.add_option("--temperature", temperature, "Sampling temperature; 0 = greedy (default: the model's own)");
  verb.add_option("--top-p", top_p, "Keep the likeliest tokens of this mass");
  verb.add_option("--top-k", top_k, "Keep the k likeliest tokens; 0 = all");
  verb.add_option("--min-p", min_p, "Keep tokens of at least this share of the likeliest one's probability");
  verb.add_option("--repetition-penalty", repetition_penalty, "Above 1: discourage tokens that occurred before");
  verb.add_option("--seed", seed, "Make the sampling repeatable");
  verb.add_option("--stop", generate.stop, "End the answer before this text; may be repeated");
  verb.add_flag("--no-think", no_think, "Answer at once, without reasoning");
  verb.add_option("--think-budget", generate.think_budget, "Reasoning tokens before the answer is forced")
      ->check(CLI::NonNegativeNumber);
}

GenerateOptions SamplingOptions::result(const CLI::App& verb) const {
  GenerateOptions options = generate;
  if (verb.count("--temperature") > 0) options.temperature = temperature;
  if (greedy) options.temperature = 0;
  if (verb.count("--top-p") > 0) options.top_p = top_p;
  if (verb.count("--top-k") > 0) options.top_k = top_k;
  if (verb.count("--min-p") > 0) options.min_p = min_p;
  if (verb.count("--repetition-penalty") > 0) options.repetition_penalty = repetition_penalty;
  if (verb.count("--seed") > 0) options.seed = seed;
  options.think = !no_think;
  return options;
}

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted.store(true); };
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: a read at the prompt must return
  ::sigaction(SIGINT, &action, nullptr);
}

bool interrupt_pending() { return interrupted.load(); }
bool take_interrupt() { return interrupted.exchange(false); }

Result<engine::Outcome> generate(engine::Engine& engine, engine::Request request, const engine::EventSink& sink) {
  std::stop_source stop;
  request.cancel = stop.get_token();
  ZAYA_ASSIGN(const std::shared_ptr<engine::Generation> generation, engine.submit(std::move(request), sink));
  while (!generation->done()) {
    if (take_interrupt()) stop.request_stop();
    engine.step();
  }
  if (generation->outcome().finish == engine::Finish::failed) return generation->outcome().failure;
  return generation->outcome();
}

std::string speed_line(const engine::Outcome& outcome) {
  const int64_t tokens = static_cast<int64_t>(outcome.tokens.size());
  const std::string reasoning =
      outcome.reasoning_tokens > 0 ? fmt::format(" ({} reasoning)", outcome.reasoning_tokens) : "";
  return fmt::format("{} tokens{} at {} · prompt {} tokens at {}", tokens, reasoning,
                     rate(tokens - 1, outcome.decode_seconds), outcome.prompt_tokens,
                     rate(outcome.prompt_tokens, outcome.prefill_seconds));
}

}  // namespace zaya::app
