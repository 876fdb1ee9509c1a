// Writes a packed model (checkpoint/packed.h) from a checkpoint of either layout, one tensor at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "model/calibration.h"
#include "model/formats.h"

namespace zaya::model {

// What packing did to the matrices of one class.
struct PackedClass {
  TensorClass tensor_class = TensorClass::expert;
  ops::WeightType type = ops::WeightType::f32;
  int64_t weights = 0;
  int64_t bytes = 0;
  double signal = 0;  // Σ W²
  double noise = 0;   // Σ (W − packed W)²

  double decibels() const;  // 10 · log10(signal / noise); infinity when nothing was lost
};

struct PackReport {
  std::vector<PackedClass> classes;
  int64_t bytes = 0;  // of model.safetensors
};

// Bytes written so far and in all; false stops, and removes what was written.
using PackProgress = std::function<bool(int64_t done, int64_t total)>;

// `out` is made when absent and must not hold weights yet; it receives config.json, model.safetensors and the other
// small files of the checkpoint (tokenizer, templates). `importance` (calibration.h) may be null. Memory: the largest
// packed matrix, and the pages of the file at hand.
Result<PackReport> pack(const checkpoint::Checkpoint& checkpoint, Preset preset, const std::filesystem::path& out,
                        int threads, const PackProgress& progress = {}, const Importance* importance = nullptr);

}  // namespace zaya::model
