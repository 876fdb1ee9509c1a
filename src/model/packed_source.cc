#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

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
        workers_(cpu::plan_workers(cpu::machine(), team_.size())),
        copies_(!packed_in_place()) {}

  ops::Matrix matrix(const std::string& name, int64_t rows, int64_t cols) override {
    for (const ops::WeightType type : {ops::WeightType::q4, ops::WeightType::q8, ops::WeightType::b16}) {
      const std::string stored = name + "." + ops::weight_type_name(type);
      if (checkpoint_.find(stored) == nullptr) continue;
      return packed_matrix(type, stored, name + ".row_scale", rows, cols);
    }
    const float* plain = vector(name, rows * cols);
    return {
        .data = reinterpret_cast<const std::byte*>(plain), .type = ops::WeightType::f32, .rows = rows, .cols = cols};
  }

  std::vector<float> values(const std::string& name, int64_t elements) override {
    const Tensor* tensor = find(name, DType::f32, elements);
    return tensor == nullptr ? std::vector<float>() : to_f32(*tensor);
  }

  void add_coarse_head(const std::string& name, ops::Head& head, int threads) override {
    if (head.exact.type != ops::WeightType::q8) return;
    // Models packed before the copy was kept in the file have none.
    if (checkpoint_.find(coarse_name(name)) == nullptr) return WeightSource::add_coarse_head(name, head, threads);
    ops::Matrix coarse =
        packed_matrix(kCoarse, coarse_name(name), coarse_error_name(name), head.exact.rows, head.exact.cols);
    if (coarse.data == nullptr) return;
    head.coarse_error = std::exchange(coarse.row_scale, head.exact.row_scale);
    head.coarse = coarse;
  }

 private:
  // The matrix stored under these names, and a float for each of its rows.
  ops::Matrix packed_matrix(ops::WeightType type, const std::string& bytes_name, const std::string& floats_name,
                            int64_t rows, int64_t cols) {
    const Tensor* bytes = find(bytes_name, DType::u8, ops::packed_bytes(type, rows, cols));
    const Tensor* floats = find(floats_name, DType::f32, rows);
    if (bytes == nullptr || floats == nullptr) return {};
    if (!copies_ && is_aligned(*bytes, kAlignment) && is_aligned(*floats, alignof(float))) {
      return {.data = bytes->data.data(),
              .type = type,
              .rows = rows,
              .cols = cols,
              .row_scale = reinterpret_cast<const float*>(floats->data.data())};
    }
    std::byte* copy = nullptr;
    float* row_floats = nullptr;
    const ops::Matrix matrix = packed(type, rows, cols, copy, row_floats);
    if (matrix.data == nullptr) return matrix;
    copy_blocks(bytes->data.data(), ops::blocks_of(rows), ops::block_bytes(type, cols), copy);
    std::memcpy(row_floats, floats->data.data(), floats->data.size());
    checkpoint_.release(*bytes);
    return matrix;
  }

  // What the kernels read packed bytes as. `zaya pack` puts them at multiples of 64, once it did not.
  static constexpr uintptr_t kAlignment = alignof(uint32_t);
  static bool is_aligned(const Tensor& tensor, uintptr_t alignment) {
    return reinterpret_cast<uintptr_t>(tensor.data.data()) % alignment == 0;
  }

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
  const bool copies_;
};

}  // namespace

bool packed_in_place() { return cpu::machine().nodes() == 1; }

std::unique_ptr<WeightSource> packed_source(const checkpoint::PackedCheckpoint& packed, int threads,
                                            WeightMemory& memory) {
  return std::make_unique<PackedSource>(packed, threads, memory);
}

}  // namespace zaya::model
