// Weights and activations as tiles of bytes, whatever multiplies them. Included only by *_isa.cc that are compiled for
// AVX-512.
#pragma once

#include <immintrin.h>

#include <algorithm>

#include "ops/cpu/avx512_isa.h"
#include "ops/cpu/int8_tiles.h"

namespace zaya::ops {
namespace {

// What is inlined by force: GCC 12 drops direct calls of it beside AMX, and the products would take what was there
// before.
#define ZAYA_INLINE inline __attribute__((always_inline))

// A group's scales relative to the greatest of their rows' chunks: 0…255 in the even bytes, and in the odd ones.
struct Ratios {
  __m512i even, odd;
};
constexpr float kRatio = 255, kRatioBits = 256;

ZAYA_INLINE Ratios ratios(const std::byte* scales, __m512 inverse) {
  // Adding 2^23 leaves the nearest integer in the low byte.
  const __m512i ratio = _mm512_castps_si512(_mm512_fmadd_ps(load_scales(scales), inverse, _mm512_set1_ps(0x1p23f)));
  constexpr char kZero = -128;
  const __m512i even =
      _mm512_shuffle_epi8(ratio, _mm512_broadcast_i32x4(_mm_setr_epi8(0, kZero, 0, kZero, 4, kZero, 4, kZero, 8, kZero,
                                                                      8, kZero, 12, kZero, 12, kZero)));
  return {even, _mm512_slli_epi16(even, 8)};
}

// 64 weights times their ratios / 256, to nearest.
ZAYA_INLINE __m512i scaled(__m512i weights, const Ratios& r) {
  const __m512i even = _mm512_maddubs_epi16(r.even, weights), odd = _mm512_maddubs_epi16(r.odd, weights);
  const __m512i half = _mm512_set1_epi16(128);
  return _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaau, _mm512_mulhrs_epi16(even, half), _mm512_add_epi16(odd, half));
}

// One group of columns of a block, out of superblock `w`, as a quarter of its tile; Unsigned: 128 too high.
template <WeightType type, bool Unsigned>
ZAYA_INLINE void expand_group(const std::byte* w, int group, __m512 inverse, std::byte* out) {
  const Ratios r = ratios(w + group * kBlockRows, inverse);
  out += group * 256;
  const auto store = [](std::byte* to, __m512i weights) {
    if constexpr (Unsigned) weights = _mm512_xor_si512(weights, _mm512_set1_epi8(-128));
    _mm512_store_si512(to, weights);
  };
  if constexpr (type == WeightType::q4) {
    const __m512i table =
        _mm512_broadcast_i32x4(_mm_setr_epi8(6, 18, 31, 45, 60, 77, 98, 127, -6, -18, -31, -45, -60, -77, -98, -127));
    const __m512i low = _mm512_set1_epi8(0x0f);
#pragma GCC unroll 2
    for (int word = 0; word < 2; ++word, out += 128) {
      const __m512i codes = _mm512_loadu_si512(w + kScaleBytes + (group * 2 + word) * 64);
      const __m512i even = _mm512_shuffle_epi8(table, _mm512_and_si512(codes, low));
      const __m512i odd = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi32(codes, 4), low));
      store(out, scaled(even, r));
      store(out + 64, scaled(odd, r));
    }
  } else {
#pragma GCC unroll 4
    for (int word = 0; word < 4; ++word, out += 64) {
      store(out, scaled(_mm512_loadu_si512(w + kScaleBytes + (group * 4 + word) * 64), r));
    }
  }
}

// What the weights of a block's rows are multiplied with, and what its groups' scales are, to become bytes: over
// `supers` superblocks.
struct ChunkScale {
  __m512 scale, inverse;
};

// Codes of scales are in the order of the scales.
template <WeightType type>
ZAYA_INLINE ChunkScale chunk_scale(const std::byte* w, int64_t supers) {
  __m512i codes = _mm512_loadu_si512(w);
  for (int64_t s = 1; s < supers; ++s) {
    codes = _mm512_max_epu8(codes, _mm512_loadu_si512(w + s * superblock_bytes(type)));
  }
  const __m256i two = _mm256_max_epu8(_mm512_castsi512_si256(codes), _mm512_extracti64x4_epi64(codes, 1));
  alignas(16) std::byte greatest[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(greatest),
                  _mm_max_epu8(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1)));
  const __m512 scale = load_scales(greatest);
  return {_mm512_mul_ps(scale, _mm512_set1_ps(kRatioBits / kRatio)), _mm512_div_ps(_mm512_set1_ps(kRatio), scale)};
}

struct Product {
  const std::byte* w;
  int64_t rows, cols;
  const float* row_scale;
  const float* bias;
  Int8Tiles x;
  float* out;
  int64_t out_stride;
};

// Int8TileKernels::quantize; Offsets: with those that vectors take.
template <bool Offsets>
void quantize(WeightType type, const float* x, int64_t n, int64_t cols, int64_t stride, Int8Tiles out, int64_t row,
              int64_t col) {
  const __m128i even_first = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
  const int64_t padded = superblocks_of(cols) * kBlockCols;
  for (int64_t i = 0; i < n; ++i, ++row) {
    for (int64_t c = 0; c < cols; c += kInt8Cols) {
      const float* from = x + i * stride + c;
      const int64_t end = std::min(kInt8Cols, padded - c);
      const auto load = [&](int64_t at) { return _mm512_maskz_loadu_ps(first_lanes(cols - c - at), from + at); };
      __m512 greatest = _mm512_setzero_ps();
      for (int64_t at = 0; at < end; at += 16) greatest = _mm512_max_ps(greatest, _mm512_abs_ps(load(at)));
      const float scale = _mm512_reduce_max_ps(greatest) / 127;
      const __m512 inverse = _mm512_set1_ps(scale > 0 ? 1.0f / scale : 0.0f);
      std::byte* chunk = out.chunk(row, col + c);
      reinterpret_cast<float*>(chunk + kInt8ScalesAt)[row % kTileRows] = scale;
      std::byte* to = chunk + row % kTileRows * kBlockCols;
      [[maybe_unused]] __m512i sum = _mm512_setzero_si512();
      for (int64_t at = 0; at < end; at += 16) {
        __m128i codes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(load(at), inverse)));
        if constexpr (Offsets) sum = _mm512_add_epi32(sum, _mm512_cvtepi8_epi32(codes));
        if (type == WeightType::q4) codes = _mm_shuffle_epi8(codes, even_first);
        _mm_store_si128(reinterpret_cast<__m128i*>(to + at / kBlockCols * kInt8TileBytes + at % kBlockCols), codes);
      }
      if constexpr (Offsets) {
        reinterpret_cast<int32_t*>(chunk + kInt8OffsetsAt)[row % kTileRows] = -128 * _mm512_reduce_add_epi32(sum);
      }
    }
  }
}

}  // namespace
}  // namespace zaya::ops
