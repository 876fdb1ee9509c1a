// What a model's matrices are multiplied with on some text: packing then spends its exactness on the columns that
// matter.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "ops/backend.h"

namespace zaya::model {

// By canonical matrix name, the mean squared input of each column: what pack_block takes as importance. An error e in a
// weight of column c adds e²·importance[c] to the mean squared error of the matrix' outputs, whatever the other columns
// do.
using Importance = std::map<std::string, std::vector<float>, std::less<>>;

// Texts done so far and in all; false stops.
using CalibrationProgress = std::function<bool(int64_t done, int64_t total)>;

// Runs each text (token ids) through the checkpoint as it is stored, on `backend`, `chunk` tokens a step. An expert
// counts what it was chosen for, weighed as its output is; one that few tokens chose leans on what its layer's others
// got. Left out: the router and the convolution, which are not packed below 16 bits, and the embedding unless it is the
// head as well. invalid_argument when there is no token; the model's errors for tokens it does not know.
Result<Importance> calibrate(checkpoint::Checkpoint checkpoint, std::unique_ptr<ops::Backend> backend,
                             std::span<const std::vector<int32_t>> texts, const CalibrationProgress& progress = {},
                             int64_t chunk = 512);

}  // namespace zaya::model
