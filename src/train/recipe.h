// A recipe: what to train, on what, how. A TOML file with the stages in order; docs/training.md lists every key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "train/architecture.h"

namespace zaya::train {

// One source of examples of a stage.
struct SourceRecipe {
  enum class Kind { gym, jsonl };
  enum class Form { text, chat };
  Kind kind = Kind::gym;
  double weight = 1;                           // share of the stage's examples, relative to its other sources
  Form form = Form::chat;                      // gym: bare task text, or a conversation
  std::map<std::string, double> environments;  // gym: weights by name; empty: all, equally
  int lowest = 0, highest = 1000;              // gym: difficulties, drawn evenly; each environment caps the upper end
  bool think = true;           // gym in chat form: with the teacher's trace, or with an empty think pair
  std::filesystem::path path;  // jsonl
};

struct OptimizerRecipe {
  double muon_rate = 0.01;
  double adam_rate = 0.003;
  double balance_rate = 1e-2;  // 0: the controller is off
  double muon_momentum = 0.95;
  double muon_decay = 0.01;
  double adam_beta1 = 0.9, adam_beta2 = 0.99;
  double adam_decay = 0;
  double clip = 1;           // of the gradient's norm over all parameters; 0: none
  double final_rate = 0.03;  // last learning rate, as a fraction
  int64_t warmup = 100;      // steps
};

struct Stage {
  std::string name;
  int64_t steps = 0;            // given, or from `tokens`
  int64_t batch_tokens = 8192;  // at most, in one forward pass
  int64_t accumulate = 1;       // forward passes per step, over all processes
  bool loss_on_all = false;     // also on what the user says; text form always is
  OptimizerRecipe optimizer;
  std::vector<SourceRecipe> sources;
};

struct Recipe {
  Architecture architecture;
  double embedding_deviation = 0.02;
  std::optional<std::filesystem::path> start;  // a checkpoint instead of fresh weights
  std::filesystem::path tokenizer;             // a folder with tokenizer.json, its config and the chat template
  std::filesystem::path out;
  uint64_t seed = 1;
  int64_t context = 1024;  // longest example
  int64_t log_every = 10, save_every = 200;
  bool bf16 = true, fused = true, checkpoint_layers = false;
  int threads = 0;
  std::vector<Stage> stages;

  int64_t total_steps() const;
};

// `overrides` are TOML assignments of dotted keys, "run.seed=2", applied on top. Paths are relative to `base`.
// Unknown keys, wrong types and meaningless values are errors that name the key.
Result<Recipe> parse_recipe(std::string_view toml, const std::filesystem::path& base,
                            const std::vector<std::string>& overrides = {});
Result<Recipe> load_recipe(const std::filesystem::path& path, const std::vector<std::string>& overrides = {});

// The factor of the learning rates at `step` of a stage's `steps`: linear warm-up, then a cosine to `final_rate`.
double rate_factor(int64_t step, int64_t steps, const OptimizerRecipe& recipe);

}  // namespace zaya::train
