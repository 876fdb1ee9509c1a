#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "model/weight_source.h"
#include "ops/packed/layout.h"

namespace zaya::model {
namespace {

using checkpoint::DType;
using checkpoint::Tensor;

class PackedSource final : public WeightSource {
 public:
  PackedSource(const checkpoint::PackedCheckpoint& packed, int threads, WeightMemory& memory)
      : WeightSource(memory, Preset::q4), checkpoint_(packed), team_(threads) {}

  ops::Matrix matrix(const std::string& name, int64_t rows, int64_t cols) override {
    for (const ops::WeightType type : {ops::WeightType::q4, ops::WeightType::q8, ops::WeightType::b16}) {
      const std::string stored = name + "." + ops::weight_type_name(type);
      if (checkpoint_.find(stored) == nullptr) continue;
      const Tensor* bytes = find(stored, DType::u8, ops::packed_bytes(type, rows, cols));
      const Tensor* factors = find(name + ".row_scale", DType::f32, rows);
      if (bytes == nullptr || factors == nullptr) return {};
      std::byte* copy = nullptr;
      float* row_scale = nullptr;
      const ops::Matrix matrix = packed(type, rows, cols, copy, row_scale);
      if (matrix.data == nullptr) return matrix;
      const int64_t block = ops::block_bytes(type, cols);
      team_.parallel_for(ops::blocks_of(rows), 16, [&](int64_t begin, int64_t end, int) {
        std::memcpy(copy + begin * block, bytes->data.data() + begin * block,
                    static_cast<size_t>((end - begin) * block));
      });
      std::memcpy(row_scale, factors->data.data(), factors->data.size());
      checkpoint_.release(*bytes);
      return matrix;
    }
    const float* plain = vector(name, rows * cols);
    return {
        .data = reinterpret_cast<const std::byte*>(plain), .type = ops::WeightType::f32, .rows = rows, .cols = cols};
  }

  std::vector<float> values(const std::string& name, int64_t elements) override {
    const Tensor* tensor = find(name, DType::f32, elements);
    return tensor == nullptr ? std::vector<float>() : to_f32(*tensor);
  }

 private:
  const Tensor* find(const std::string& name, DType dtype, int64_t elements) {
    const Tensor* tensor = checkpoint_.find(name);
    if (tensor == nullptr) {
      fail(Status(Code::not_found, fmt::format("the packed model has no tensor {}", name),
                  "pack the model again with `zaya pack`"));
    } else if (tensor->dtype != dtype || tensor->elements() != elements) {
      fail(Status(Code::malformed,
                  fmt::format("{} is {} of {} elements, expected {} of {}", name, tensor->dtype_name,
                              tensor->elements(), checkpoint::dtype_name(dtype), elements),
                  "config.json and the weights do not belong together"));
      tensor = nullptr;
    }
    return tensor;
  }

  const checkpoint::PackedCheckpoint& checkpoint_;
  cpu::ThreadTeam team_;
};

}  // namespace

std::unique_ptr<WeightSource> packed_source(const checkpoint::PackedCheckpoint& packed, int threads,
                                            WeightMemory& memory) {
  return std::make_unique<PackedSource>(packed, threads, memory);
}

}  // namespace zaya::model
