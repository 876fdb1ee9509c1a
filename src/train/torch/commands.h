// The verbs of zaya-train. No tensors here, so that main.cc need not read libtorch. Nothing throws.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"

namespace zaya::train {

struct ComputeOptions {
  bool bf16 = false;
  bool fused = true;
  bool checkpoint_layers = false;
  int threads = 0;  // 0: one per core
};

struct GradientsOptions {
  std::filesystem::path model, out;
  std::vector<int32_t> tokens;
  int steps = 0;  // > 0: that many steps of plain AdamW instead; prints one loss a line, `out` is a checkpoint
  double rate = 1e-3;
  ComputeOptions compute;
};

// The gradient of the mean next-token loss over `tokens` (one document) for every parameter, as safetensors under the
// native names, and the loss itself as "loss".
Status write_gradients(const GradientsOptions& options);

// FP32 logits [n, V] of one document, as `zaya logits` writes them.
Status write_logits(const std::filesystem::path& model, const std::vector<int32_t>& tokens,
                    const std::filesystem::path& out, const ComputeOptions& compute);

// The greatest speed of matrix products that libtorch reaches here, in GFLOP/s: what the log's "gflops" is a share of.
Result<double> measure_peak(const ComputeOptions& compute);

struct RunOptions {
  std::filesystem::path recipe;
  std::vector<std::string> overrides;  // "run.seed=2"
  std::string until;                   // stop after this stage
  int64_t stop_after = 0;              // > 0: save and stop after this step
  bool quiet = false;                  // the progress line only
};

// Runs a recipe to its end, from its beginning or from where it was stopped. Writes into run.out: log.jsonl,
// state.safetensors (what resuming reads), and models: latest/, and one folder per stage that is complete.
// SIGINT and SIGTERM save and stop.
Status run_recipe(const RunOptions& options);

}  // namespace zaya::train
