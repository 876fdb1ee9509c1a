// Queries as tiles take them, for the kernels of attention. Included only by *_isa.cc that are compiled for AVX-512.
#pragma once

#include "ops/cpu/avx512_isa.h"

namespace zaya::ops {
namespace {

// The 16 × 16 floats of 16 rows, transposed.
inline void transpose(__m512 (&row)[16]) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(row[i], row[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(row[i], row[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    const auto pair = [](__m512 a, __m512 b, bool high) {
      const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
      return _mm512_castpd_ps(high ? _mm512_unpackhi_pd(x, y) : _mm512_unpacklo_pd(x, y));
    };
    row[i] = pair(t[i], t[i + 2], false);
    row[i + 1] = pair(t[i], t[i + 2], true);
    row[i + 2] = pair(t[i + 1], t[i + 3], false);
    row[i + 3] = pair(t[i + 1], t[i + 3], true);
  }
  // row[4b + c] holds column 4l + c of rows 4b…4b+3 in its 128-bit lane l: transpose the lanes.
  for (int c = 0; c < 4; ++c) {
    const __m512 low_even = _mm512_shuffle_f32x4(row[c], row[4 + c], 0x88);
    const __m512 low_odd = _mm512_shuffle_f32x4(row[c], row[4 + c], 0xdd);
    const __m512 high_even = _mm512_shuffle_f32x4(row[8 + c], row[12 + c], 0x88);
    const __m512 high_odd = _mm512_shuffle_f32x4(row[8 + c], row[12 + c], 0xdd);
    t[c] = _mm512_shuffle_f32x4(low_even, high_even, 0x88);
    t[8 + c] = _mm512_shuffle_f32x4(low_even, high_even, 0xdd);
    t[4 + c] = _mm512_shuffle_f32x4(low_odd, high_odd, 0x88);
    t[12 + c] = _mm512_shuffle_f32x4(low_odd, high_odd, 0xdd);
  }
  for (int i = 0; i < 16; ++i) row[i] = t[i];
}

inline __m512 round_up_half(__m512 x) {
  // So that truncation to BF16 rounds to nearest.
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000)));
}

// `count` ≤ 16 queries, row t at q + t · stride, times `factor`, as the right-hand tiles of scores: [dim
// pairs][queries].
void pack_queries(const float* q, int64_t stride, int64_t count, int64_t dim, float factor, uint16_t* out) {
  const __m512 scale = _mm512_set1_ps(factor);
  for (int64_t d = 0; d < dim; d += 16) {
    __m512 row[16];
    for (int64_t t = 0; t < 16; ++t) {
      row[t] = t < count ? _mm512_mul_ps(_mm512_loadu_ps(q + t * stride + d), scale) : _mm512_setzero_ps();
    }
    transpose(row);
    for (int64_t i = 0; i < 16; i += 2) {
      store_pairs(out + (d + i) * 16, round_up_half(row[i]), round_up_half(row[i + 1]));
    }
  }
}

}  // namespace
}  // namespace zaya::ops
