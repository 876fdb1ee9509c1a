// Int8TileKernels by AVX512_VNNI's vectors. Compiled with these; reached only where they are.
#include <immintrin.h>

#include <algorithm>

#include "ops/cpu/int8_tiles_isa.h"

namespace zaya::ops::vnni_tiles {
namespace {

constexpr int64_t kSupers = kInt8Cols / kBlockCols;
constexpr int64_t kGroups = kBlockCols / kGroupCols;
constexpr int64_t kBlocks = 2;                         // expanded together
constexpr int64_t kExpanded = kInt8Cols * kBlockRows;  // bytes of one block
constexpr int64_t kSums = kTileTokens * kBlockRows;    // of one block

// sum + the products of four weights, unsigned, with the four codes at p in each lane. The product broadcasts by
// itself, which GCC 12 does not find.
ZAYA_INLINE __m512i add_products(__m512i sum, __m512i weights, const std::byte* p) {
  typedef int32_t Word __attribute__((may_alias));
  __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(weights), "m"(*reinterpret_cast<const Word*>(p)));
  return sum;
}

// Tokens of one group of 16 and a chunk of columns: their sums, added to those before, and taken to the outputs after
// the last chunk.
struct Step {
  const Product& p;
  const std::byte* x;           // the group's chunk
  int64_t tiles;                // of it
  const std::byte* w[kBlocks];  // expanded weights
  __m512 scale[kBlocks];        // of their rows
  float* sums;                  // [kBlocks][kSums], the group's own part
  Prefetch& ahead;
  int64_t row, token;
  bool first, last;
};

template <int Tokens, int Blocks>
void multiply(const Step& s, int64_t block, int64_t count) {
  const auto* offsets = reinterpret_cast<const int32_t*>(s.x + kInt8OffsetsAt);
  const auto* scales = reinterpret_cast<const float*>(s.x + kInt8ScalesAt);
  __m512i dots[Blocks][Tokens];
#pragma GCC unroll 2
  for (int b = 0; b < Blocks; ++b) {
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) dots[b][t] = _mm512_set1_epi32(offsets[t]);
  }
  for (int64_t k = 0; k < s.tiles; ++k) {
    const std::byte* x = s.x + k * kInt8TileBytes;
    s.ahead.take();
#pragma GCC unroll 2
    for (int64_t word = 0; word < kBlockCols / 4; ++word) {
#pragma GCC unroll 2
      for (int b = 0; b < Blocks; ++b) {
        const __m512i weights = _mm512_load_si512(s.w[block + b] + k * kInt8TileBytes + word * 64);
#pragma GCC unroll 16
        for (int t = 0; t < Tokens; ++t) {
          dots[b][t] = add_products(dots[b][t], weights, x + t * kBlockCols + word * 4);
        }
      }
    }
  }
#pragma GCC unroll 2
  for (int b = 0; b < Blocks; ++b) {
    const int64_t row = s.row + (block + b) * kBlockRows, left = s.p.rows - row;
    if (left <= 0) break;
    const auto total = [&](int t) {
      float* sums = s.sums + (block + b) * kSums + t * kBlockRows;
      const __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[b][t]), _mm512_set1_ps(scales[t]));
      return _mm512_fmadd_ps(sum, s.scale[block + b], s.first ? _mm512_setzero_ps() : _mm512_load_ps(sums));
    };
    if (!s.last) {
#pragma GCC unroll 16
      for (int t = 0; t < Tokens; ++t) _mm512_store_ps(s.sums + (block + b) * kSums + t * kBlockRows, total(t));
      continue;
    }
    const __mmask16 mask = first_lanes(left);
    const __m512 scale =
        s.p.row_scale == nullptr ? _mm512_set1_ps(1) : _mm512_maskz_loadu_ps(mask, s.p.row_scale + row);
    const __m512 bias = s.p.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, s.p.bias + row);
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) {
      if (t >= count) break;
      _mm512_mask_storeu_ps(s.p.out + (s.token + t) * s.p.out_stride + row, mask,
                            _mm512_fmadd_ps(total(t), scale, bias));
    }
  }
}

// Few tokens take both blocks at once: a product's sum is some cycles old before the next one can add to it.
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
  auto* room = reinterpret_cast<std::byte*>(scratch + kBlocks * kSums);
  for (int64_t row = 0; row < p.rows; row += kBlocks * kBlockRows) {
    const std::byte* w = p.w + row / kBlockRows * stride;
    const int64_t second = row + kBlockRows < p.rows ? stride : 0;  // the last of an odd number is taken twice
    for (int64_t s = 0; s < supers; s += kSupers, w += kSupers * kBytes) {
      const int64_t count = std::min(supers - s, kSupers);
      const bool last = s + count == supers;
      // What follows in memory order: more columns of these blocks, or the next two blocks.
      const std::byte* next = w + (last ? kBlocks * stride - s * kBytes : count * kBytes);
      const int64_t next_bytes = std::min(last ? supers : supers - s - count, kSupers) * kBytes;
      Prefetch ahead(next, next + stride, next_bytes, tile_groups(n) * count);
      Step step{p, nullptr, count, {}, {}, nullptr, ahead, row, 0, s == 0, last};
      for (int64_t b = 0; b < kBlocks; ++b) {
        const std::byte* block = w + b * second;
        const ChunkScale scale = chunk_scale<type>(block, count);
        std::byte* out = room + b * kExpanded;
        step.w[b] = out;
        step.scale[b] = scale.scale;
        for (int64_t i = 0; i < count; ++i) {
          for (int group = 0; group < kGroups; ++group) {
            expand_group<type, true>(block + i * kBytes, group, scale.inverse, out + i * kInt8TileBytes);
          }
        }
      }
      for (int64_t t = 0; t < n; t += kTileRows) {
        step.x = p.x.chunk(token + t, s * kBlockCols);
        step.sums = scratch + t * kBlockRows;
        step.token = token + t;
        multiply(step, std::min(n - t, kTileRows));
      }
    }
  }
}

void matmul(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale, const float* bias,
            Int8Tiles x, int64_t n, float* out, int64_t out_stride, float* scratch) {
  const Product p{w, rows, cols, row_scale, bias, x, out, out_stride};
  for (int64_t token = 0; token < n; token += kTileTokens) {
    const int64_t count = std::min(n - token, kTileTokens);
    if (type == WeightType::q4) tokens<WeightType::q4>(p, token, count, scratch);
    if (type == WeightType::q8) tokens<WeightType::q8>(p, token, count, scratch);
  }
}

}  // namespace

extern const Int8TileKernels kernels;
const Int8TileKernels kernels = {.name = "avx512 int8",
                                 .peak = nullptr,
                                 .fewest_rows = 13,
                                 .quantize = quantize<true>,
                                 .matmul = matmul,
                                 .busy = nullptr};

}  // namespace zaya::ops::vnni_tiles
