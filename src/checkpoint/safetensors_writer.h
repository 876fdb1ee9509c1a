// Writes one safetensors file as a stream: declare every tensor, then append their bytes in that order. Memory use is
// the header's, whatever the tensors weigh.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/tensor.h"

namespace zaya::checkpoint {

struct TensorDeclaration {
  std::string name;
  DType dtype = DType::f32;  // not `other`
  std::vector<int64_t> shape;
};

class SafetensorsWriter {
 public:
  // Creates `path` beside its final name (renamed by finish()) and writes the header. Names must differ.
  static Result<SafetensorsWriter> create(const std::filesystem::path& path,
                                          const std::vector<TensorDeclaration>& tensors,
                                          const std::map<std::string, std::string>& metadata = {});

  // The next bytes of the data, tensor after tensor, in pieces of any size.
  Status append(std::span<const std::byte> bytes);

  // Checks that every declared byte came, and gives the file its name. Without it the file is removed.
  Status finish();

  int64_t data_bytes() const { return expected_; }  // what append() must be given in all

  SafetensorsWriter(SafetensorsWriter&& other) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&& other) noexcept;
  ~SafetensorsWriter();

 private:
  SafetensorsWriter() = default;
  Status write_all(std::span<const std::byte> bytes);
  std::filesystem::path temporary() const;

  std::filesystem::path path_;
  int file_ = -1;
  int64_t expected_ = 0;
  int64_t written_ = 0;
};

// The header (length, JSON, padding) of a file with these tensors, one after the other. The padding makes the data
// start at a multiple of 64 bytes. invalid_argument for repeated names, `other`, or sizes that overflow.
Result<std::string> safetensors_header(const std::vector<TensorDeclaration>& tensors,
                                       const std::map<std::string, std::string>& metadata, int64_t* data_bytes);

// One FP32 tensor in one file: what `zaya logits --out` writes.
Status write_safetensors_f32(const std::filesystem::path& path, const std::string& name,
                             const std::vector<int64_t>& shape, std::span<const float> values);

}  // namespace zaya::checkpoint
