// Checkpoints with random weights, of any shape: for load tests, memory and speed figures at full size, and tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "checkpoint/config.h"
#include "checkpoint/tensor.h"

namespace zaya::checkpoint {

struct SyntheticOptions {
  uint64_t seed = 0;
  DType dtype = DType::bf16;            // bf16, f16 or f32; f8_e4m3 writes experts so (with factors), the rest BF16
  int64_t shard_bytes = 4'500'000'000;  // a shard holds at least one tensor, however large
};

// Bytes written so far and in all; false stops, and removes what was written.
using SyntheticProgress = std::function<bool(int64_t done, int64_t total)>;

// Writes config.json, the weights in the native layout and, for more than one shard, their index; no tokenizer. The
// directory is made when absent and must not hold weights yet. Same shape, options and seed give the same bytes.
// Memory: a few megabytes. Weights are drawn from a table of 4096 normal quantiles (largest 3.7 σ): matrices with
// σ = 1/√inputs, norms and merge scales around 1, key temperatures around 2, biases near 0, and balancing biases near
// 0 but −1 for the skip class, as in the released model.
// Fails with resource_exhausted, before writing anything, when the disk has no room for it.
Status write_synthetic(const ModelConfig& config, const std::filesystem::path& directory,
                       const SyntheticOptions& options = {}, const SyntheticProgress& progress = {});

// "8b" and "74b": the shapes of ZAYA1-8B and ZAYA1-74B-preview. "tiny": two layers, one of them with a window, 0.2 M
// weights. invalid_argument for other names.
Result<ModelConfig> shape_named(std::string_view name);

}  // namespace zaya::checkpoint
