// Int8TileKernels by AVX512_VNNI's vectors. Compiled with these; reached only where they are.
#include <immintrin.h>

#include <algorithm>

#include "ops/cpu/chunks_isa.h"
#include "ops/cpu/int8_tiles_isa.h"
#include "ops/cpu/vnni_products_isa.h"

namespace zaya::ops::vnni_tiles {
namespace {

constexpr int64_t kSupers = kInt8Cols / kBlockCols;
constexpr int64_t kGroups = kBlockCols / kGroupCols;
constexpr int64_t kExpanded = kInt8Cols * kBlockRows;  // bytes of one block

// The expanded weights of a chunk, and what their rows are multiplied with.
struct Weights {
  const std::byte* bytes[kBlocks];
  __m512 scale[kBlocks];
};

// `x`: the tokens' chunk of activations.
template <int Tokens, int Blocks>
void multiply(const Product& p, const Chunk& chunk, const std::byte* x, const Weights& w, int64_t block,
              int64_t count) {
  const auto* offsets = reinterpret_cast<const int32_t*>(x + kInt8OffsetsAt);
  const auto* scales = reinterpret_cast<const float*>(x + kInt8ScalesAt);
  __m512i dots[Blocks][Tokens];
#pragma GCC unroll 2
  for (int b = 0; b < Blocks; ++b) {
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) dots[b][t] = _mm512_set1_epi32(offsets[t]);
  }
  for (int64_t k = 0; k < chunk.count; ++k) {
    const std::byte* tile = x + k * kInt8TileBytes;
    chunk.ahead.take();
#pragma GCC unroll 2
    for (int64_t word = 0; word < kBlockCols / 4; ++word) {
#pragma GCC unroll 2
      for (int b = 0; b < Blocks; ++b) {
        const __m512i weights = _mm512_load_si512(w.bytes[block + b] + k * kInt8TileBytes + word * 64);
#pragma GCC unroll 16
        for (int t = 0; t < Tokens; ++t) {
          dots[b][t] = add_products_at(dots[b][t], weights, tile + t * kBlockCols + word * 4);
        }
      }
    }
  }
  finish<Tokens, Blocks>(p, chunk, block, count, [&](int b, int t) {
    const __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[b][t]), _mm512_set1_ps(scales[t]));
    return _mm512_fmadd_ps(sum, w.scale[block + b], sum_before(chunk, block + b, t));
  });
}

// n ≤ kTileTokens tokens from `token` on.
template <WeightType type>
void tokens(const Product& p, int64_t token, int64_t n, float* scratch) {
  auto* room = reinterpret_cast<std::byte*>(scratch + kBlocks * kBlockSums);
  Weights w;
  for_each_chunk<type, kSupers>(
      p, token, n, 1, scratch,
      [&](const Chunk& chunk) {
        for (int64_t b = 0; b < kBlocks; ++b) {
          const ChunkScale scale = chunk_scale<type>(chunk.w[b], chunk.count);
          std::byte* out = room + b * kExpanded;
          w.bytes[b] = out;
          w.scale[b] = scale.scale;
          for (int64_t s = 0; s < chunk.count; ++s) {
            const std::byte* super = chunk.w[b] + s * superblock_bytes(type);
            for (int group = 0; group < kGroups; ++group) {
              expand_group<type, true>(super, group, scale.inverse, out + s * kInt8TileBytes);
            }
          }
        }
      },
      [&](const Chunk& chunk, int64_t count) {
        const std::byte* x = p.x.chunk(chunk.token, chunk.super * kBlockCols);
        by_tokens(count, [&](auto tokens, auto blocks, int64_t block) {
          multiply<tokens(), blocks()>(p, chunk, x, w, block, count);
        });
      });
}

void matmul(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale, const float* bias,
            Int8Tiles x, int64_t n, float* out, int64_t out_stride, float* scratch) {
  const Product p{w, rows, cols, row_scale, bias, x, out, out_stride};
  const int64_t part = tile_part(n, kTileRows);
  for (int64_t token = 0; token < n; token += part) {
    const int64_t count = std::min(n - token, part);
    if (type == WeightType::q4) tokens<WeightType::q4>(p, token, count, scratch);
    if (type == WeightType::q8) tokens<WeightType::q8>(p, token, count, scratch);
  }
}

}  // namespace

extern const Int8TileKernels kernels;
const Int8TileKernels kernels = {.name = "avx512 int8",
                                 .peak = nullptr,
                                 .fewest_rows = 28,
                                 .quantize = quantize<true>,
                                 .matmul = matmul,
                                 .busy = nullptr};

}  // namespace zaya::ops::vnni_tiles
