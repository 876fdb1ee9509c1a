// The options of the command line that become reasoning::Settings, for the verbs that make such runs.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>

#include "base/status.h"
#include "reasoning/settings.h"

namespace zaya::app {

struct SettingsOptions {
  std::string preset, prompts, tail, close, answers, order, carry, choice, answer_kind;
  reasoning::Settings given;  // the numbers; those that were not given are ignored
  int64_t parallel = 0;
  bool no_overlap = false;

  void add_to(CLI::App& verb);

  // What preset and options ask for, without the method: set it, apply it and validate. `context`: of the model, 0 =
  // not known. `prompts_name`: of the prompt template.
  Result<reasoning::Settings> settings(const CLI::App& verb, int64_t context, std::string& prompts_name) const;
};

}  // namespace zaya::app
