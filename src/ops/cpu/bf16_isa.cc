// TileKernels by AVX512_BF16's vectors. Compiled with these; reached only where they are.
#include <immintrin.h>

#include <algorithm>
#include <type_traits>

#include "ops/cpu/bf16_products_isa.h"
#include "ops/cpu/bf16_tiles_isa.h"
#include "ops/cpu/tile_attention_isa.h"

namespace zaya::ops::avx512bf16 {
namespace {

constexpr int64_t kSupers = kTileChunk / kBlockCols;
constexpr int64_t kGroups = kBlockCols / kGroupCols;
constexpr int64_t kBlocks = 2;                            // expanded together
constexpr int64_t kSuperPairs = kBlockCols * kBlockRows;  // elements of an expanded superblock
constexpr int64_t kSums = kTileTokens * kBlockRows;       // of one block

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

// Tokens of one tile group and the blocks of a chunk: their sums over the chunk's columns, added to those before, and
// taken to the outputs after the last chunk.
struct Step {
  const Product& p;
  const uint16_t* x;           // the group's tiles, from the chunk's first on
  int64_t tiles;               // of the chunk
  const uint16_t* w[kBlocks];  // the blocks' tiles
  float* sums;                 // [kBlocks][kSums], the group's own part
  Prefetch& ahead;
  int64_t row, token;
  bool first, last;
};

template <int Tokens, int Blocks>
void multiply(const Step& s, int64_t block, int64_t count) {
  __m512 total[Blocks][Tokens];
#pragma GCC unroll 2
  for (int b = 0; b < Blocks; ++b) {
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) {
      total[b][t] = s.first ? _mm512_setzero_ps() : _mm512_load_ps(s.sums + (block + b) * kSums + t * kBlockRows);
    }
  }
  for (int64_t k = 0; k < s.tiles; ++k) {
    s.ahead.take();
#pragma GCC unroll 2
    for (int b = 0; b < Blocks; ++b) {
      add_tile<Tokens>(s.x + k * kTileElements, s.w[block + b] + k * kTileElements, total[b]);
    }
  }
#pragma GCC unroll 2
  for (int b = 0; b < Blocks; ++b) {
    if (!s.last) {
#pragma GCC unroll 16
      for (int t = 0; t < Tokens; ++t) _mm512_store_ps(s.sums + (block + b) * kSums + t * kBlockRows, total[b][t]);
      continue;
    }
    const int64_t row = s.row + (block + b) * kBlockRows, left = s.p.rows - row;
    if (left <= 0) break;
    const __mmask16 mask = first_lanes(left);
    const __m512 scale =
        s.p.row_scale == nullptr ? _mm512_set1_ps(1) : _mm512_maskz_loadu_ps(mask, s.p.row_scale + row);
    const __m512 bias = s.p.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, s.p.bias + row);
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) {
      if (t >= count) break;
      _mm512_mask_storeu_ps(s.p.out + (s.token + t) * s.p.out_stride + row, mask,
                            _mm512_fmadd_ps(total[b][t], scale, bias));
    }
  }
}

// Few tokens take both blocks at once: a product's sum is six cycles old before the next one can add to it.
void multiply(const Step& step, int64_t count) {
  if (count <= 4) return multiply<4, 2>(step, 0, count);
  for (int64_t b = 0; b < kBlocks; ++b) {
    if (count <= 8) {
      multiply<8, 1>(step, b, count);
    } else if (count <= 12) {
      multiply<12, 1>(step, b, count);
    } else {
      multiply<16, 1>(step, b, count);
    }
  }
}

// n ≤ kTileTokens tokens from `token` on.
template <WeightType type>
void tokens(const Product& p, int64_t token, int64_t n, float* scratch) {
  constexpr int64_t kBytes = superblock_bytes(type);
  const int64_t supers = superblocks_of(p.cols), stride = block_bytes(type, p.cols);
  auto* room = reinterpret_cast<uint16_t*>(scratch + kBlocks * kSums);
  for (int64_t row = 0; row < p.rows; row += kBlocks * kBlockRows) {
    const std::byte* w = p.w + row / kBlockRows * stride;
    const int64_t second = row + kBlockRows < p.rows ? stride : 0;  // the last of an odd number is taken twice
    for (int64_t s = 0; s < supers; s += kSupers, w += kSupers * kBytes) {
      const int64_t count = std::min(supers - s, kSupers);
      const bool last = s + count == supers;
      // What follows in memory order: more columns of these blocks, or the next two blocks.
      const std::byte* next = w + (last ? kBlocks * stride - s * kBytes : count * kBytes);
      const int64_t next_bytes = std::min(last ? supers : supers - s - count, kSupers) * kBytes;
      Prefetch ahead(next, next + stride, next_bytes, tile_groups(n) * count * 2);
      Step step{p, nullptr, count * 2, {}, nullptr, ahead, row, 0, s == 0, last};
      for (int64_t b = 0; b < kBlocks; ++b) {
        step.w[b] = expand<type>(w + b * second, count, room + b * kSupers * kSuperPairs);
      }
      for (int64_t t = 0; t < n; t += kTileRows) {
        step.x = p.x.data + ((token + t) / kTileRows * p.x.across + s * 2) * kTileElements;
        step.sums = scratch + t * kBlockRows;
        step.token = token + t;
        multiply(step, std::min(n - t, kTileRows));
      }
    }
  }
}

void matmul(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale, const float* bias,
            Bf16Tiles x, int64_t n, float* out, int64_t out_stride, float* scratch) {
  const Product p{w, rows, cols, row_scale, bias, x, out, out_stride};
  for (int64_t token = 0; token < n; token += kTileTokens) {
    const int64_t count = std::min(n - token, kTileTokens);
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
                             .fewest_rows_beside_codes = 22,
                             .to_bf16 = to_bf16,
                             .gather_bf16 = gather_bf16,
                             .matmul = matmul,
                             .pack_values = pack_values,
                             .attend = attend,
                             .scores = scores,
                             .weighted_values = weighted_values,
                             .busy = busy};

}  // namespace zaya::ops::avx512bf16
