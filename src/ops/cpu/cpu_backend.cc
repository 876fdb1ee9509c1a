#include "ops/cpu/cpu_backend.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "ops/select_experts.h"

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
      codes_(activations != Activations::f32 ? code_kernels(isa) : nullptr),
      bits_(activations == Activations::int8 ? CodeBits::eight : CodeBits::fifteen),
      tile_rows_(codes_ == nullptr            ? kAmxFewestRows
                 : bits_ == CodeBits::fifteen ? kAmxFewestRowsBeside15Bits
                                              : kAmxFewestRowsBeside8Bits),
      scratch_(static_cast<size_t>(team_.size())),
      strips_(scratch_.size()) {}

std::string CpuBackend::name() const {
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
  Input input{.x = x, .half = {}};
  if (on_tiles(w, n)) {
    input.half = {buffers.half.get(bf16_elements(n, w.cols)), tiles_across(w.cols)};
    spread(n, w.cols, [&](int64_t begin, int64_t end, int) {
      amx_->to_bf16(x + begin * w.cols, end - begin, w.cols, w.cols, input.half, begin, 0);
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

void CpuBackend::rms_norm(const float* x, int64_t n, int64_t width, const float* weight, double eps, float* out) {
  spread(n, width, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float* row = x + i * width;
      const double mean = kernels_.sum_squares(row, width) / static_cast<double>(width);
      const float inverse = static_cast<float>(1.0 / std::sqrt(mean + eps));
      for (int64_t c = 0; c < width; ++c) out[i * width + c] = row[c] * inverse * weight[c];
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

void CpuBackend::merge(const ResidualScales& s, const float* branch, int64_t n, int64_t width, float* residual) {
  spread(n, width, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float* b = branch + i * width;
      float* r = residual + i * width;
      for (int64_t c = 0; c < width; ++c) {
        r[c] = (b[c] + s.branch_bias[c]) * s.branch_scale[c] + (r[c] + s.residual_bias[c]) * s.residual_scale[c];
      }
    }
  });
}

void CpuBackend::cca(const CcaShape& s, const CcaWeights& w, std::span<const Run> runs, const float* c0_rows,
                     const float* value_current, const float* value_delayed, const float* cos, const float* sin,
                     float* q_out) {
  const int64_t channels = s.channels(), history = s.history(), dim = s.head_dim, half_values = s.kv_width() / 2;
  const int64_t heads = s.num_heads + s.num_kv_heads, group = s.num_heads / s.num_kv_heads;
  const int64_t lookback = s.conv_time1 - 1, window = s.conv_time1 * dim;

  // All runs go through together, each behind its own history. Of step i of the depthwise convolution: its first
  // input's row in c0. Of token i: its run, and its window's first step.
  int64_t rows = 0;
  conv_inputs_.clear();
  conv_tokens_.clear();
  for (const Run& run : runs) {
    for (int64_t t = 0; t < run.count; ++t) {
      conv_tokens_.push_back({&run, t, rows + history + t, static_cast<int64_t>(conv_inputs_.size()) + t});
    }
    for (int64_t t = 0; t < lookback + run.count; ++t) conv_inputs_.push_back(rows + t);
    rows += history + run.count;
  }
  const auto n = static_cast<int64_t>(conv_tokens_.size()), steps = static_cast<int64_t>(conv_inputs_.size());

  float* c0 = conv_input_.get(rows * channels);
  float* next = c0;
  for (const Run& run : runs) {
    next = std::copy_n(run.conv_history, history * channels, next);
    next = std::copy_n(c0_rows + run.first_row * channels, run.count * channels, next);
  }

  // Depthwise, also over the history that the grouped convolution looks back on. Stored per head, [head][step][dim], so
  // that the grouped convolution's window of a token is contiguous: it becomes a plain product.
  float* c1 = conv_middle_.get(heads * steps * dim);
  spread(steps, channels * s.conv_time0, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float* input = c0 + conv_inputs_[static_cast<size_t>(i)] * channels;
      for (int64_t h = 0; h < heads; ++h) {
        float* out = c1 + (h * steps + i) * dim;
        std::copy_n(w.depthwise_bias + h * dim, dim, out);
        for (int64_t tap = 0; tap < s.conv_time0; ++tap) {
          const float* from = input + tap * channels + h * dim;
          const float* weights = w.depthwise + h * dim * s.conv_time0 + tap;
          for (int64_t d = 0; d < dim; ++d) out[d] += weights[d * s.conv_time0] * from[d];
        }
      }
    }
  });

  float* c2 = conv_output_.get(n * channels);
  const bool tiles = on_tiles(w.grouped, n);
  const int64_t head_elements = bf16_elements(n, window);
  uint16_t* half_windows = tiles ? half_input_.get(heads * head_elements) : nullptr;
  spread(heads, n * dim * window, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t h = begin; h < end; ++h) {
      // The windows of consecutive tokens overlap, so they are laid out anew, a row per token.
      const float* middle = c1 + h * steps * dim;
      Input input;
      if (tiles) {
        input.half = {half_windows + h * head_elements, tiles_across(window)};
        for (int64_t i = 0; i < n;) {  // run by run, whose windows follow each other
          const ConvToken& first = conv_tokens_[static_cast<size_t>(i)];
          amx_->to_bf16(middle + first.step * dim, first.run->count, window, dim, input.half, i, 0);
          i += first.run->count;
        }
      } else {
        float* windows = strips_[static_cast<size_t>(worker)].get(n * window);
        for (int64_t i = 0; i < n; ++i) {
          std::copy_n(middle + conv_tokens_[static_cast<size_t>(i)].step * dim, window, windows + i * window);
        }
        input.x = windows;
      }
      multiply(w.grouped, w.grouped_bias, h * dim, (h + 1) * dim, input, n, c2 + h * dim, channels, worker);
    }
  });

  spread(n, channels * 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const ConvToken& token = conv_tokens_[static_cast<size_t>(i)];
      const Run& run = *token.run;
      const int64_t row = run.first_row + token.index, position = run.start + token.index;
      float* mixed = c2 + i * channels;
      const float* q0 = c0 + token.row * channels;
      const float* k0 = q0 + s.q_width();
      for (int64_t g = 0; g < s.num_kv_heads; ++g) {
        for (int64_t d = 0; d < dim; ++d) {
          float sum = 0;
          for (int64_t h = g * group; h < (g + 1) * group; ++h) {
            const float mean = (q0[h * dim + d] + k0[g * dim + d]) * 0.5f;
            mixed[h * dim + d] += mean;
            sum += mean;
          }
          mixed[s.q_width() + g * dim + d] += sum / static_cast<float>(group);
        }
      }

      const int64_t half = s.rotary_dims / 2;
      for (int64_t h = 0; h < heads; ++h) {
        float* head = mixed + h * dim;
        const float length = std::max(std::sqrt(kernels_.sum_squares(head, dim)), kNormFloor);
        float factor = std::sqrt(static_cast<float>(dim)) / length;
        if (h >= s.num_heads) factor *= w.temperature[h - s.num_heads];
        for (int64_t d = 0; d < dim; ++d) head[d] *= factor;
        for (int64_t d = 0; d < half; ++d) {
          const float a = head[d], b = head[d + half];
          head[d] = a * cos[row * half + d] - b * sin[row * half + d];
          head[d + half] = b * cos[row * half + d] + a * sin[row * half + d];
        }
      }

      std::copy_n(mixed, s.q_width(), q_out + row * s.q_width());
      const float* current = value_current + row * half_values;
      const float* delayed = token.index == 0 ? run.delayed_value : value_delayed + (row - 1) * half_values;
      for (int64_t g = 0; g < s.num_kv_heads; ++g) {
        float* key = mixed + s.q_width() + g * dim;
        store_kv(run.cache.type, key, dim, run.cache.key(g, position));
        float* value = key;  // stored, so its place is free
        for (int64_t d = 0, channel = g * dim; d < dim; ++d, ++channel) {
          value[d] = channel < half_values ? current[channel] : delayed[channel - half_values];
        }
        store_kv(run.cache.type, value, dim, run.cache.value(g, position));
      }
    }
  });

  for (const Run& run : runs) {
    std::copy_n(c0 + run.count * channels, history * channels, run.conv_history);
    std::copy_n(value_delayed + (run.first_row + run.count - 1) * half_values, half_values, run.delayed_value);
    c0 += (history + run.count) * channels;
  }
}

void CpuBackend::route(const RouterWeights& w, const float* x, int64_t n, int64_t top_k, float* state, int32_t* choice,
                       float* weight) {
  const int64_t width = w.down.rows, classes = w.out.rows;
  float* a = router_a_.get(n * width);
  float* b = router_b_.get(n * width);
  float* logits = router_logits_.get(n * classes);
  const auto gelu = [&](float* values) {
    spread(n * width, 32, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        values[i] = 0.5f * values[i] * (1.0f + std::erf(values[i] * 0.70710678118654752f));
      }
    });
  };

  project(w.down, w.down_bias, x, n, a, width);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < width; ++c) {
      if (w.state_scale != nullptr) a[i * width + c] += state[i * width + c] * w.state_scale[c];
      state[i * width + c] = a[i * width + c];
    }
  }
  rms_norm(state, n, width, w.norm, w.norm_eps, a);
  project(w.fc1, w.fc1_bias, a, n, b, width);
  gelu(b);
  project(w.fc2, w.fc2_bias, b, n, a, width);
  gelu(a);
  project(w.out, nullptr, a, n, logits, classes);
  for (int64_t i = 0; i < n; ++i) {
    select_experts({logits + i * classes, static_cast<size_t>(classes)}, w.balancing_bias, top_k, choice + i * top_k,
                   weight + i * top_k);
  }
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
  Bf16Tiles half_input{.across = tiles_across(hidden)}, half_gate{.across = tiles_across(width)};
  if (tiles) {
    half_input.data = half_input_.get(bf16_elements(tile_row.back(), hidden));
    half_gate.data = half_gate_.get(bf16_elements(tile_row.back(), width));
  }
  const int64_t across = superblocks_of(hidden), across_gate = superblocks_of(width);
  CodeColumns* code_input = codes_ != nullptr ? code_input_.get(rows * across) : nullptr;
  CodeColumns* code_gate = codes_ != nullptr ? code_gate_.get(rows * across_gate) : nullptr;
  spread(rows, hidden, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t slot = slot_of[static_cast<size_t>(i)];
      const float* token = x + slot / top_k * hidden;
      const auto e = static_cast<size_t>(choice[slot]);
      if (on_codes(experts[e].gate, first[e + 1] - first[e])) {
        codes_->quantize(bits_, experts[e].gate.type, token, 1, hidden, hidden, code_input + i * across, across);
      } else if (tiles && on_tiles(experts[e].gate, first[e + 1] - first[e])) {
        amx_->to_bf16(token, 1, hidden, hidden, half_input, tile_row[e] + i - first[e], 0);
      } else {
        std::copy_n(token, hidden, gathered + i * hidden);
      }
    }
  });
  // The tiles of expert e, or none where its rows are too few.
  const auto tiles_of = [&](const Matrix& w, const Bf16Tiles& all, size_t e) {
    if (!on_tiles(w, first[e + 1] - first[e])) return Bf16Tiles{};
    return Bf16Tiles{all.data + tile_row[e] / kTileRows * all.across * kTileElements, all.across};
  };

  // Two parallel phases over (expert, block of weight rows).
  std::vector<Task> tasks;
  int64_t touched = 0;
  for (size_t e = 0; e < experts.size(); ++e) touched += first[e + 1] > first[e] ? 1 : 0;
  const auto plan = [&](int64_t weight_rows) {
    tasks.clear();
    // Enough tasks for every worker even when a single expert is touched.
    const int64_t pieces = std::max<int64_t>(1, team_.size() * 8 / std::max<int64_t>(1, touched));
    for (size_t e = 0; e < experts.size(); ++e) {
      const int64_t count = first[e + 1] - first[e];
      const int64_t unit = row_unit(experts[e].gate, count);
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
  plan(width);
  run_tasks(tasks, rows * width * hidden * 2, [&](const Task& task, int worker) {
    const Expert& expert = experts[task.matrix];
    const Input input{.x = gathered + task.row * hidden,
                      .half = tiles_of(expert.gate, half_input, task.matrix),
                      .codes = on_codes(expert.gate, task.count) ? code_input + task.row * across : nullptr,
                      .across = across};
    const bool code_output = on_codes(expert.down, task.count);
    const Bf16Tiles half_output = tiles_of(expert.down, half_gate, task.matrix);
    // A strip of weight rows at a time, so that gate and up meet in cache. It goes to memory as the next product's kind
    // of input only.
    constexpr int64_t kStrip = 8 * kBlockRows;
    const bool floats = half_output.data == nullptr && !code_output;
    const int64_t stride = floats ? width : kStrip;
    float* up = strips_[static_cast<size_t>(worker)].get(task.count * kStrip * 2);
    for (int64_t begin = task.begin; begin < task.end; begin += kStrip) {
      const int64_t end = std::min(task.end, begin + kStrip);
      float* strip = floats ? gate + task.row * width + begin : up + task.count * kStrip;
      multiply(expert.gate, nullptr, begin, end, input, task.count, strip, stride, worker);
      multiply(expert.up, nullptr, begin, end, input, task.count, up, kStrip, worker);
      for (int64_t i = 0; i < task.count; ++i) kernels_.silu_mul(strip + i * stride, up + i * kStrip, end - begin);
      if (half_output.data != nullptr) amx_->to_bf16(strip, task.count, end - begin, stride, half_output, 0, begin);
      if (code_output) {
        codes_->quantize(bits_, expert.down.type, strip, task.count, end - begin, stride,
                         code_gate + task.row * across_gate + begin / kBlockCols, across_gate);
      }
    }
  });
  plan(hidden);
  run_tasks(tasks, rows * width * hidden, [&](const Task& task, int worker) {
    const Matrix& w = experts[task.matrix].down;
    const Input input{.x = gate + task.row * width,
                      .half = tiles_of(w, half_gate, task.matrix),
                      .codes = on_codes(w, task.count) ? code_gate + task.row * across_gate : nullptr,
                      .across = across_gate};
    multiply(w, nullptr, task.begin, task.end, input, task.count, down + task.row * hidden + task.begin, hidden,
             worker);
  });

  // Rows of one token are added in the order of its choices, whatever else is in the step.
  spread(n, hidden * top_k, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      float* result = out + t * hidden;
      std::fill_n(result, hidden, 0.0f);
      for (int64_t slot = t * top_k; slot < (t + 1) * top_k; ++slot) {
        const int64_t row = row_of[static_cast<size_t>(slot)];
        if (row < 0) continue;
        for (int64_t c = 0; c < hidden; ++c) result[c] += weight[slot] * down[row * hidden + c];
      }
    }
  });
}

}  // namespace zaya::ops
