// TileKernels by AVX512_BF16's vectors. Compiled with these; reached only where they are.
#include <immintrin.h>

#include <algorithm>

#include "ops/cpu/bf16_products_isa.h"
#include "ops/cpu/bf16_tiles_isa.h"
#include "ops/cpu/chunks_isa.h"
#include "ops/cpu/tile_attention_isa.h"

namespace zaya::ops::avx512bf16 {
namespace {

constexpr int64_t kSupers = kTileChunk / kBlockCols;
constexpr int64_t kGroups = kBlockCols / kGroupCols;
constexpr int64_t kSuperPairs = kBlockCols * kBlockRows;  // elements of an expanded superblock

// `supers` superblocks of a block as tiles.
template <WeightType type>
const uint16_t* expand(const std::byte* w, int64_t supers, uint16_t* room) {
  constexpr int64_t kBytes = superblock_bytes(type);
  if constexpr (type == WeightType::b16) {
    return reinterpret_cast<const uint16_t*>(w);  // lies as tiles want it
  } else {
    for (int64_t s = 0; s < supers; ++s) {
      for (int group = 0; group < kGroups; ++group) {
        expand_group<type>(w + s * kBytes, group, reinterpret_cast<std::byte*>(room + s * kSuperPairs));
      }
    }
    return room;
  }
}

// `x`: the tokens' tiles, from the chunk's first on; `w`: the blocks'.
template <int Tokens, int Blocks>
void multiply(const Product& p, const Chunk& chunk, const uint16_t* x, const uint16_t* const* w, int64_t block,
              int64_t count) {
  __m512 total[Blocks][Tokens];
#pragma GCC unroll 2
  for (int b = 0; b < Blocks; ++b) {
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) total[b][t] = sum_before(chunk, block + b, t);
  }
  for (int64_t k = 0; k < chunk.count * 2; ++k) {
    chunk.ahead.take();
#pragma GCC unroll 2
    for (int b = 0; b < Blocks; ++b) {
      add_tile<Tokens>(x + k * kTileElements, w[block + b] + k * kTileElements, total[b]);
    }
  }
  finish<Tokens, Blocks>(p, chunk, block, count, [&](int b, int t) { return total[b][t]; });
}

// n ≤ kTileTokens tokens from `token` on.
template <WeightType type>
void tokens(const Product& p, int64_t token, int64_t n, float* scratch) {
  auto* room = reinterpret_cast<uint16_t*>(scratch + kBlocks * kBlockSums);
  const uint16_t* w[kBlocks];
  for_each_chunk<type, kSupers>(
      p, token, n, 2, scratch,
      [&](const Chunk& chunk) {
        for (int64_t b = 0; b < kBlocks; ++b) {
          w[b] = expand<type>(chunk.w[b], chunk.count, room + b * kSupers * kSuperPairs);
        }
      },
      [&](const Chunk& chunk, int64_t count) {
        const uint16_t* x = p.x.data + (chunk.token / kTileRows * p.x.across + chunk.super * 2) * kTileElements;
        by_tokens(count, [&](auto tokens, auto blocks, int64_t block) {
          multiply<tokens(), blocks()>(p, chunk, x, w, block, count);
        });
      });
}

void matmul(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale, const float* bias,
            Bf16Tiles x, int64_t n, float* out, int64_t out_stride, float* scratch) {
  const Product p{w, rows, cols, row_scale, bias, x, out, out_stride};
  const int64_t part = tile_part(n, kTileRows);
  for (int64_t token = 0; token < n; token += part) {
    const int64_t count = std::min(n - token, part);
    if (type == WeightType::q4) tokens<WeightType::q4>(p, token, count, scratch);
    if (type == WeightType::q8) tokens<WeightType::q8>(p, token, count, scratch);
    if (type == WeightType::b16) tokens<WeightType::b16>(p, token, count, scratch);
  }
}

double busy(int64_t iterations) {
  const __m512 a = _mm512_castsi512_ps(_mm512_set1_epi32(0x3f803f80));
  __m512 s[10] = {a, a, a, a, a, a, a, a, a, a};
  constexpr int kRounds = 16;
  for (int64_t i = 0; i < iterations * kRounds; ++i) {
#pragma GCC unroll 10
    for (int k = 0; k < 10; ++k) __asm__ volatile("vdpbf16ps %1, %1, %0" : "+v"(s[k]) : "v"(a));
  }
  return static_cast<double>(iterations) * kRounds * 10 * 64;
}

}  // namespace

extern const TileKernels kernels;
const TileKernels kernels = {.name = "avx512 bf16",
                             .peak = "bf16 vectors (avx512 bf16)",
                             .fewest_rows = 7,
                             .fewest_rows_beside_codes = 31,
                             .to_bf16 = to_bf16,
                             .gather_bf16 = gather_bf16,
                             .matmul = matmul,
                             .pack_values = pack_values,
                             .attend = attend,
                             .scores = scores,
                             .weighted_values = weighted_values,
                             .busy = busy};

}  // namespace zaya::ops::avx512bf16
