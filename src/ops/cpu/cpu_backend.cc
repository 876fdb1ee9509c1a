#include "ops/cpu/cpu_backend.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace zaya::ops {
namespace {

// Below this many multiply-adds (some 10 µs) a call runs on one thread: waking the team costs about as much, and far
// more on a machine that is busy otherwise.
constexpr int64_t kWorthSharing = 1 << 17;

}  // namespace

CpuBackend::CpuBackend(int threads, cpu::Isa isa, Activations activations)
    : team_(threads),
      isa_(isa),
      kernels_(kernels_for(isa)),
      tiles_(activations != Activations::f32 ? tile_kernels(isa) : nullptr),
      int8_tiles_(activations != Activations::f32 ? int8_tile_kernels(isa) : nullptr),
      codes_(activations != Activations::f32 ? code_kernels(isa) : nullptr),
      bits_(activations == Activations::int8 ? CodeBits::eight : CodeBits::fifteen),
      scratch_(static_cast<size_t>(team_.size())),
      strips_(scratch_.size()) {}

std::string CpuBackend::name() const {
  if (int8_tiles_ != nullptr && bits_ == CodeBits::eight) {
    return std::string("cpu/") + cpu::isa_name(isa_) + ", int8 activations";
  }
  return std::string("cpu/") + cpu::isa_name(isa_) + (tiles_ != nullptr ? ", bf16 activations" : "") +
         (codes_ == nullptr            ? ""
          : bits_ == CodeBits::fifteen ? ", 15-bit activations of few rows"
                                       : ", int8 activations of few rows");
}

void CpuBackend::spread(int64_t count, int64_t work, const Body& body, int64_t unit) {
  if (count <= 0) return;
  if (count * work < kWorthSharing) return body(0, count, 0);
  // Four pieces a worker, or more, even out a preempted neighbour; whole units waste no lanes.
  const int64_t piece = std::max<int64_t>(1, count / (team_.size() * 4));
  const int64_t grain = unit == kRowTile && count < kRowTile * team_.size() ? 1 : (piece + unit - 1) / unit * unit;
  team_.parallel_for(count, grain, body);
}

CpuBackend::Input CpuBackend::input_for(const Matrix& w, const float* x, int64_t n) {
  InputBuffers& buffers = input_buffers_[static_cast<size_t>(w.type)];
  Input input{.x = x, .half = {}, .bytes = {}};
  if (const bool bytes = on_int8_tiles(w, n); bytes || on_bf16_tiles(w, n)) {
    if (bytes) {
      input.bytes = {buffers.bytes.get(int8_tile_bytes(n, w.cols)), int8_chunks(w.cols)};
    } else {
      input.half = {buffers.half.get(bf16_elements(n, w.cols)), tiles_across(w.cols)};
    }
    spread(n, w.cols, [&](int64_t begin, int64_t end, int) {
      fill_tiles(w, x + begin * w.cols, end - begin, w.cols, w.cols, input, begin, 0);
    });
  } else if (on_codes(w, n)) {
    input.across = superblocks_of(w.cols);
    CodeColumns* columns = buffers.codes.get(n * input.across);
    spread(n, w.cols, [&](int64_t begin, int64_t end, int) {
      codes_->quantize(bits_, w.type, x + begin * w.cols, end - begin, w.cols, w.cols, columns + begin * input.across,
                       input.across);
    });
    input.codes = columns;
  }
  return input;
}

void CpuBackend::fill_tiles(const Matrix& w, const float* x, int64_t n, int64_t cols, int64_t stride, const Input& to,
                            int64_t row, int64_t col) const {
  if (to.half.data != nullptr) tiles_->to_bf16(x, n, cols, stride, to.half, row, col);
  if (to.bytes.data != nullptr) int8_tiles_->quantize(w.type, x, n, cols, stride, to.bytes, row, col);
}

int64_t CpuBackend::row_unit(const Matrix& w, int64_t n) const {
  if (!is_packed(w.type)) return kRowTile;
  if (n > 1) return kBlockCols;  // outputs are the next product's columns: whole superblocks of them
  if (on_codes(w, n) && cpu::memory_streams() == 1) return kBlockCols;
  // Eight blocks at once keep as many memory streams busy; fewer where that would leave a worker without any.
  if (w.rows >= 8 * kBlockRows * team_.size()) return 8 * kBlockRows;
  return on_codes(w, n) ? kBlockCols : kBlockRows;
}

void CpuBackend::multiply(const Matrix& w, const float* bias, int64_t begin, int64_t end, const Input& x, int64_t n,
                          float* out, int64_t out_stride, int worker) {
  const float* row_scale = w.row_scale != nullptr ? w.row_scale + begin : nullptr;
  if (bias != nullptr) bias += begin;
  if (!is_packed(w.type)) {
    return kernels_.matmul(w.type, w.row(begin), end - begin, w.cols, row_scale, bias, x.x, n, out, out_stride,
                           scratch(worker, matmul_scratch(w.cols)));
  }
  const std::byte* data = w.data + begin / kBlockRows * block_bytes(w.type, w.cols);
  if (x.half.data != nullptr) {
    return tiles_->matmul(w.type, data, end - begin, w.cols, row_scale, bias, x.half, n, out, out_stride,
                          scratch(worker, tile_scratch()));
  }
  if (x.bytes.data != nullptr) {
    return int8_tiles_->matmul(w.type, data, end - begin, w.cols, row_scale, bias, x.bytes, n, out, out_stride,
                               scratch(worker, int8_tile_scratch()));
  }
  if (x.codes != nullptr) {
    return codes_->matmul(bits_, w.type, data, end - begin, w.cols, row_scale, bias, x.codes, x.across, n, out,
                          out_stride);
  }
  kernels_.packed_matmul(w.type, data, end - begin, w.cols, row_scale, bias, x.x, n, out, out_stride,
                         scratch(worker, packed_scratch(w.cols)));
}

void CpuBackend::embed(const Matrix& embedding, std::span<const int32_t> tokens, const float* scale, const float* bias,
                       float* out) {
  const int64_t width = embedding.cols;
  spread(static_cast<int64_t>(tokens.size()), width, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int32_t token = tokens[static_cast<size_t>(i)];
      for (int64_t c = 0; c < width; ++c) out[i * width + c] = (embedding.at(token, c) + bias[c]) * scale[c];
    }
  });
}

void CpuBackend::normalise(const float* x, float squares, int64_t width, const float* weight, double eps,
                           float* out) const {
  const double mean = squares / static_cast<double>(width);
  kernels_.normalise(x, static_cast<float>(1.0 / std::sqrt(mean + eps)), weight, out, width);
}

void CpuBackend::rms_norm(const float* x, int64_t n, int64_t width, const float* weight, double eps, float* out) {
  spread(n, width, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float* row = x + i * width;
      normalise(row, kernels_.sum_squares(row, width), width, weight, eps, out + i * width);
    }
  });
}

void CpuBackend::merge(const ResidualScales& scales, const float* branch, int64_t n, int64_t width, float* residual) {
  spread(n, width, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) kernels_.merge(scales, branch + i * width, residual + i * width, width);
  });
}

void CpuBackend::merge_norm(const ResidualScales& scales, const float* branch, int64_t n, int64_t width,
                            float* residual, const float* weight, double eps, float* normed) {
  spread(n, width * 2, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = residual + i * width;
      normalise(row, kernels_.merge(scales, branch + i * width, row, width), width, weight, eps, normed + i * width);
    }
  });
}

void CpuBackend::project(std::span<const Projection> projections, const float* x, int64_t n) {
  // The input in the form that each type of weights takes, made once.
  std::array<Input, kWeightTypes> inputs;
  std::vector<Task> tasks;
  int64_t rows = 0;
  for (const Projection& p : projections) {
    Input& input = inputs[static_cast<size_t>(p.w->type)];
    if (input.x == nullptr) input = input_for(*p.w, x, n);
    rows += p.w->rows;
  }
  const int64_t pieces = team_.size() * 16;
  if (n == 1) {
    std::vector<int64_t> rows_of;
    int64_t unit = 0;
    for (const Projection& p : projections) rows_of.push_back(p.w->rows), unit = std::max(unit, row_unit(*p.w, 1));
    tasks = halving_tasks(rows_of, unit);
  } else {
    for (size_t i = 0; i < projections.size(); ++i) {
      const Matrix& w = *projections[i].w;
      const int64_t unit = row_unit(w, n),
                    piece = std::max<int64_t>(1, (rows + pieces * unit - 1) / (pieces * unit)) * unit;
      for (int64_t begin = 0; begin < w.rows; begin += piece) {
        tasks.push_back({.matrix = i, .begin = begin, .end = std::min(w.rows, begin + piece)});
      }
    }
  }
  run_tasks(tasks, rows * n * projections[0].w->cols, [&](const Task& task, int worker) {
    const Projection& p = projections[task.matrix];
    multiply(*p.w, p.bias, task.begin, task.end, inputs[static_cast<size_t>(p.w->type)], n, p.out + task.begin,
             p.stride, worker);
  });
}

std::vector<CpuBackend::Task> CpuBackend::halving_tasks(std::span<const int64_t> rows, int64_t unit) const {
  const auto units_of = [&](int64_t count) { return (count + unit - 1) / unit; };
  int64_t units = 0;
  for (const int64_t count : rows) units += units_of(count);
  const int64_t workers = team_.size();
  std::vector<std::vector<Task>> parts(static_cast<size_t>(workers));
  size_t matrix = 0;
  int64_t at = 0;  // unit of this matrix
  for (int64_t worker = 0; worker < workers; ++worker) {
    for (int64_t left = units * (worker + 1) / workers - units * worker / workers; left > 0;) {
      while (at == units_of(rows[matrix])) ++matrix, at = 0;
      const int64_t piece = std::min((left + 1) / 2, units_of(rows[matrix]) - at);
      parts[static_cast<size_t>(worker)].push_back(
          {.matrix = matrix, .begin = at * unit, .end = std::min(rows[matrix], (at + piece) * unit)});
      at += piece, left -= piece;
    }
  }
  size_t most = 0;
  for (const std::vector<Task>& part : parts) most = std::max(most, part.size());
  std::vector<Task> tasks;
  for (std::vector<Task>& part : parts) {
    part.resize(most);
    tasks.insert(tasks.end(), part.begin(), part.end());
  }
  return tasks;
}

void CpuBackend::run_tasks(const std::vector<Task>& tasks, int64_t work,
                           const std::function<void(const Task& task, int worker)>& body) {
  const auto range = [&](int64_t begin, int64_t end, int worker) {
    for (const Task& task : std::span(tasks).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin))) {
      if (task.begin < task.end) body(task, worker);
    }
  };
  const auto count = static_cast<int64_t>(tasks.size());
  if (work < kWorthSharing) return range(0, count, 0);
  team_.parallel_for(count, 1, range);
}

}  // namespace zaya::ops
