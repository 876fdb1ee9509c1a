// The parts of `zaya eval` around the evaluation itself: strategies as text, and what works on finished files.
#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "eval/evaluation.h"

namespace zaya::app {

// "[NAME=]METHOD[:KEY=VALUE,…]", with the keys of journals (N, C, T, beta, tau, …) over `base`, and tokens_of.
Result<std::vector<eval::Strategy>> parse_strategies(const std::vector<std::string>& specs,
                                                     const reasoning::Settings& base);

// {"strategies": [{"name", "settings": {…}, "tokens_of"}]}, settings over `base`.
Result<std::vector<eval::Strategy>> read_strategies(std::string_view json, const reasoning::Settings& base);

// Names that differ, references that exist. `equal_tokens`: lets each vote match the first Markovian RSA (else the
// first strategy with rounds).
Status check_strategies(std::vector<eval::Strategy>& strategies, bool equal_tokens);

// compare, report and make-aggregation.
class EvalTools {
 public:
  virtual ~EvalTools() = default;
  // The exit code; nothing when none of them was asked for.
  virtual std::optional<int> run() const = 0;
};
std::shared_ptr<EvalTools> add_eval_tools(CLI::App& verb);

}  // namespace zaya::app
