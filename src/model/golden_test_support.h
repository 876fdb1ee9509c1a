// Goldens: what transformers computed for the small random models in src/model/testdata (tools/reference/README.md).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "model/model.h"

namespace zaya::model {

inline std::filesystem::path testdata() { return std::filesystem::path(ZAYA_SOURCE_DIR) / "src/model/testdata"; }

// Every case's name; "X-original" is the same model as X in the original layout and shares its goldens.
inline std::vector<std::string> golden_cases() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(testdata())) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Golden {
 public:
  explicit Golden(std::string name) {
    if (name.ends_with("-original")) name.resize(name.size() - std::strlen("-original"));
    Result<MappedFile> file = MappedFile::open(testdata() / name / "golden.safetensors");
    if (!file.ok()) {
      ADD_FAILURE() << file.status().to_string();
      return;
    }
    file_ = std::make_unique<MappedFile>(std::move(file).value());
    Result<checkpoint::Safetensors> parsed = checkpoint::parse_safetensors(file_->bytes(), name);
    if (!parsed.ok()) {
      ADD_FAILURE() << parsed.status().to_string();
      return;
    }
    for (checkpoint::Tensor& tensor : parsed->tensors) tensors_.emplace(tensor.name, std::move(tensor));
  }

  bool has(const std::string& name) const { return tensors_.contains(name); }
  std::vector<float> floats(const std::string& name) const { return read<float, float>(name, "F32"); }
  std::vector<int32_t> integers(const std::string& name) const { return read<int64_t, int32_t>(name, "I64"); }

 private:
  template <class Stored, class Value>
  std::vector<Value> read(const std::string& name, const std::string& dtype) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end() || found->second.dtype_name != dtype) {
      ADD_FAILURE() << "the golden has no " << dtype << " tensor " << name;
      return {};
    }
    std::vector<Value> values(found->second.data.size() / sizeof(Stored));
    for (size_t i = 0; i < values.size(); ++i) {
      Stored stored;
      std::memcpy(&stored, found->second.data.data() + i * sizeof(Stored), sizeof(Stored));
      values[i] = static_cast<Value>(stored);
    }
    return values;
  }

  std::unique_ptr<MappedFile> file_;
  std::map<std::string, checkpoint::Tensor> tensors_;
};

inline std::unique_ptr<Model> load_golden_model(const std::string& name, const std::string& backend, int threads = 2) {
  Result<checkpoint::Checkpoint> checkpoint = checkpoint::Checkpoint::open(testdata() / name);
  if (!checkpoint.ok()) {
    ADD_FAILURE() << name << ": " << checkpoint.status().to_string();
    return nullptr;
  }
  auto made = ops::make_backend(backend, {.threads = threads});
  Result<std::unique_ptr<Model>> model = Model::load(std::move(checkpoint).value(), std::move(made).value());
  if (!model.ok()) {
    ADD_FAILURE() << name << ": " << model.status().to_string();
    return nullptr;
  }
  return std::move(model).value();
}

// Greatest |a − b| relative to the standard deviation of `expected`.
inline double relative_difference(const std::vector<float>& expected, const float* actual) {
  double mean = 0, squares = 0, greatest = 0;
  for (float x : expected) mean += x;
  mean /= static_cast<double>(expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    squares += (expected[i] - mean) * (expected[i] - mean);
    // A NaN must not hide behind a comparison that is false.
    const double difference = std::fabs(static_cast<double>(expected[i]) - actual[i]);
    if (!(difference <= greatest)) greatest = difference;
  }
  return greatest / std::sqrt(squares / static_cast<double>(expected.size()));
}

}  // namespace zaya::model
