// The LM head in two stages.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "ops/cpu/coarse_kernels.h"
#include "ops/cpu/cpu_backend.h"

namespace zaya::ops {
namespace {

// Rows whose bounds are kept together; blocks are looked at only where such a segment may hold the likeliest token.
constexpr int64_t kSegmentRows = 16 * kBlockRows;

// Blocks that are computed exactly to learn what the likeliest token's logit is at least.
constexpr int64_t kFirstBlocks = 4;

// Logits so far below the likeliest token's are computed exactly too, so that only the tail of the distribution, each
// with less than a 400th of the greatest probability, carries the copy's errors. In a large vocabulary those of about
// so many blocks, the likeliest ones, at most.
constexpr float kLikelyReach = 6;
constexpr int64_t kLikelyBlocks = 32;

// Tokens that go through the copy together: `count` from `first` on, their codes from `codes` on.
struct CoarsePart {
  int64_t first = 0, count = 0, codes = 0;
};

// Near the greatest coarse logit of those that are bounded.
float middle(const LogitBounds& bounds) { return (bounds.lower + bounds.upper) / 2; }

std::vector<CoarsePart> equal_parts(const CoarseKernels& kernels, int64_t n, int64_t supers) {
  std::vector<CoarsePart> parts(static_cast<size_t>((n + kernels.tokens - 1) / kernels.tokens));
  const auto count = static_cast<int64_t>(parts.size());
  int64_t codes = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t first = n * i / count, tokens = n * (i + 1) / count - first;
    parts[static_cast<size_t>(i)] = {.first = first, .count = tokens, .codes = codes};
    codes += supers * kernels.rows_of(tokens) * kBlockCols;
  }
  return parts;
}

// One token: codes of superblock s to codes + s · stride.
struct Rounded {
  float scale = 0;
  int32_t sum = 0;
  float length = 0, error = 0;  // of the activation with the columns' scales in it, and of what rounding changed
};
Rounded round_token(const float* x, const float* column_scale, int64_t cols, int8_t* codes, int64_t stride,
                    float* scaled) {
  float greatest = 0, squares = 0;
  for (int64_t c = 0; c < cols; ++c) {
    scaled[c] = x[c] * column_scale[c];
    greatest = std::max(greatest, std::fabs(scaled[c]));
    squares += scaled[c] * scaled[c];
  }
  std::fill(scaled + cols, scaled + superblocks_of(cols) * kBlockCols, 0.0f);
  Rounded result{.scale = greatest / 127, .length = std::sqrt(squares)};
  // A token that is not finite has NaN for all its logits, in both stages.
  const bool finite = std::isfinite(squares);
  if (!finite) result.scale = std::numeric_limits<float>::quiet_NaN();
  const float inverse = finite && greatest > 0 ? 127 / greatest : 0;
  float errors = 0;
  for (int64_t c = 0; c < superblocks_of(cols) * kBlockCols; ++c) {
    const auto code = finite ? static_cast<int>(std::clamp<int64_t>(std::lrint(scaled[c] * inverse), -127, 127)) : 0;
    codes[c / kBlockCols * stride + c % kBlockCols] = static_cast<int8_t>(code);
    result.sum += code;
    const float error = scaled[c] - static_cast<float>(code) * result.scale;
    errors += error * error;
  }
  result.error = std::sqrt(errors);
  return result;
}

}  // namespace

void CpuBackend::coarse_logits(const Head& head, const float* x, int64_t n, float* logits, float* margin) {
  const int64_t rows = head.exact.rows, cols = head.exact.cols, supers = superblocks_of(cols);
  const CoarseKernels& kernels = coarse_kernels(isa_, n);
  const std::vector<CoarsePart> parts = equal_parts(kernels, n, supers);
  int8_t* codes = coarse_codes_.get(parts.back().codes + supers * kernels.rows_of(parts.back().count) * kBlockCols);
  float* scale = coarse_scale_.get(n);
  int32_t* sum = coarse_sum_.get(n);
  spread(n, cols * 4, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) {
      const CoarsePart& part = *std::ranges::find_if(parts, [&](const CoarsePart& p) { return i < p.first + p.count; });
      const Rounded rounded =
          round_token(x + i * cols, head.coarse.column_scale, cols, codes + part.codes + (i - part.first) * kBlockCols,
                      kernels.rows_of(part.count) * kBlockCols, scratch(worker, supers * kBlockCols));
      scale[i] = rounded.scale;
      sum[i] = rounded.sum;
      const float noise = rounded.length > 0 ? rounded.error / rounded.length / kCoarseNoise : 0;
      margin[i] = kHeadMargin * rounded.length / std::sqrt(static_cast<float>(cols)) * std::max(1.0f, noise);
    }
  });

  const int64_t blocks = blocks_of(rows), block_bytes = coarse_block_bytes(cols);
  const int64_t together = parts.size() == 1 ? blocks : 8;  // stay in the second-level cache for the next part
  spread(blocks, kBlockRows * cols * n, [&](int64_t begin, int64_t end, int) {
    for (; begin < end; begin += together) {
      const int64_t row = begin * kBlockRows, last = std::min(rows, std::min(end, begin + together) * kBlockRows);
      for (const CoarsePart& part : parts) {
        kernels.logits({.blocks = head.coarse.data + begin * block_bytes,
                        .rows = last - row,
                        .cols = cols,
                        .row_scale = head.coarse.row_scale + row,
                        .bias = head.bias == nullptr ? nullptr : head.bias + row,
                        .x = {codes + part.codes, scale + part.first, sum + part.first},
                        .out = logits + part.first * rows + row,
                        .out_stride = rows},
                       part.count);
      }
    }
  });
}

int64_t CpuBackend::exact_logits(const Head& head, const std::vector<Task>& tasks, const float* x,
                                 const CodeColumns* columns, float* logits) {
  const int64_t rows = head.exact.rows, cols = head.exact.cols, across = superblocks_of(cols);
  int64_t exact = 0;
  for (const Task& task : tasks) exact += task.end - task.begin;
  run_tasks(tasks, exact * cols, [&](const Task& task, int worker) {
    const Input input{.x = x + task.row * cols,
                      .half = {},
                      .bytes = {},
                      .codes = columns != nullptr ? columns + task.row * across : nullptr,
                      .across = across};
    multiply(head.exact, head.bias, task.begin, task.end, input, 1, logits + task.row * rows + task.begin, rows,
             worker);
  });
  return exact;
}

int64_t CpuBackend::head(const Head& head, const float* x, int64_t n, float* logits) {
  if (head.coarse.data == nullptr) return Backend::head(head, x, n, logits);
  const int64_t rows = head.exact.rows, cols = head.exact.cols, across = superblocks_of(cols);
  float* margin = head_margin_.get(n);
  coarse_logits(head, x, n, logits, margin);
  CodeColumns* columns = on_codes(head.exact, 1) ? code_input_.get(n * across) : nullptr;  // for the second stage
  if (columns != nullptr) {
    spread(n, cols, [&](int64_t begin, int64_t end, int) {
      codes_->quantize(bits_, head.exact.type, x + begin * cols, end - begin, cols, cols, columns + begin * across,
                       across);
    });
  }

  // Between which bounds the greatest exact logit of each segment lies.
  const int64_t segments = (rows + kSegmentRows - 1) / kSegmentRows;
  LogitBounds* bounds = head_bounds_.get(n * segments);
  const auto bounds_of = [&](int64_t token, int64_t row, int64_t count) {
    return kernels_.logit_bounds(logits + token * rows + row, head.coarse.error + row, margin[token],
                                 std::min(count, rows - row));
  };
  spread(n * segments, kSegmentRows, [&](int64_t begin, int64_t end, int) {
    for (; begin < end; ++begin) {
      bounds[begin] = bounds_of(begin / segments, begin % segments * kSegmentRows, kSegmentRows);
    }
  });

  // What blocks_of_token(token) says of each token, the tokens spread over the team.
  const auto blocks_of_all = [&](const auto& blocks_of_token) {
    std::vector<std::vector<Task>> each(static_cast<size_t>(n));
    const auto some = [&](int64_t begin, int64_t end, int) {
      for (; begin < end; ++begin) each[static_cast<size_t>(begin)] = blocks_of_token(begin);
    };
    spread(n, segments * kBlockRows, some, 1);
    std::vector<Task> all;
    for (const std::vector<Task>& blocks : each) all.insert(all.end(), blocks.begin(), blocks.end());
    return all;
  };

  // A few blocks first, the best ones of the segments with the greatest lower bounds: the likeliest token's logit is at
  // least the greatest of theirs. And what is likely enough that its own logit matters.
  const int64_t first_count = std::min(kFirstBlocks, segments);
  std::vector<float> likely(static_cast<size_t>(n));
  const std::vector<Task> first = blocks_of_all([&](int64_t token) {
    const LogitBounds* of = bounds + token * segments;
    const auto rank = [&](int64_t s) {  // an order that NaN has a place in
      return std::isnan(of[s].lower) ? -std::numeric_limits<float>::infinity() : of[s].lower;
    };
    const auto greater = [&](int64_t a, int64_t b) { return rank(a) > rank(b); };
    std::vector<int64_t> order(static_cast<size_t>(segments));
    std::iota(order.begin(), order.end(), 0);
    const auto most = order.begin() + std::min(kLikelyBlocks, segments) - 1;
    std::nth_element(order.begin(), most, order.end(), greater);
    likely[static_cast<size_t>(token)] = middle(of[*most]);
    std::partial_sort(order.begin(), order.begin() + first_count, most + 1, greater);
    std::vector<Task> blocks;
    for (const int64_t s : std::span(order).first(static_cast<size_t>(first_count))) {
      int64_t best = s * kSegmentRows;
      for (int64_t row = best; row < std::min(rows, (s + 1) * kSegmentRows); row += kBlockRows) {
        if (bounds_of(token, row, kBlockRows).lower == of[s].lower) best = row;
      }
      blocks.push_back({.row = token, .begin = best, .end = std::min(rows, best + kBlockRows)});
    }
    return blocks;
  });
  const int64_t exact = exact_logits(head, first, x, columns, logits);

  // Then every other block that may hold a greater one, or a likely one; neighbours together.
  const std::vector<Task> rest = blocks_of_all([&](int64_t token) {
    const auto done =
        std::span(first).subspan(static_cast<size_t>(token * first_count), static_cast<size_t>(first_count));
    const float* of = logits + token * rows;
    float greatest = -std::numeric_limits<float>::infinity();
    for (const Task& task : done) greatest = std::max(greatest, *std::max_element(of + task.begin, of + task.end));
    const float least = segments > kLikelyBlocks ? likely[static_cast<size_t>(token)] : greatest - kLikelyReach;
    const float likely_from = std::max(least, greatest - kLikelyReach);
    // A comparison with NaN is false: computed exactly, as every NaN should be.
    const auto coarse_will_do = [&](const LogitBounds& b) { return b.upper < greatest && middle(b) < likely_from; };
    const auto is_done = [&](int64_t row) {
      return std::ranges::any_of(done, [&](const Task& task) { return task.begin == row; });
    };
    std::vector<Task> blocks;
    for (int64_t s = 0; s < segments; ++s) {
      if (coarse_will_do(bounds[token * segments + s])) continue;
      for (int64_t row = s * kSegmentRows; row < std::min(rows, (s + 1) * kSegmentRows); row += kBlockRows) {
        if (is_done(row) || coarse_will_do(bounds_of(token, row, kBlockRows))) continue;
        const int64_t end = std::min(rows, row + kBlockRows);
        constexpr int64_t kTogether = 8 * kBlockRows;
        if (!blocks.empty() && blocks.back().end == row && row - blocks.back().begin < kTogether) {
          blocks.back().end = end;
        } else {
          blocks.push_back({.row = token, .begin = row, .end = end});
        }
      }
    }
    return blocks;
  });
  return exact + exact_logits(head, rest, x, columns, logits);
}

}  // namespace zaya::ops
