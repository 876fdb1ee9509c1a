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

// Canonical names are the native ones (transformers' ZayaForCausalLM), except that experts are always single matrices:
// "model.layers.L.mlp.experts.E.gate" [I, H], ".up" [I, H], ".down" [H, I], whichever way the file stacks them. Shapes
// under canonical names are exactly those that the config implies (names.h lists them); convolutions keep their three
// dimensions. "lm_head.weight" is present only when config().tie_embeddings is false.
class Checkpoint {
 public:
  // Opens and checks everything that can be checked without reading weights: headers, offsets, names, dtypes, shapes.
  // A missing, unknown or mis-shaped tensor is an error that names it, and up to four more of its kind. NaN and Inf are
  // not looked for (inspect.h does). The data of every tensor is aligned for its dtype.
  static Result<Checkpoint> open(const std::filesystem::path& directory);

  // As in config.json, with the stop tokens of generation_config.json added, and tie_embeddings as the files have it.
  const ModelConfig& config() const { return config_; }
  const std::filesystem::path& directory() const { return directory_; }

  // The tensor with this canonical name, or nullptr. After open() succeeded, every tensor the config calls for is
  // there.
  const Tensor* find(std::string_view canonical_name) const;

  // All canonical names with their tensors, in name order.
  const std::map<std::string, Tensor, std::less<>>& tensors() const { return tensors_; }

  // Gives back the memory of a tensor's pages: it will be read from the file again if it must.
  void release(std::string_view canonical_name) const;

  // One sentence per odd but harmless finding: assumed defaults, tensors that are not used.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  ModelConfig config_;
  std::filesystem::path directory_;
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::vector<std::string> notes_;
  // What the tensors' spans point into.
  std::vector<MappedFile> files_;
  std::vector<std::unique_ptr<std::vector<float>>> scales_;
  std::vector<std::unique_ptr<std::vector<uint64_t>>> copies_;
};

}  // namespace zaya::checkpoint
