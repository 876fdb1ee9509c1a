// What a run needs to go on exactly: one safetensors file (FP32 weights and moments, the rest as JSON in its metadata),
// written beside its name and renamed, so that a process killed at any moment leaves the old or the new state whole.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/status.h"
#include "train/data.h"
#include "train/torch/optimizer.h"
#include "train/torch/weights.h"

namespace zaya::train {

struct Progress {
  int64_t step = 0;        // steps taken in all
  size_t stage = 0;        // the stage that the next step belongs to
  int64_t stage_step = 0;  // steps of it already taken
  DataPosition data;       // of that stage; `drawn` is empty at its start
  int64_t tokens = 0;      // seen in all
  double seconds = 0;      // spent training
};

Status save_state(const std::filesystem::path& path, const Architecture& architecture, Weights& weights,
                  Optimizer& optimizer, const Progress& progress);

// Into weights and an optimizer of the same architecture; invalid_argument when the file's is another.
Result<Progress> load_state(const std::filesystem::path& path, const Architecture& architecture, Weights& weights,
                            Optimizer& optimizer);

}  // namespace zaya::train
