// The LM head in two stages.
#include <algorithm>
#include <cmath>

#include "ops/cpu/cpu_backend.h"

namespace zaya::ops {
namespace {

// Rows whose bounds are kept together; blocks are looked at only where such a segment may hold the likeliest token.
constexpr int64_t kSegmentRows = 16 * kBlockRows;

}  // namespace

int64_t CpuBackend::head(const Head& head, const float* x, int64_t n, float* logits) {
  if (head.coarse.data == nullptr) return Backend::head(head, x, n, logits);
  const int64_t rows = head.exact.rows, cols = head.exact.cols;
  // Activations of 8 bits, where any may be rounded: 4-bit weights err more by far, and the bounds know of both.
  const Projection coarse{&head.coarse, head.bias, logits, rows};
  project_at(CodeBits::eight, {&coarse, 1}, x, n);

  // Between which bounds the greatest exact logit of each segment lies.
  const int64_t segments = (rows + kSegmentRows - 1) / kSegmentRows;
  LogitBounds* bounds = head_bounds_.get(n * segments);
  float* margin = head_margin_.get(n);
  for (int64_t i = 0; i < n; ++i) {
    const float length = std::sqrt(kernels_.sum_squares(x + i * cols, cols));
    margin[i] = kHeadMargin * length / std::sqrt(static_cast<float>(cols));
  }
  const auto bounds_of = [&](int64_t token, int64_t row, int64_t count) {
    return kernels_.logit_bounds(logits + token * rows + row, head.coarse_error + row, margin[token],
                                 std::min(count, rows - row));
  };
  spread(n * segments, kSegmentRows, [&](int64_t begin, int64_t end, int) {
    for (; begin < end; ++begin) {
      bounds[begin] = bounds_of(begin / segments, begin % segments * kSegmentRows, kSegmentRows);
    }
  });

  // Every block that may hold the likeliest token, exactly; neighbours together.
  std::vector<Task> tasks;
  int64_t exact = 0;
  for (int64_t i = 0; i < n; ++i) {
    const LogitBounds* of = bounds + i * segments;
    float threshold = of[0].lower;
    for (int64_t s = 1; s < segments; ++s) threshold = std::max(threshold, of[s].lower);
    for (int64_t s = 0; s < segments; ++s) {
      if (of[s].upper < threshold) continue;  // false for NaN: computed exactly, as every NaN should be
      for (int64_t begin = s * kSegmentRows; begin < std::min(rows, (s + 1) * kSegmentRows); begin += kBlockRows) {
        if (bounds_of(i, begin, kBlockRows).upper < threshold) continue;
        const int64_t end = std::min(rows, begin + kBlockRows);
        exact += end - begin;
        constexpr int64_t kTogether = 8 * kBlockRows;
        if (!tasks.empty() && tasks.back().row == i && tasks.back().end == begin &&
            begin - tasks.back().begin < kTogether) {
          tasks.back().end = end;
        } else {
          tasks.push_back({.row = i, .begin = begin, .end = end});
        }
      }
    }
  }
  const int64_t across = superblocks_of(cols);
  CodeColumns* columns = nullptr;
  if (on_codes(head.exact, 1)) {
    columns = code_input_.get(n * across);
    codes_->quantize(bits_, head.exact.type, x, n, cols, cols, columns, across);
  }
  run_tasks(tasks, exact * cols, [&](const Task& task, int worker) {
    const Input input{.x = x + task.row * cols,
                      .half = {},
                      .bytes = {},
                      .codes = columns != nullptr ? columns + task.row * across : nullptr,
                      .across = across,
                      .bits = bits_};
    multiply(head.exact, head.bias, task.begin, task.end, input, 1, logits + task.row * rows + task.begin, rows,
             worker);
  });
  return exact;
}

}  // namespace zaya::ops
