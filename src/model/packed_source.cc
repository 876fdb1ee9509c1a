#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "cpu/topology.h"
#include "model/weight_source.h"
#include "ops/packed/layout.h"

namespace zaya::model {
namespace {

using checkpoint::DType;
using checkpoint::Tensor;

class PackedSource final : public WeightSource {
 public:
  PackedSource(const checkpoint::PackedCheckpoint& packed, int threads, WeightMemory& memory)
      : WeightSource(memory, Preset::q4),
        checkpoint_(packed),
        team_(threads),
        workers_(cpu::plan_workers(cpu::machine(), team_.size())) {}

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
      copy_blocks(bytes->data.data(), ops::blocks_of(rows), ops::block_bytes(type, cols), copy);
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
  // Each node's rows by workers of that node, whose first touch puts them there.
  void copy_blocks(const std::byte* from, int64_t blocks, int64_t block_bytes, std::byte* to) {
    constexpr int64_t kGrain = 16;  // blocks
    const std::vector<cpu::RowRange> ranges = cpu::plan_rows(workers_, blocks, kGrain);
    std::vector<std::atomic<int64_t>> next(ranges.size());
    for (size_t i = 0; i < ranges.size(); ++i) next[i] = ranges[i].begin;
    team_.run([&](int worker) {
      for (size_t i = 0; i < ranges.size(); ++i) {
        if (ranges[i].node != workers_[static_cast<size_t>(worker)]->node) continue;
        for (int64_t begin = next[i].fetch_add(kGrain); begin < ranges[i].end; begin = next[i].fetch_add(kGrain)) {
          const int64_t count = std::min(kGrain, ranges[i].end - begin);
          cpu::map_pages({from + begin * block_bytes, static_cast<size_t>(count * block_bytes)});
          std::memcpy(to + begin * block_bytes, from + begin * block_bytes, static_cast<size_t>(count * block_bytes));
        }
      }
    });
  }

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
  std::vector<const cpu::Processor*> workers_;
};

}  // namespace

std::unique_ptr<WeightSource> packed_source(const checkpoint::PackedCheckpoint& packed, int threads,
                                            WeightMemory& memory) {
  return std::make_unique<PackedSource>(packed, threads, memory);
}

}  // namespace zaya::model
