// The parts of `zaya solve` around the run itself.
#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <vector>

#include "engine/service.h"
#include "reasoning/generator.h"
#include "reasoning/journal.h"
#include "reasoning/run.h"

namespace zaya::app {

// Servers instead of the engine in this process.
struct RemoteOptions {
  std::vector<std::string> endpoints;
  std::string model, key_variable = "OPENAI_API_KEY", extra;
  int64_t per_endpoint = 64;
  double timeout = 600;
  int64_t attempts = 8;
  bool given() const { return !endpoints.empty(); }
  void add_to(CLI::App& verb);
};

// `model_directory` (may be empty): whose tokenizer counts and cuts.
Result<std::unique_ptr<reasoning::Generator>> open_remote(const RemoteOptions& options,
                                                          const std::string& model_directory);

// Runs `command` in a shell with the answer as JSON on its standard input; exit status 0 scores 1, others 0.
reasoning::Verifier command_verifier(const std::string& command, const std::string& problem);

// Prints a journal for people, or its result line. The exit code.
int show_run(const reasoning::SavedRun& saved, bool json);

// Prints tokens, memory and time of a run on this machine, after measuring it for a moment. The exit code.
int estimate(const reasoning::Run& run, reasoning::Generator& generator, const engine::Service* service, bool json);

// Lines {"gold": …, "text": …, "kind": …} on stdin; {"answer": …, "same": …} on stdout. The exit code.
int compare_answers();

}  // namespace zaya::app
