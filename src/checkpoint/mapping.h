// From the tensors that files hold to the canonical ones that a config calls for, in either layout.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/config.h"
#include "checkpoint/tensor.h"

namespace zaya::checkpoint {

// What is wrong with one tensor. `status` is the sentence; `name` the file's spelling.
struct TensorProblem {
  enum class Kind { missing, unexpected, wrong_shape, wrong_dtype, duplicate, scale };
  Kind kind = Kind::missing;
  std::string name;
  Status status;
};

struct Mapping {
  std::map<std::string, Tensor, std::less<>> tensors;            // canonical name → view into the files
  std::map<std::string, std::string, std::less<>> canonical_of;  // file name → canonical name, for people
  std::vector<std::unique_ptr<std::vector<float>>> scales;       // what row_scale points to
  std::vector<TensorProblem> problems;
  std::vector<std::string> notes;
};

// Maps `files` (every tensor of every shard) by `config.layout` and checks names, dtypes and shapes. Reads no weights
// but the FP8 factors and, when a checkpoint stores a head that its config ties, that head: as transformers does, a
// stored head that differs from the embedding is used (config.tie_embeddings becomes false), an equal one is ignored.
Mapping map_tensors(ModelConfig& config, const std::vector<const Tensor*>& files);

}  // namespace zaya::checkpoint
