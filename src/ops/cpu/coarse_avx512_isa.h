// What kernels for the head's 3-bit copy share on AVX-512. Included only by *_isa.cc that are compiled for it.
#pragma once

#include "ops/cpu/avx512_isa.h"
#include "ops/cpu/coarse_kernels.h"

namespace zaya::ops {
namespace {

// table3 by code, `offset` too high.
inline __m512i coarse_table(int offset) {
  const std::array<int8_t, 16> values = coarse_values(offset);
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values.data())));
}

// Half a superblock, 32 columns, as eight vectors of 16 rows × 4 columns.
inline __attribute__((always_inline)) void decode_coarse(const std::byte* p, __m512i table, __m512i (&out)[8]) {
  const auto look_up = [&](__m512i codes) {
    return _mm512_shuffle_epi8(table, _mm512_and_si512(codes, _mm512_set1_epi8(7)));
  };
  // Bits of `a` where the mask has some, else of b.
  const auto merge = [](int mask, __m512i a, __m512i b) {
    return _mm512_ternarylogic_epi64(_mm512_set1_epi8(static_cast<char>(mask)), a, b, 0xca);
  };
  const __m512i x = _mm512_loadu_si512(p), y = _mm512_loadu_si512(p + 64), z = _mm512_loadu_si512(p + 128);
  const __m512i rest = merge(15, merge(3, _mm512_srli_epi16(x, 6), _mm512_srli_epi16(y, 4)), _mm512_srli_epi16(z, 2));
  const __m512i from[4] = {x, y, z, rest};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    out[i * 2] = look_up(from[i]);
    out[i * 2 + 1] = look_up(_mm512_srli_epi16(from[i], 3));
  }
}

}  // namespace
}  // namespace zaya::ops
