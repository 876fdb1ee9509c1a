// The head's first stage: products of its 3-bit copy (packed/coarse.h) with activations of 8 bits. Sums are exact
// integers, so every instruction set comes to the same.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "ops/packed/coarse.h"

namespace zaya::ops {

// Activations of some tokens, the columns' scales in them: code · scale, |code| ≤ 127.
struct CoarseTokens {
  const int8_t* codes = nullptr;  // [superblock][CoarseKernels::rows_of(tokens)][64 columns], 64-byte aligned
  const float* scale = nullptr;   // [tokens]
  const int32_t* sum = nullptr;   // [tokens] Σ codes
};

// out[t · out_stride + r] = (Σ table3 · codes) · row_scale[r] · scale[t] + bias[r], r in [0, rows), for rows from a
// block's first one on. bias may be null.
struct CoarseProduct {
  const std::byte* blocks = nullptr;
  int64_t rows = 0, cols = 0;
  const float* row_scale = nullptr;
  const float* bias = nullptr;
  CoarseTokens x;
  float* out = nullptr;
  int64_t out_stride = 0;
};

struct CoarseKernels {
  const char* name;  // for people
  int64_t tokens;    // at most that many go through the copy together
  int64_t row_unit;  // of how many rows codes are a multiple; those past the tokens count for nothing

  int64_t rows_of(int64_t count) const { return (count + row_unit - 1) / row_unit * row_unit; }

  // For t in [0, n), n ≤ tokens.
  void (*logits)(const CoarseProduct& product, int64_t n);
};

// How many bytes ahead the copy is asked for, into the second-level cache.
inline constexpr int64_t kCoarseAhead = 12 * kCoarseSuperblock;

// table3 by code, `offset` too high, twice: a table for the look-ups of bytes.
constexpr std::array<int8_t, 16> coarse_values(int offset) {
  std::array<int8_t, 16> values{};
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int8_t>(table3(static_cast<int>(i) & 7) + offset);
  return values;
}

// For n tokens, the best ones that are built for `isa`.
const CoarseKernels& coarse_kernels(cpu::Isa isa, int64_t n);

}  // namespace zaya::ops
