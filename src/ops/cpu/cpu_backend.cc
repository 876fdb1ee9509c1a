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
      amx_(activations != Activations::f32 ? amx_kernels(isa) : nullptr),
      amx_int8_(activations == Activations::int8 ? amx_int8_kernels(isa) : nullptr),
      codes_(activations != Activations::f32 ? code_kernels(isa) : nullptr),
      bits_(activations == Activations::int8 ? CodeBits::eight : CodeBits::fifteen),
      tile_rows_(codes_ == nullptr ? kAmxFewestRows : kAmxFewestRowsBesideCodes),
      scratch_(static_cast<size_t>(team_.size())),
      strips_(scratch_.size()) {}

std::string CpuBackend::name() const {
  if (amx_int8_ != nullptr) return std::string("cpu/") + cpu::isa_name(isa_) + ", int8 activations";
  return std::string("cpu/") + cpu::isa_name(isa_) + (amx_ != nullptr ? ", bf16 activations" : "") +
         (codes_ == nullptr            ? ""
          : bits_ == CodeBits::fifteen ? ", 15-bit activations of few rows"
                                       : ", int8 activations of few rows");
}

void CpuBackend::spread(int64_t count, int64_t work, const Body& body, int64_t unit) {
  if (count <= 0) return;
  if (count * work < kWorthSharing) return body(0, count, 0);
  // Four pieces a worker even out a preempted neighbour; whole units waste no lanes.
  const int64_t piece = (count + team_.size() * 4 - 1) / (team_.size() * 4);
  const int64_t grain = unit == kRowTile && count < kRowTile * team_.size() ? 1 : (piece + unit - 1) / unit * unit;
  team_.parallel_for(count, grain, body);
}

CpuBackend::Input CpuBackend::input_for(const Matrix& w, const float* x, int64_t n) {
  InputBuffers& buffers = input_buffers_[static_cast<size_t>(w.type)];
  Input input{.x = x, .half = {}, .bytes = {}};
  if (on_tiles(w, n)) {
    if (on_int8_tiles(w, n)) {
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
  if (to.half.data != nullptr) amx_->to_bf16(x, n, cols, stride, to.half, row, col);
  if (to.bytes.data != nullptr) amx_int8_->quantize(w.type, x, n, cols, stride, to.bytes, row, col);
}

int64_t CpuBackend::row_unit(const Matrix& w, int64_t n) const {
  if (!is_packed(w.type)) return kRowTile;
  if (n > 1) return kBlockCols;  // outputs are the next product's columns: whole superblocks of them
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
    return amx_->matmul(w.type, data, end - begin, w.cols, row_scale, bias, x.half, n, out, out_stride,
                        scratch(worker, amx_scratch()));
  }
  if (x.bytes.data != nullptr) {
    return amx_int8_->matmul(w.type, data, end - begin, w.cols, row_scale, bias, x.bytes, n, out, out_stride,
                             scratch(worker, amx_int8_scratch()));
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
  const int64_t pieces = team_.size() * 4;
  for (size_t i = 0; i < projections.size(); ++i) {
    const Matrix& w = *projections[i].w;
    const int64_t unit = row_unit(w, n),
                  piece = std::max<int64_t>(1, (rows + pieces * unit - 1) / (pieces * unit)) * unit;
    for (int64_t begin = 0; begin < w.rows; begin += piece) {
      tasks.push_back({.matrix = i, .begin = begin, .end = std::min(w.rows, begin + piece)});
    }
  }
  run_tasks(tasks, rows * n * projections[0].w->cols, [&](const Task& task, int worker) {
    const Projection& p = projections[task.matrix];
    multiply(*p.w, p.bias, task.begin, task.end, inputs[static_cast<size_t>(p.w->type)], n, p.out + task.begin,
             p.stride, worker);
  });
}

void CpuBackend::run_tasks(const std::vector<Task>& tasks, int64_t work,
                           const std::function<void(const Task& task, int worker)>& body) {
  const auto range = [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) body(tasks[static_cast<size_t>(i)], worker);
  };
  const auto count = static_cast<int64_t>(tasks.size());
  if (work < kWorthSharing) return range(0, count, 0);
  team_.parallel_for(count, 1, range);
}

void CpuBackend::experts(std::span<const Expert> experts, const float* x, int64_t n, int64_t top_k,
                         const int32_t* choice, const float* weight, float* out) {
  const int64_t hidden = experts[0].down.rows, width = experts[0].gate.rows;
  const int64_t slots = n * top_k;

  // Slots (token, k) sorted by expert, so that each expert's rows are contiguous. `slot_of[i]` is the slot of row i,
  // row_of the other way.
  std::vector<int64_t> first(experts.size() + 1, 0), slot_of, row_of(static_cast<size_t>(slots), -1);
  for (int64_t i = 0; i < slots; ++i) {
    if (static_cast<size_t>(choice[i]) < experts.size()) ++first[static_cast<size_t>(choice[i]) + 1];
  }
  for (size_t e = 0; e < experts.size(); ++e) first[e + 1] += first[e];
  slot_of.resize(static_cast<size_t>(first.back()));
  {
    std::vector<int64_t> next(first.begin(), first.end() - 1);
    for (int64_t i = 0; i < slots; ++i) {
      const size_t e = static_cast<size_t>(choice[i]);
      if (e >= experts.size()) continue;  // the skip class: contributes nothing
      row_of[static_cast<size_t>(i)] = next[e]++;
      slot_of[static_cast<size_t>(row_of[static_cast<size_t>(i)])] = i;
    }
  }
  const int64_t rows = first.back();
  float* gathered = gathered_.get(rows * hidden);
  float* gate = gate_.get(rows * width);
  float* down = down_.get(rows * hidden);
  // As tiles, each expert's rows start with a tile of their own; row i of expert e is at its first tile's row + i.
  const bool tiles = amx_ != nullptr && is_packed(experts[0].gate.type);
  std::vector<int64_t> tile_row(experts.size() + 1, 0);
  for (size_t e = 0; e < experts.size(); ++e) {
    tile_row[e + 1] = tile_row[e] + tile_groups(first[e + 1] - first[e]) * kTileRows;
  }
  Input tile_input, tile_gate;
  if (tiles) {
    tile_input.half = {half_input_.get(bf16_elements(tile_row.back(), hidden)), tiles_across(hidden)};
    tile_gate.half = {half_gate_.get(bf16_elements(tile_row.back(), width)), tiles_across(width)};
  }
  if (tiles && amx_int8_ != nullptr) {
    tile_input.bytes = {int8_input_.get(int8_tile_bytes(tile_row.back(), hidden)), int8_chunks(hidden)};
    tile_gate.bytes = {int8_gate_.get(int8_tile_bytes(tile_row.back(), width)), int8_chunks(width)};
  }
  // The tiles of expert e, of the kind that w takes, or none where its rows are too few.
  const auto tiles_of = [&](const Matrix& w, const Input& all, size_t e) {
    Input part;
    const int64_t count = first[e + 1] - first[e];
    if (on_int8_tiles(w, count)) {
      part.bytes = {all.bytes.chunk(tile_row[e], 0), all.bytes.chunks};
    } else if (on_tiles(w, count)) {
      part.half = {all.half.data + tile_row[e] / kTileRows * all.half.across * kTileElements, all.half.across};
    }
    return part;
  };
  const int64_t across = superblocks_of(hidden), across_gate = superblocks_of(width);
  CodeColumns* code_input = codes_ != nullptr ? code_input_.get(rows * across) : nullptr;
  CodeColumns* code_gate = codes_ != nullptr ? code_gate_.get(rows * across_gate) : nullptr;
  spread(rows, hidden, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end;) {
      const auto e = static_cast<size_t>(choice[slot_of[static_cast<size_t>(i)]]);
      // As many rows of this expert as share a tile.
      const int64_t at = i - first[e], count = std::min({end - i, first[e + 1] - i, kTileRows - at % kTileRows});
      std::array<const float*, kTileRows> tokens;
      for (int64_t k = 0; k < count; ++k) {
        tokens[static_cast<size_t>(k)] = x + slot_of[static_cast<size_t>(i + k)] / top_k * hidden;
      }
      const Matrix& taken_by = experts[e].gate;
      const Input to = tiles_of(taken_by, tile_input, e);
      if (to.half.data != nullptr) {
        amx_->gather_bf16(tokens.data(), count, hidden, to.half, at);
        i += count;
        continue;
      }
      const bool codes = on_codes(taken_by, first[e + 1] - first[e]);
      for (int64_t k = 0; k < count; ++k, ++i) {
        const float* token = tokens[static_cast<size_t>(k)];
        if (to.bytes.data != nullptr) {
          fill_tiles(taken_by, token, 1, hidden, hidden, to, at + k, 0);
        } else if (codes) {
          codes_->quantize(bits_, taken_by.type, token, 1, hidden, hidden, code_input + i * across, across);
        } else {
          std::copy_n(token, hidden, gathered + i * hidden);
        }
      }
    }
  });

  // Two parallel phases over (expert, block of weight rows).
  std::vector<Task> tasks;
  int64_t touched = 0;
  for (size_t e = 0; e < experts.size(); ++e) touched += first[e + 1] > first[e] ? 1 : 0;
  const auto plan = [&](int64_t weight_rows, int64_t int8_unit) {
    tasks.clear();
    // Enough tasks for every worker even when a single expert is touched.
    const int64_t pieces = std::max<int64_t>(1, team_.size() * 8 / std::max<int64_t>(1, touched));
    for (size_t e = 0; e < experts.size(); ++e) {
      const int64_t count = first[e + 1] - first[e];
      const int64_t unit =
          std::max(row_unit(experts[e].gate, count), on_int8_tiles(experts[e].down, count) ? int8_unit : 0);
      const int64_t block = std::max(unit, (weight_rows / pieces + unit - 1) / unit * unit);
      for (int64_t begin = 0; count > 0 && begin < weight_rows; begin += block) {
        tasks.push_back({.matrix = e,
                         .row = first[e],
                         .count = count,
                         .begin = begin,
                         .end = std::min(weight_rows, begin + block)});
      }
    }
  };
  plan(width, kInt8Cols);  // outputs that share a scale are one task's
  run_tasks(tasks, rows * width * hidden * 2, [&](const Task& task, int worker) {
    const Expert& expert = experts[task.matrix];
    Input input = tiles_of(expert.gate, tile_input, task.matrix);
    input.x = gathered + task.row * hidden;
    input.codes = on_codes(expert.gate, task.count) ? code_input + task.row * across : nullptr;
    input.across = across;
    const bool code_output = on_codes(expert.down, task.count);
    const Input tile_output = tiles_of(expert.down, tile_gate, task.matrix);
    // A strip of weight rows at a time, so that gate and up meet in cache. It goes to memory as the next product's kind
    // of input only.
    const int64_t strip_rows = tile_output.bytes.data != nullptr ? kInt8Cols : 8 * kBlockRows;
    const bool floats = !on_tiles(expert.down, task.count) && !code_output;
    const int64_t stride = floats ? width : strip_rows;
    float* up = strips_[static_cast<size_t>(worker)].get(task.count * strip_rows * 2);
    for (int64_t begin = task.begin; begin < task.end; begin += strip_rows) {
      const int64_t end = std::min(task.end, begin + strip_rows);
      float* strip = floats ? gate + task.row * width + begin : up + task.count * strip_rows;
      multiply(expert.gate, nullptr, begin, end, input, task.count, strip, stride, worker);
      multiply(expert.up, nullptr, begin, end, input, task.count, up, strip_rows, worker);
      for (int64_t i = 0; i < task.count; ++i) kernels_.silu_mul(strip + i * stride, up + i * strip_rows, end - begin);
      fill_tiles(expert.down, strip, task.count, end - begin, stride, tile_output, 0, begin);
      if (code_output) {
        codes_->quantize(bits_, expert.down.type, strip, task.count, end - begin, stride,
                         code_gate + task.row * across_gate + begin / kBlockCols, across_gate);
      }
    }
  });
  plan(hidden, 0);
  run_tasks(tasks, rows * width * hidden, [&](const Task& task, int worker) {
    const Matrix& w = experts[task.matrix].down;
    Input input = tiles_of(w, tile_gate, task.matrix);
    input.x = gate + task.row * width;
    input.codes = on_codes(w, task.count) ? code_gate + task.row * across_gate : nullptr;
    input.across = across_gate;
    multiply(w, nullptr, task.begin, task.end, input, task.count, down + task.row * hidden + task.begin, hidden,
             worker);
  });

  // Rows of one token are added in the order of its choices, whatever else is in the step.
  spread(n, hidden * top_k, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      bool any = false;
      for (int64_t slot = t * top_k; slot < (t + 1) * top_k; ++slot) {
        const int64_t row = row_of[static_cast<size_t>(slot)];
        if (row < 0) continue;
        (any ? kernels_.add_scaled : kernels_.scaled)(down + row * hidden, weight[slot], out + t * hidden, hidden);
        any = true;
      }
      if (!any) std::fill_n(out + t * hidden, hidden, 0.0f);
    }
  });
}

}  // namespace zaya::ops
