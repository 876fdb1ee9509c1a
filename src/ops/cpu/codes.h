// Products of packed weights with activations of 8 or 15 bits. On AVX512_VNNI and AVX-VNNI four columns in one
// instruction (15 bits take two), and weights need no decoding beyond a table look-up; on AVX2 two columns in two
// instructions, whatever the bits, and weights become words of 16 bits. Group sums are exact integers; the rounding of
// the activations is all that sets the results apart from FP32's: about 45 dB down with 8 bits, 87 dB with 15, where
// rounding to BF16 is 51 dB down.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "ops/packed/layout.h"
#include "ops/types.h"

namespace zaya::ops {

enum class CodeBits { eight, fifteen };

// 64 activations of one token, one superblock's columns: x = code · scale. Codes of 8 bits are in `high`, |code| ≤ 127;
// those of 15 are 128 · high + low with −64 ≤ low < 64, |code| ≤ 16256. A product's left factor must be unsigned, so
// weights are 128 too high there; `offset` takes 128 · Σ codes of each group back (on AVX-VNNI, with 15 bits, a 128th
// of it before the high part is shifted). For q4, codes lie in the order that its nibbles unpack to (in each 8 columns
// the even ones first).
//
// On AVX2 `high` and `low` together hold the 64 codes as words instead, pairs of columns as weights unpack to: of each
// 4 columns 0 2 1 3 for q8, of each 8 columns 0 4 2 6 1 5 3 7 for q4.
struct alignas(32) CodeColumns {
  int8_t high[kBlockCols];
  int8_t low[kBlockCols];
  int32_t offset[kBlockCols / kGroupCols];
  float scale;
  int32_t unused[3];
};
static_assert(sizeof(CodeColumns) == 160);

struct CodeKernels {
  // x [n, cols], row i at x + i · stride, rounded to nearest into out[i · across]…; columns past cols become zero.
  // `type` is that of the weights it will meet, q4 or q8.
  void (*quantize)(CodeBits bits, WeightType type, const float* x, int64_t n, int64_t cols, int64_t stride,
                   CodeColumns* out, int64_t across);

  // Kernels::packed_matmul for q4 and q8; x [n, across].
  void (*matmul)(CodeBits bits, WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale,
                 const float* bias, const CodeColumns* x, int64_t across, int64_t n, float* out, int64_t out_stride);

  // Does `iterations` rounds of independent products on registers alone; returns the operations done.
  double (*busy)(int64_t iterations);

  // For people: the instruction set, and what busy() multiplies.
  const char* name = "avx512 vnni";
  const char* peak = "int8 vectors (vnni)";
};

// AVX512_VNNI's (Intel from Ice Lake, AMD from Zen 4), AVX-VNNI's or AVX2's. Null for `generic`, and for AVX-512
// without VNNI, whose FP32 kernels take one row as fast as AVX2's codes and many faster.
const CodeKernels* code_kernels(cpu::Isa isa);

}  // namespace zaya::ops
