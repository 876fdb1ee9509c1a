// A packed model: a directory in Hugging Face form whose model.safetensors holds weights as the kernels read them
// (ops/packed/layout.h). Its metadata says so: "zaya.packed" is the version of the layout, "zaya.preset" the formats it
// was packed with. A matrix NAME is stored as bytes NAME.q4, NAME.q8 or NAME.b16 and FP32 factors NAME.row_scale, or as
// plain FP32 under its own name; everything else is FP32. An 8-bit head has a copy beside it, NAME.coarse.q3, with FP32
// NAME.coarse.column_scale, .row_scale and .error (ops/packed/coarse.h). Names are canonical (checkpoint.h).
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/status.h"
#include "checkpoint/config.h"
#include "checkpoint/tensor.h"

namespace zaya::checkpoint {

inline constexpr const char* kPackedVersion = "1";

// The preset that the weights in `directory` were packed with; empty for a checkpoint that is not packed, and for
// anything that cannot be read (whoever opens it will say why).
std::string packed_preset(const std::filesystem::path& directory);

class PackedCheckpoint {
 public:
  // unsupported for another version of the layout; malformed for files that are no packed model.
  static Result<PackedCheckpoint> open(const std::filesystem::path& directory);

  const ModelConfig& config() const { return config_; }
  const std::string& preset() const { return preset_; }

  // The tensor of this stored name, or nullptr. Data is aligned to 64 bytes if the file was written by `zaya pack`.
  const Tensor* find(std::string_view name) const;

  const std::map<std::string, Tensor, std::less<>>& tensors() const { return tensors_; }

  // The whole file, mapped.
  std::span<const std::byte> bytes() const { return file_.bytes(); }

  // The memory of a tensor that was copied.
  void release(const Tensor& tensor) const { file_.release(tensor.data); }

 private:
  ModelConfig config_;
  std::string preset_;
  MappedFile file_;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

}  // namespace zaya::checkpoint
