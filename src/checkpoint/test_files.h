// What the tests of this room share: temporary directories and small checkpoints that can be damaged on purpose.
#pragma once

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_writer.h"
#include "checkpoint/synthetic.h"

namespace zaya::checkpoint {

// A directory that lives as long as the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "zaya-checkpoint-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct FileTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::vector<std::byte> data;
};

inline FileTensor float_tensor(std::string name, std::vector<int64_t> shape, const std::vector<float>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {std::move(name), DType::f32, std::move(shape), {bytes.begin(), bytes.end()}};
}

// `count` zero elements of any supported dtype.
inline FileTensor zero_tensor(std::string name, DType dtype, std::vector<int64_t> shape) {
  FileTensor tensor{std::move(name), dtype, std::move(shape), {}};
  size_t bytes = dtype_size(dtype);
  for (int64_t size : tensor.shape) bytes *= static_cast<size_t>(size);
  tensor.data.resize(bytes);
  return tensor;
}

inline void write_tensors(const std::filesystem::path& path, const std::vector<FileTensor>& tensors) {
  std::vector<TensorDeclaration> declarations;
  for (const FileTensor& tensor : tensors) declarations.push_back({tensor.name, tensor.dtype, tensor.shape});
  auto writer = SafetensorsWriter::create(path, declarations);
  ASSERT_TRUE(writer.ok()) << writer.status().to_string();
  for (const FileTensor& tensor : tensors) ASSERT_TRUE(writer->append(tensor.data).ok());
  ASSERT_TRUE(writer->finish().ok());
}

// A file with this header text and data, however wrong.
inline std::string raw_safetensors(const std::string& header, size_t data_bytes) {
  std::string file(8, '\0');
  for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  return file + header + std::string(data_bytes, '\0');
}

// A model on disk whose parts a test changes before it writes them.
struct ModelFiles {
  nlohmann::json config;
  std::vector<FileTensor> tensors;

  FileTensor* find(const std::string& name) {
    for (FileTensor& tensor : tensors) {
      if (tensor.name == name) return &tensor;
    }
    return nullptr;
  }
  FileTensor take(const std::string& name) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].name != name) continue;
      FileTensor taken = std::move(tensors[i]);
      tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(i));
      return taken;
    }
    ADD_FAILURE() << "no tensor " << name;
    return {};
  }
  void write(const std::filesystem::path& directory) const {
    ASSERT_TRUE(write_file(directory / "config.json", config.dump()).ok());
    write_tensors(directory / "model.safetensors", tensors);
  }
};

// The "tiny" shape, in FP32 unless told otherwise.
inline ModelFiles tiny_model(DType dtype = DType::f32, const ModelConfig& shape = *shape_named("tiny")) {
  ModelFiles files;
  TemporaryDirectory directory;
  const Status written = write_synthetic(shape, directory.path(), {.seed = 1, .dtype = dtype});
  EXPECT_TRUE(written.ok()) << written.to_string();
  files.config = nlohmann::json::parse(*read_file(directory.path() / "config.json"));
  const std::string bytes = *read_file(directory.path() / "model.safetensors");
  auto parsed = parse_safetensors(std::as_bytes(std::span(bytes)), "model.safetensors");
  EXPECT_TRUE(parsed.ok()) << parsed.status().to_string();
  for (const Tensor& tensor : parsed->tensors) {
    files.tensors.push_back({tensor.name, tensor.dtype, tensor.shape, {tensor.data.begin(), tensor.data.end()}});
  }
  return files;
}

}  // namespace zaya::checkpoint
