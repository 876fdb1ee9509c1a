// The LM head in two stages.
#include <algorithm>
#include <cmath>

#include "ops/cpu/cpu_backend.h"

namespace zaya::ops {

int64_t CpuBackend::head(const Head& head, const float* x, int64_t n, float* logits) {
  if (head.coarse.data == nullptr) return Backend::head(head, x, n, logits);
  const int64_t rows = head.exact.rows, cols = head.exact.cols, blocks = blocks_of(rows);
  // Activations of 8 bits, where any may be rounded: 4-bit weights err more by far, and the bounds know of both.
  const Projection coarse{&head.coarse, head.bias, logits, rows};
  project_at(CodeBits::eight, {&coarse, 1}, x, n);

  // Between which bounds the exact logits of each block lie: the lower bound of its best row, the upper one of any.
  float* lower = head_lower_.get(n * blocks);
  float* upper = head_upper_.get(n * blocks);
  for (int64_t i = 0; i < n; ++i) {
    const float length = std::sqrt(kernels_.sum_squares(x + i * cols, cols));
    const float margin = kHeadMargin * length / std::sqrt(static_cast<float>(cols));
    spread(blocks, kBlockRows * 8, [&](int64_t begin, int64_t end, int) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = b * kBlockRows, count = std::min(kBlockRows, rows - first);
        const float* row = logits + i * rows + first;
        float low = row[0] - margin * head.coarse_error[first], high = low;
        for (int64_t r = 0; r < count; ++r) {
          const float error = margin * head.coarse_error[first + r];
          low = std::max(low, row[r] - error);
          high = std::max(high, row[r] + error);
        }
        lower[i * blocks + b] = low;
        upper[i * blocks + b] = high;
      }
    });
  }

  // Every block that may hold the likeliest token, exactly; neighbours together.
  std::vector<Task> tasks;
  int64_t exact = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float threshold = *std::max_element(lower + i * blocks, lower + (i + 1) * blocks);
    for (int64_t b = 0; b < blocks; ++b) {
      if (upper[i * blocks + b] < threshold) continue;  // false for NaN: computed exactly, as every NaN should be
      const int64_t begin = b * kBlockRows, end = std::min(rows, begin + kBlockRows);
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
