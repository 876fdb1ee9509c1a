// Products of packed weights with many rows of BF16 activations on AMX tiles. Weights are expanded to BF16 in cache,
// once per call; sums are FP32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "ops/packed/layout.h"
#include "ops/types.h"

namespace zaya::ops {

// BF16 activations, rows padded to whole tiles.
struct Bf16Rows {
  const uint16_t* data = nullptr;
  int64_t stride = 0;  // elements from row to row
};

// Elements from row to row: whole superblocks, and one cache line more so that the rows of a tile do not all fall into
// one cache set.
constexpr int64_t bf16_stride(int64_t cols) { return superblocks_of(cols) * kBlockCols + 32; }
constexpr int64_t bf16_rows(int64_t n) { return (n + 15) / 16 * 16; }

struct AmxKernels {
  // Rounds x [n, cols], row i at x + i · stride, to nearest even; columns past cols (to a whole superblock) become zero.
  // out has bf16_stride(cols).
  void (*to_bf16)(const float* x, int64_t n, int64_t cols, int64_t stride, uint16_t* out, int64_t out_stride);

  // Kernels::packed_matmul for BF16 activations. scratch: amx_scratch() floats, 64-byte aligned.
  void (*matmul)(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale,
                 const float* bias, Bf16Rows x, int64_t n, float* out, int64_t out_stride, float* scratch);

  // Does `iterations` rounds of four tile products on registers alone; returns the operations done.
  double (*busy)(int64_t iterations);
};

// Tokens that one expansion of weights serves, and columns expanded at a time: two blocks' worth of columns (16 KB) and
// the activations of two tiles stay in the first-level cache, the sums (64 KB) in the second.
inline constexpr int64_t kAmxTokens = 512;
inline constexpr int64_t kAmxCols = 256;
constexpr int64_t amx_scratch() { return kAmxTokens * 2 * kBlockRows + 2 * kBlockRows * kAmxCols / 2; }

// Rows below which the vector kernels are faster: expanding a weight costs as much as some eight multiply-adds.
inline constexpr int64_t kAmxFewestRows = 8;

// Null for an instruction set without AMX.
const AmxKernels* amx_kernels(cpu::Isa isa);

}  // namespace zaya::ops
