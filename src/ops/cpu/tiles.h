// Products of packed weights with many rows of BF16 activations, tile by tile: on AMX, or with AVX512_BF16's vectors
// (AMD from Zen 4 on), which lie in memory as AMX's tiles do. Weights are expanded to BF16 in cache, once per call;
// sums are FP32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "ops/packed/layout.h"
#include "ops/types.h"

namespace zaya::ops {

// BF16 activations as tiles take them: 16 tokens × 32 columns, 1 KiB, contiguous; the tiles of 16 tokens follow each
// other by columns. (Row-major activations would put each of a tile's 16 rows on a page of its own.)
struct Bf16Tiles {
  uint16_t* data = nullptr;
  int64_t across = 0;  // tiles from one group of 16 tokens to the next: tiles_across(cols)
};

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kTileCols = 32;
inline constexpr int64_t kTileElements = kTileRows * kTileCols;

// One more than the columns fill: with a power of two, the same columns of all token groups would share a few sets of
// the cache.
constexpr int64_t tiles_across(int64_t cols) { return superblocks_of(cols) * kBlockCols / kTileCols + 1; }
constexpr int64_t tile_groups(int64_t n) { return (n + kTileRows - 1) / kTileRows; }
constexpr int64_t bf16_elements(int64_t n, int64_t cols) { return tile_groups(n) * tiles_across(cols) * kTileElements; }

// Attention of up to 16 consecutive tokens and the `group` query heads that share one KV head.
struct AttendTiles {
  int64_t dim = 0;  // of a head, a multiple of 32
  int64_t group = 0;
  int64_t tokens = 0;        // 1 to 16
  int64_t position = 0;      // of the first token
  int64_t window = 0;        // positions a token sees, its own included; 0 = all
  Bf16Tiles keys;            // [positions, dim], from position 0 on, to a whole number of kAttendKeys
  Bf16Tiles values;          // [dim, positions]: pack_values
  const float* q = nullptr;  // token t, head g: q + t · stride + g · dim
  float* out = nullptr;      // likewise
  int64_t stride = 0;
};

// Keys taken at a time, between two adjustments of the running maximum. Packed keys and values reach to a multiple of
// it; what lies past the last position must be finite.
inline constexpr int64_t kAttendKeys = 128;
constexpr int64_t attend_scratch(int64_t dim) {                                    // for two query heads
  return 2 * (kAttendKeys * 16 + kAttendKeys * 16 / 2 + dim * 16 + dim * 16 / 2);  // scores, weights, sums, queries
}

// Slots in BF16 of `count` positions, from slot `first` of the first page on; a page has kPageTokens of them, and all
// of it can be read.
struct KvPages {
  const std::byte* const* pages = nullptr;
  int64_t first = 0;
  int64_t count = 0;
  const std::byte* next = nullptr;  // a page that will be read after these, to ask memory for; or null

  const std::byte* after(int64_t page) const {
    return (page + 1) * kPageTokens < first + count ? pages[page + 1] : next;
  }
  // Unsigned, so that the divisions are shifts.
  const std::byte* slot(int64_t i, int64_t dim) const {
    const auto at = static_cast<uint64_t>(first + i);
    return pages[at / kPageTokens] + at % kPageTokens * static_cast<uint64_t>(dim) * 2;
  }
  // Where slot i's successor lies in the page after its own, or null.
  const std::byte* ahead(int64_t i, int64_t dim) const {
    const auto at = static_cast<uint64_t>(first + i);
    const std::byte* page = after(static_cast<int64_t>(at / kPageTokens));
    return page == nullptr ? nullptr : page + at % kPageTokens * static_cast<uint64_t>(dim) * 2;
  }
};

// Query heads of one token that share a KV head, at most, for the two kernels that take one token.
inline constexpr int64_t kTileHeads = 16;

struct TileKernels {
  // For people: "amx bf16 tiles", and what busy() multiplies.
  const char* name;
  const char* peak;
  // Rows below which the FP32 vector kernels are faster, and those for activations as codes, which need no expansion.
  int64_t fewest_rows;
  int64_t fewest_rows_beside_codes;

  // Rounds x [n, cols], row i at x + i · stride, to nearest even, into the rows from `row` and the columns from `col`
  // (a multiple of 64) on; columns past cols, to a whole superblock, become zero.
  void (*to_bf16)(const float* x, int64_t n, int64_t cols, int64_t stride, Bf16Tiles out, int64_t row, int64_t col);
  // The same with rows anywhere, n pointers to them, from column 0 on.
  void (*gather_bf16)(const float* const* rows, int64_t n, int64_t cols, Bf16Tiles out, int64_t row);

  // Kernels::packed_matmul for BF16 activations. Rows of the last tile past n may be read, and count for nothing.
  // scratch: tile_scratch() floats, 64-byte aligned.
  void (*matmul)(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale,
                 const float* bias, Bf16Tiles x, int64_t n, float* out, int64_t out_stride, float* scratch);

  // Packs `count` ≤ 32 values [count, dim] of the positions from `position` (a multiple of 32) on; the rest of the 32
  // become zero. out.across = tiles_across(positions).
  void (*pack_values)(const float* values, int64_t count, int64_t dim, Bf16Tiles out, int64_t position);

  // Causal softmax attention, scale 1/√dim, with a running maximum (Milakov & Gimelshein, arXiv 1805.02867; Dao et al.,
  // arXiv 2205.14135). Queries, keys, weights and values are rounded to BF16, sums are FP32. scratch:
  // attend_scratch(dim) floats, 64-byte aligned.
  void (*attend)(const AttendTiles& work, float* scratch);

  // As Kernels::scores and ::weighted_values, for all of a piece: scores[g · stride + i] = query g · key i, and
  // out [group, dim] = Σ_i weights[g · stride + i] · value i. Queries and weights are rounded to BF16. group ≤
  // kTileHeads, dim a multiple of 32. scratch: attend_scratch(dim) floats, 64-byte aligned.
  void (*scores)(const float* queries, int64_t group, const KvPages& keys, int64_t dim, float* scores, int64_t stride,
                 float* scratch);
  void (*weighted_values)(const float* weights, int64_t stride, int64_t group, const KvPages& values, int64_t dim,
                          float* out, float* scratch);

  // Does `iterations` rounds of products on registers alone, some 50 ns each; returns the operations done.
  double (*busy)(int64_t iterations);
};

// Tokens that one expansion of weights serves, and columns expanded at a time: those of two blocks (16 KB), and as much
// again that is being expanded, stay in the first-level cache, the tokens' activations and sums in the second.
inline constexpr int64_t kTileTokens = 256;
inline constexpr int64_t kTileChunk = 256;
// Of n tokens, those that one expansion serves: equal parts of whole `unit`s. A small last part would wait for its
// weights to be expanded.
constexpr int64_t tile_part(int64_t n, int64_t unit) {
  const int64_t parts = n > kTileTokens ? (n + kTileTokens - 1) / kTileTokens : 1;
  return (n + parts * unit - 1) / (parts * unit) * unit;
}
constexpr int64_t tile_scratch() {
  return kTileTokens * 2 * kBlockRows + 2 * 2 * kBlockRows * kTileChunk / 2;  // floats
}

// Null for an instruction set without either.
const TileKernels* tile_kernels(cpu::Isa isa);

}  // namespace zaya::ops
