// Products of 4- and 8-bit weights with many rows of 8-bit activations, tile by tile: on AMX, or with AVX512_VNNI's
// vectors. A product of bytes covers twice the columns of one in BF16, and weights become bytes in half the
// instructions.
//
// Sums of kInt8Cols columns are exact integers. Within those columns a token's activations share one scale, and so do
// the weights of a row: the scales of its groups of 16 differ little, and weights are rounded once more to the greatest
// of them. (More columns cost more exactness than they spare time, fewer spare exactness at the price of time:
// docs/performance.md has the figures.)
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "ops/cpu/tiles.h"
#include "ops/packed/layout.h"
#include "ops/types.h"

namespace zaya::ops {

// Columns that share a scale, and that are expanded at a time.
inline constexpr int64_t kInt8Cols = 256;
constexpr int64_t int8_chunks(int64_t cols) { return (cols + kInt8Cols - 1) / kInt8Cols; }

// Activations of 16 tokens and kInt8Cols columns: tiles of 64 columns, then the tokens' FP32 scales, then, with
// vectors, −128 times the sum of each token's codes: their products take weights that are 128 too high.
inline constexpr int64_t kInt8TileBytes = kTileRows * kBlockCols;
inline constexpr int64_t kInt8ScalesAt = kInt8TileBytes * (kInt8Cols / kBlockCols);
inline constexpr int64_t kInt8OffsetsAt = kInt8ScalesAt + kTileRows * 4;
inline constexpr int64_t kInt8ChunkBytes = kInt8OffsetsAt + kTileRows * 4;

// All chunks of 16 tokens, then those of the next 16. Columns lie in the order in which weights of one type unpack.
struct Int8Tiles {
  std::byte* data = nullptr;  // 64-byte aligned
  int64_t chunks = 0;         // of one group of 16 tokens: int8_chunks(cols)

  std::byte* chunk(int64_t token, int64_t col) const {
    return data + (token / kTileRows * chunks + col / kInt8Cols) * kInt8ChunkBytes;
  }
};
constexpr int64_t int8_tile_bytes(int64_t n, int64_t cols) {
  return tile_groups(n) * int8_chunks(cols) * kInt8ChunkBytes;
}

struct Int8TileKernels {
  // As TileKernels has them; no peak and no busy() with vectors, whose peak is that of CodeKernels.
  const char* name;
  const char* peak;
  int64_t fewest_rows;

  // Rounds x [n, cols], row i at x + i · stride, to nearest into the rows from `row` and the columns from `col` (a
  // multiple of kInt8Cols) on; columns past cols, to a whole superblock, become zero. `type` is that of the weights it
  // will meet, q4 or q8.
  void (*quantize)(WeightType type, const float* x, int64_t n, int64_t cols, int64_t stride, Int8Tiles out, int64_t row,
                   int64_t col);

  // Kernels::packed_matmul for q4 and q8. Rows of the last tile past n may be read, and count for nothing.
  // scratch: int8_tile_scratch() floats, 64-byte aligned.
  void (*matmul)(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale,
                 const float* bias, Int8Tiles x, int64_t n, float* out, int64_t out_stride, float* scratch);

  // Does `iterations` rounds of products on registers alone, some 50 ns each; returns the operations done.
  double (*busy)(int64_t iterations);
};

// FP32 sums, two turns' integer sums of 32 tokens and two blocks, and two blocks' weights twice (in floats).
constexpr int64_t int8_tile_scratch() {
  return (kTileTokens + 2 * 32) * 2 * kBlockRows + 2 * 2 * kBlockRows * kInt8Cols / 4;
}

// Null for an instruction set without either.
const Int8TileKernels* int8_tile_kernels(cpu::Isa isa);

}  // namespace zaya::ops
