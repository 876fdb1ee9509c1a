// The mixture's experts: rows sorted by expert, then two products with the gate between them.
#include <algorithm>
#include <array>

#include "ops/cpu/cpu_backend.h"

namespace zaya::ops {

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
  const bool bf16_tiles = tiles_ != nullptr && is_packed(experts[0].gate.type);
  const bool int8_tiles = int8_tiles_ != nullptr && bits_ == CodeBits::eight && has_codes(experts[0].gate);
  std::vector<int64_t> tile_row(experts.size() + 1, 0);
  for (size_t e = 0; e < experts.size(); ++e) {
    tile_row[e + 1] = tile_row[e] + tile_groups(first[e + 1] - first[e]) * kTileRows;
  }
  Input tile_input, tile_gate;
  if (bf16_tiles) {
    tile_input.half = {half_input_.get(bf16_elements(tile_row.back(), hidden)), tiles_across(hidden)};
    tile_gate.half = {half_gate_.get(bf16_elements(tile_row.back(), width)), tiles_across(width)};
  }
  if (int8_tiles) {
    tile_input.bytes = {int8_input_.get(int8_tile_bytes(tile_row.back(), hidden)), int8_chunks(hidden)};
    tile_gate.bytes = {int8_gate_.get(int8_tile_bytes(tile_row.back(), width)), int8_chunks(width)};
  }
  // The tiles of expert e, of the kind that w takes, or none where its rows are too few.
  const auto tiles_of = [&](const Matrix& w, const Input& all, size_t e) {
    Input part;
    const int64_t count = first[e + 1] - first[e];
    if (on_int8_tiles(w, count)) {
      part.bytes = {all.bytes.chunk(tile_row[e], 0), all.bytes.chunks};
    } else if (on_bf16_tiles(w, count)) {
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
        tiles_->gather_bf16(tokens.data(), count, hidden, to.half, at);
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
    if (rows == 1) {
      const auto e = static_cast<size_t>(choice[slot_of[0]]);
      tasks = halving_tasks({&weight_rows, 1},
                            std::max(row_unit(experts[e].gate, 1), on_int8_tiles(experts[e].down, 1) ? int8_unit : 0));
      for (Task& task : tasks) task.matrix = e, task.count = 1;
      return;
    }
    // Enough tasks for every worker even when a single expert is touched.
    const int64_t pieces = std::max<int64_t>(1, (team_.size() * 16 + touched - 1) / std::max<int64_t>(1, touched));
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
    const int64_t strip_rows = tile_output.bytes.data != nullptr
                                   ? kInt8Cols
                                   : std::max<int64_t>(1, 4 / task.count) * 8 * kBlockRows;  // few: longer streams
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
