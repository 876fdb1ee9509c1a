// zaya-train: `zaya train` runs this program.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <functional>

#include "train/torch/commands.h"

namespace {

using zaya::Status;
using Action = std::function<Status()>;

void add_compute(CLI::App& verb, zaya::train::ComputeOptions& options) {
  verb.add_flag("--bf16", options.bf16, "Multiply matrices in BF16");
  verb.add_flag("!--plain", options.fused, "Without the CPU's fused operations");
  verb.add_flag("--checkpoint-layers", options.checkpoint_layers, "Compute layers again in the backward pass");
  verb.add_option("--threads", options.threads, "Threads (default: one per core)");
}

Action add_gradients(CLI::App& verb) {
  auto options = std::make_shared<zaya::train::GradientsOptions>();
  verb.add_option("MODEL", options->model, "Model directory")->required();
  verb.add_option("--tokens", options->tokens, "Token ids")->delimiter(',')->required();
  verb.add_option("--out", options->out, "safetensors file of gradients; with --steps, a model directory")->required();
  verb.add_option("--steps", options->steps, "Take steps of plain AdamW instead, and print the loss before each");
  verb.add_option("--rate", options->rate, "Their learning rate");
  add_compute(verb, options->compute);
  return [options] { return write_gradients(*options); };
}

Action add_logits(CLI::App& verb) {
  struct Options {
    std::string model, out;
    std::vector<int32_t> tokens;
    zaya::train::ComputeOptions compute;
  };
  auto options = std::make_shared<Options>();
  verb.add_option("MODEL", options->model, "Model directory")->required();
  verb.add_option("--tokens", options->tokens, "Token ids")->delimiter(',')->required();
  verb.add_option("--out", options->out, "safetensors file to write")->required();
  add_compute(verb, options->compute);
  return
      [options] { return zaya::train::write_logits(options->model, options->tokens, options->out, options->compute); };
}

Action add_peak(CLI::App& verb) {
  auto options = std::make_shared<zaya::train::ComputeOptions>();
  add_compute(verb, *options);
  return [options]() -> Status {
    ZAYA_ASSIGN(const double gflops, measure_peak(*options));
    fmt::print("{:.0f} GFLOP/s\n", gflops);
    return Status();
  };
}

Action add_run(CLI::App& verb) {
  auto options = std::make_shared<zaya::train::RunOptions>();
  verb.add_option("RECIPE", options->recipe, "Recipe (TOML)")->required();
  verb.add_option("--set", options->overrides, "Replace a value of the recipe, as in run.seed=2 or stage.0.steps=10");
  verb.add_option("--until", options->until, "Stop after this stage");
  verb.add_option("--stop-after", options->stop_after, "Save and stop after this step");
  verb.add_flag("--quiet", options->quiet, "Only the progress line");
  return [options] { return run_recipe(*options); };
}

}  // namespace

int main(int argc, char** argv) {
  struct Verb {
    const char* name;
    const char* description;
    const char* example;
    Action (*add)(CLI::App&);
  };
  const Verb verbs[] = {
      {"run", "Train as a recipe says, from its beginning or from where it was stopped",
       "zaya train run recipes/nano.toml", add_run},
      {"gradients", "Gradients of every parameter on given tokens",
       "zaya train gradients MODEL --tokens 2,5,9 --out gradients.safetensors", add_gradients},
      {"logits", "Logits of every position, computed by the trainer",
       "zaya train logits MODEL --tokens 2,5,9 --out logits.safetensors", add_logits},
      {"peak", "Measure the speed of large matrix products, which the log's gflops are a share of",
       "zaya train peak --bf16", add_peak},
  };
  CLI::App app("Train ZAYA1 models.");
  app.name("zaya train");
  app.require_subcommand(1);
  int exit_code = 0;
  for (const Verb& verb : verbs) {
    CLI::App* sub = app.add_subcommand(verb.name, verb.description);
    sub->footer(std::string("Example: ") + verb.example);
    sub->callback([action = verb.add(*sub), &exit_code] {
      const Status status = action();
      if (status.ok()) return;
      fmt::print(stderr, "zaya train: {}\n", status.to_string());
      exit_code = status.code() == zaya::Code::invalid_argument ? 2 : 1;
    });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return exit_code;
}
