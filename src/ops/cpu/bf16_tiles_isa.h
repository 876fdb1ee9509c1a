// Weights and activations as tiles of BF16, whatever multiplies them. Included only by *_isa.cc that are compiled for
// AVX512_BF16.
#pragma once

#include <immintrin.h>

#include <algorithm>

#include "ops/cpu/avx512_isa.h"
#include "ops/cpu/tiles.h"

namespace zaya::ops::ZAYA_ISA {
namespace {

inline __m512 scales(const std::byte* p) {
  // Truncation to BF16 loses half a unit in the last place, 2^-8 / m of a value with mantissa m: on average over
  // mantissas ln 2 · 2^-8, which this puts back at no cost. What is left is as wide as proper rounding's error.
  return _mm512_mul_ps(load_scales(p), _mm512_set1_ps(1.0f + 0.693f * 0x1p-8f));
}

// One group of columns of a block, out of superblock `w`, as a quarter of its two tiles. Inlined by force: GCC 12 drops
// direct calls of it beside AMX, and the products would take what was there before.
template <WeightType type>
inline __attribute__((always_inline)) void expand_group(const std::byte* w, int group, std::byte* out);

template <>
inline __attribute__((always_inline)) void expand_group<WeightType::q4>(const std::byte* w, int group, std::byte* out) {
  const __m512 table = _mm512_setr_ps(6, 18, 31, 45, 60, 77, 98, 127, -6, -18, -31, -45, -60, -77, -98, -127);
  const __m512 scale = scales(w + group * kBlockRows);
#pragma GCC unroll 2
  for (int word = 0; word < 2; ++word) {
    const __m512i codes = _mm512_loadu_si512(w + kScaleBytes + (group * 2 + word) * 64);
    std::byte* rows = out + (group * 2 + word) * 256;
    const auto weight = [&](int j) {
      return _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_srli_epi32(codes, static_cast<unsigned>(4 * j)), table), scale);
    };
    store_pairs(rows, weight(0), weight(1));
    store_pairs(rows + 64, weight(2), weight(3));
    store_pairs(rows + 128, weight(4), weight(5));
    store_pairs(rows + 192, weight(6), weight(7));
  }
}

template <>
inline __attribute__((always_inline)) void expand_group<WeightType::q8>(const std::byte* w, int group, std::byte* out) {
  const __m512 scale = scales(w + group * kBlockRows);
#pragma GCC unroll 4
  for (int word = 0; word < 4; ++word) {
    const __m512i codes = _mm512_loadu_si512(w + kScaleBytes + (group * 4 + word) * 64);
    std::byte* rows = out + (group * 4 + word) * 128;
    const auto weight = [&](int j) {
      const __m512i code = _mm512_srai_epi32(_mm512_slli_epi32(codes, static_cast<unsigned>(24 - 8 * j)), 24);
      return _mm512_mul_ps(_mm512_cvtepi32_ps(code), scale);
    };
    store_pairs(rows, weight(0), weight(1));
    store_pairs(rows + 64, weight(2), weight(3));
  }
}

struct Product {
  const std::byte* w;
  int64_t rows, cols;
  const float* row_scale;
  const float* bias;
  Bf16Tiles x;
  float* out;
  int64_t out_stride;
};

// Rows [row, row + n) of one tile group, a tile at a time: its lines follow each other. A row at a time, they would lie
// 1 KiB apart, sixteen to a set of the first-level cache (1.5 times as long, from memory).
template <class From>
inline void round_rows(const From& from, int64_t n, int64_t cols, Bf16Tiles out, int64_t row, int64_t col) {
  uint16_t* tile =
      out.data + (row / kTileRows * out.across + col / kTileCols) * kTileElements + row % kTileRows * kTileCols;
  int64_t c = 0;
  for (; c + kTileCols <= cols; c += kTileCols, tile += kTileElements) {
    for (int64_t i = 0; i < n; ++i) {
      const float* x = from(i) + c;
      const __m512bh rounded = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x));
      _mm512_storeu_si512(tile + i * kTileCols, (__m512i)rounded);
    }
  }
  for (const int64_t padded = superblocks_of(cols) * kBlockCols; c < padded; c += kTileCols, tile += kTileElements) {
    for (int64_t i = 0; i < n; ++i) {
      const auto part = [&](int64_t at) { return _mm512_maskz_loadu_ps(first_lanes(cols - at), from(i) + at); };
      _mm512_storeu_si512(tile + i * kTileCols, (__m512i)_mm512_cvtne2ps_pbh(part(c + 16), part(c)));
    }
  }
}

void to_bf16(const float* x, int64_t n, int64_t cols, int64_t stride, Bf16Tiles out, int64_t row, int64_t col) {
  for (int64_t i = 0; i < n;) {
    const int64_t count = std::min(n - i, kTileRows - (row + i) % kTileRows);
    round_rows([&](int64_t k) { return x + (i + k) * stride; }, count, cols, out, row + i, col);
    i += count;
  }
}

void gather_bf16(const float* const* rows, int64_t n, int64_t cols, Bf16Tiles out, int64_t row) {
  for (int64_t i = 0; i < n;) {
    const int64_t count = std::min(n - i, kTileRows - (row + i) % kTileRows);
    round_rows([&](int64_t k) { return rows[i + k]; }, count, cols, out, row + i, 0);
    i += count;
  }
}

}  // namespace
}  // namespace zaya::ops::ZAYA_ISA
