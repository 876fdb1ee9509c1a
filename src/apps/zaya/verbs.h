// One function per verb: it declares the verb's options on the command line and returns what runs it. The result is the
// exit code: 0 fine, 1 failed, 2 misused.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace zaya::app {

using Action = std::function<int()>;

Action add_run(CLI::App& verb);
Action add_chat(CLI::App& verb);
Action add_serve(CLI::App& verb);
Action add_inspect(CLI::App& verb);
Action add_logits(CLI::App& verb);
Action add_tokenize(CLI::App& verb);
Action add_template(CLI::App& verb);
Action add_synth(CLI::App& verb);
Action add_bench(CLI::App& verb);
Action add_doctor(CLI::App& verb);
Action add_pack(CLI::App& verb);
Action add_solve(CLI::App& verb);
Action add_eval(CLI::App& verb);
Action add_gym(CLI::App& verb);
Action add_train(CLI::App& verb);

}  // namespace zaya::app
