// A checkpoint: a directory in Hugging Face form (config.json and *.safetensors), memory-mapped, in either published
// layout, seen through one set of names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "checkpoint/config.h"
#include "checkpoint/tensor.h"

namespace zaya::checkpoint {

// Canonical names are the native ones (spec: transformers' modeling_zaya), except that experts are always single
// matrices: "model.layers.L.mlp.experts.E.gate" [I, H], ".up" [I, H], ".down" [H, I], whichever way the file stacks
// them. Shapes under canonical names are exactly those that the config implies; convolutions keep their three
// dimensions. "lm_head.weight" is present only when the config unties it.
class Checkpoint {
 public:
  // Opens and checks everything that can be checked without reading weights: headers, offsets, names, dtypes, shapes.
  // A missing, unknown or mis-shaped tensor is an error.
  static Result<Checkpoint> open(const std::filesystem::path& directory);

  const ModelConfig& config() const { return config_; }
  const std::filesystem::path& directory() const { return directory_; }

  // The tensor with this canonical name, or nullptr. After open() succeeded, every tensor the config calls for is there.
  const Tensor* find(std::string_view canonical_name) const;

  // All canonical names with their tensors, in name order.
  const std::map<std::string, Tensor, std::less<>>& tensors() const { return tensors_; }

 private:
  // (implementation's choice)
  ModelConfig config_;
  std::filesystem::path directory_;
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::vector<MappedFile> files_;
  std::vector<std::unique_ptr<std::vector<float>>> scales_;
};

}  // namespace zaya::checkpoint
