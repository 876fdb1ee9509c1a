// What the verbs share: the default model, loading, sampling options, error lines.
#pragma once

#include <CLI/CLI.hpp>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "libzaya/session.h"

namespace zaya::app {

inline constexpr int kFine = 0, kFailed = 1, kMisused = 2;

// Prints "zaya: message (hint)" to stderr and returns the exit code that fits it.
int fail(const Status& status);

// MODEL as given, or the model that comes with the program: $ZAYA_MODEL, else models/nano beside the build or in the
// installation's share directory.
Result<std::filesystem::path> model_directory(const std::string& given);

// A JSON text of anything; bytes that are no UTF-8 come out as U+FFFD rather than as an exception.
std::string json_text(const text::Json& json, int indent = -1);

// The present time, as strftime formats it.
std::string utc_text(const char* format);

// Whether the stream is a terminal that wants colour (NO_COLOR is honoured).
bool is_terminal(int file_descriptor);
bool wants_colour(int file_descriptor);

// MODEL, --threads, --backend.
struct ModelOptions {
  std::string model;
  LoadOptions load;
  void add_to(CLI::App& verb);
  // Opens the model, with a line on the terminal while that takes more than a moment.
  Result<Session> open() const;
};

// The options of run and chat that become GenerateOptions.
struct SamplingOptions {
  GenerateOptions generate;
  bool greedy = false, no_think = false;
  double temperature = 0, top_p = 0, min_p = 0, repetition_penalty = 0;
  int64_t top_k = 0;
  uint64_t seed = 0;
  void add_to(CLI::App& verb);
  // What was given on the command line; the rest stays the model's own.
  GenerateOptions result(const CLI::App& verb) const;
};

// Steps the engine until the request is done. SIGINT cancels the request instead of ending the program.
Result<engine::Outcome> generate(engine::Engine& engine, engine::Request request, const engine::EventSink& sink);

// Set by SIGINT while generate() runs, or while somebody waits at a prompt; reading resets it.
bool take_interrupt();
bool interrupt_pending();  // without taking it
void catch_interrupts();

// "132 tokens (98 reasoning) at 245.1 tok/s · prompt 57 tokens at 1900.0 tok/s"
std::string speed_line(const engine::Outcome& outcome);

}  // namespace zaya::app
