#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "cpu/topology.h"
#include "model/weight_source.h"
#include "ops/packed/coarse.h"

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
    // Models packed before this copy was kept in the file have none, or one in four bits.
    if (checkpoint_.find(coarse_name(name)) == nullptr) return WeightSource::add_coarse_head(name, head, threads);
    const int64_t rows = head.exact.rows, cols = head.exact.cols;
    const Tensor* stored = find(coarse_name(name), DType::u8, ops::coarse_bytes(rows, cols));
    if (stored == nullptr) return;
    const ops::CoarseHead coarse{.data = placed(*stored, ops::blocks_of(rows), ops::coarse_block_bytes(cols)),
                                 .column_scale = vector(coarse_name(name, "column_scale"), cols),
                                 .row_scale = vector(coarse_name(name, "row_scale"), rows),
                                 .error = vector(coarse_name(name, "error"), rows)};
    if (status().ok()) head.coarse = coarse;
  }

 private:
  // The matrix stored under these names, and a float for each of its rows.
  ops::Matrix packed_matrix(ops::WeightType type, const std::string& bytes_name, const std::string& floats_name,
                            int64_t rows, int64_t cols) {
    const Tensor* bytes = find(bytes_name, DType::u8, ops::packed_bytes(type, rows, cols));
    const Tensor* floats = find(floats_name, DType::f32, rows);
    if (bytes == nullptr || floats == nullptr) return {};
    const std::byte* data = placed(*bytes, ops::blocks_of(rows), ops::block_bytes(type, cols));
    if (data == nullptr) return {};
    const float* row_scale = !copies_ && is_aligned(*floats, alignof(float))
                                 ? reinterpret_cast<const float*>(floats->data.data())
                                 : keep(to_f32(*floats));
    return {.data = data, .type = type, .rows = rows, .cols = cols, .row_scale = row_scale};
  }

  // A tensor of blocks where it lies, or a copy of it; null after a failure.
  const std::byte* placed(const Tensor& stored, int64_t blocks, int64_t block_bytes) {
    if (!copies_ && is_aligned(stored, kAlignment)) return stored.data.data();
    std::byte* copy = allocate(blocks * block_bytes);
    if (copy == nullptr) return nullptr;
    copy_blocks(stored.data.data(), blocks, block_bytes, copy);
    checkpoint_.release(stored);
    return copy;
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
