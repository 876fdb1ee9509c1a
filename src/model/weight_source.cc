#include "model/weight_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ops/packed/coarse.h"
#include "ops/packed/codec.h"

namespace zaya::model {

using checkpoint::DType;
using checkpoint::Tensor;

const float* WeightSource::vector(const std::string& name, int64_t elements) {
  std::vector<float> read = values(name, elements);
  return status_.ok() ? keep(std::move(read)) : nullptr;
}

ops::Matrix WeightSource::grouped_convolution(const std::string& name, int64_t channels, int64_t taps, int64_t dim) {
  const std::vector<float> stored = values(name, channels * dim * taps);
  if (!status_.ok()) return {};
  std::vector<float> ordered(stored.size());
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t d = 0; d < dim; ++d) {
      for (int64_t t = 0; t < taps; ++t) {
        ordered[static_cast<size_t>((c * taps + t) * dim + d)] = stored[static_cast<size_t>((c * dim + d) * taps + t)];
      }
    }
  }
  const int64_t window = taps * dim;
  if (preset_ == Preset::as_stored || dim % ops::kBlockRows != 0) {
    const auto* data = reinterpret_cast<const std::byte*>(keep(std::move(ordered)));
    return {.data = data, .type = ops::WeightType::f32, .rows = channels, .cols = window};
  }
  std::byte* bytes = nullptr;
  float* row_scale = nullptr;
  const ops::Matrix matrix = packed(ops::WeightType::b16, channels, window, bytes, row_scale);
  for (int64_t r = 0; matrix.data != nullptr && r < channels; r += ops::kBlockRows) {
    ops::pack_block(matrix.type, ordered.data() + r * window, ops::kBlockRows, window, nullptr,
                    bytes + r / ops::kBlockRows * ops::block_bytes(matrix.type, window), row_scale + r);
  }
  return matrix;
}

ops::Matrix WeightSource::packed(ops::WeightType type, int64_t rows, int64_t cols, std::byte*& bytes,
                                 float*& row_scale) {
  ops::Matrix matrix;
  if (!status_.ok()) return matrix;
  bytes = allocate(ops::packed_bytes(type, rows, cols));
  if (bytes == nullptr) return matrix;
  row_scale = memory_.floats.emplace_back(static_cast<size_t>(rows)).data();
  return {.data = bytes, .type = type, .rows = rows, .cols = cols, .row_scale = row_scale};
}

std::byte* WeightSource::allocate(int64_t bytes) {
  Result<cpu::Pages> pages = cpu::Pages::allocate(static_cast<size_t>(bytes));
  if (!pages.ok()) return fail(pages.status()), nullptr;
  return memory_.pages.emplace_back(std::move(pages).value()).data();
}

WeightSource::CoarseFloats WeightSource::coarsen(const ops::Matrix& exact, cpu::ThreadTeam& team, std::byte* bytes) {
  const auto rows = static_cast<size_t>(exact.rows);
  CoarseFloats floats{std::vector<float>(static_cast<size_t>(exact.cols)), std::vector<float>(rows),
                      std::vector<float>(rows)};
  ops::coarse_columns(exact, floats.column_scale.data());
  team.parallel_for(ops::blocks_of(exact.rows), 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * ops::kBlockRows;
      ops::coarsen_block(exact, first, floats.column_scale.data(), bytes + b * ops::coarse_block_bytes(exact.cols),
                         floats.row_scale.data() + first, floats.error.data() + first);
    }
  });
  return floats;
}

void WeightSource::add_coarse_head(const std::string&, ops::Head& head, int threads) {
  if (head.exact.type != ops::WeightType::q8 || !status_.ok()) return;
  std::byte* copy = allocate(ops::coarse_bytes(head.exact.rows, head.exact.cols));
  if (copy == nullptr) return;
  cpu::ThreadTeam team(threads);
  CoarseFloats floats = coarsen(head.exact, team, copy);
  head.coarse = {.data = copy,
                 .column_scale = keep(std::move(floats.column_scale)),
                 .row_scale = keep(std::move(floats.row_scale)),
                 .error = keep(std::move(floats.error))};
}

namespace {

class CheckpointSource final : public WeightSource {
 public:
  CheckpointSource(const checkpoint::Checkpoint& checkpoint, Preset preset, int threads, WeightMemory& memory,
                   const Importance* importance)
      : WeightSource(memory, preset), checkpoint_(checkpoint), threads_(threads), importance_(importance) {}

  ops::Matrix matrix(const std::string& name, int64_t rows, int64_t cols) override {
    const Tensor* tensor = find(name, rows * cols);
    if (tensor == nullptr) return {};
    if (!tensor->row_scale.empty() && static_cast<int64_t>(tensor->row_scale.size()) != rows) {
      fail(Status(Code::malformed,
                  fmt::format("{} has {} row scales for {} rows", name, tensor->row_scale.size(), rows)));
      return {};
    }
    if (preset_ == Preset::as_stored) return as_stored(*tensor, rows, cols);
    const TensorClass tensor_class = class_of(name);
    if (tensor_class == TensorClass::router && tensor->dtype == DType::f32) {
      // Packing would round it; a copy, for the file is let go.
      const auto* copy = reinterpret_cast<const std::byte*>(keep(to_f32(*tensor)));
      return {.data = copy, .type = ops::WeightType::f32, .rows = rows, .cols = cols};
    }
    const float* columns = nullptr;
    if (importance_ != nullptr) {
      const auto found = importance_->find(name);
      if (found != importance_->end() && static_cast<int64_t>(found->second.size()) == cols) {
        columns = found->second.data();
      }
    }
    return pack(*tensor, format_of(preset_, tensor_class), rows, cols, columns);
  }

 protected:
  std::vector<float> values(const std::string& name, int64_t elements) override {
    const Tensor* tensor = find(name, elements);
    return tensor == nullptr ? std::vector<float>() : to_f32(*tensor);
  }

 private:
  ops::Matrix as_stored(const Tensor& tensor, int64_t rows, int64_t cols) {
    ops::Matrix matrix{.data = tensor.data.data(), .rows = rows, .cols = cols};
    switch (tensor.dtype) {
      case DType::f32: matrix.type = ops::WeightType::f32; break;
      case DType::bf16: matrix.type = ops::WeightType::bf16; break;
      case DType::f16: matrix.type = ops::WeightType::f16; break;
      case DType::f8_e4m3: matrix.type = ops::WeightType::f8_e4m3; break;
      case DType::u8:
      case DType::other:
        fail(Status(Code::unsupported, fmt::format("{} has dtype {}", tensor.name, tensor.dtype_name)));
        break;
    }
    if (!tensor.row_scale.empty()) matrix.row_scale = tensor.row_scale.data();
    return matrix;
  }

  ops::Matrix pack(const Tensor& tensor, ops::WeightType type, int64_t rows, int64_t cols, const float* importance) {
    std::byte* bytes = nullptr;
    float* row_scale = nullptr;
    const ops::Matrix matrix = packed(type, rows, cols, bytes, row_scale);
    if (matrix.data == nullptr) return matrix;
    const int64_t row_bytes = cols * static_cast<int64_t>(checkpoint::dtype_size(tensor.dtype));
    const auto blocks = [&](int64_t begin, int64_t end, int) {
      std::vector<float> block(static_cast<size_t>(ops::kBlockRows * cols));
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = b * ops::kBlockRows, count = std::min(ops::kBlockRows, rows - first);
        checkpoint::convert_to_f32(tensor.dtype, tensor.data.data() + first * row_bytes, count * cols, block.data());
        for (int64_t r = 0; r < count && !tensor.row_scale.empty(); ++r) {
          for (int64_t c = 0; c < cols; ++c) {
            block[static_cast<size_t>(r * cols + c)] *= tensor.row_scale[static_cast<size_t>(first + r)];
          }
        }
        ops::pack_block(type, block.data(), count, cols, importance, bytes + b * ops::block_bytes(type, cols),
                        row_scale + first);
      }
    };
    team().parallel_for(ops::blocks_of(rows), 1, blocks);
    return matrix;
  }

  const Tensor* find(const std::string& name, int64_t elements) {
    if (!status().ok()) return nullptr;
    const Tensor* tensor = checkpoint_.find(name);
    if (tensor == nullptr) {
      fail(Status(Code::not_found, fmt::format("the checkpoint has no tensor {}", name), "run `zaya inspect` on it"));
    } else if (tensor->elements() != elements) {
      fail(Status(Code::malformed, fmt::format("{} has {} elements, expected {}", name, tensor->elements(), elements),
                  "run `zaya inspect` on it"));
      tensor = nullptr;
    }
    return tensor;
  }

  cpu::ThreadTeam& team() {
    if (team_ == nullptr) team_ = std::make_unique<cpu::ThreadTeam>(threads_);
    return *team_;
  }

  const checkpoint::Checkpoint& checkpoint_;
  int threads_;
  const Importance* importance_;
  std::unique_ptr<cpu::ThreadTeam> team_;
};

}  // namespace

std::unique_ptr<WeightSource> checkpoint_source(const checkpoint::Checkpoint& checkpoint, Preset preset, int threads,
                                                WeightMemory& memory, const Importance* importance) {
  return std::make_unique<CheckpointSource>(checkpoint, preset, threads, memory, importance);
}

}  // namespace zaya::model
