// How numbers lie in memory, and what the kernels over them share (see vectors_isa.h). Included only by *_isa.cc.
#pragma once

#include "ops/cpu/vectors_isa.h"

namespace zaya::ops::ZAYA_ISA {
namespace {

// Weight readers: `Stored` is one element as it lies in memory; widen() gives kLanes of them as FP32, exactly.
struct F32 {
  using Stored = float;
  static Vec widen(const Stored* p) { return load(p); }
};

struct Bf16 {
  using Stored = uint16_t;
  static Vec widen(const Stored* p) { return (Vec)(widen_halves(p) << 16); }
};

// Moves the exponent and mantissa to FP32's place, then corrects the exponent's bias by an exact multiplication, which
// also makes subnormals right.
struct F16 {
  using Stored = uint16_t;
  static Vec widen(const Stored* p) {
    const UintVec bits = widen_halves(p);
    const Vec magnitude = (Vec)((bits & 0x7fffu) << 13) * 0x1p112f;
    return (Vec)((UintVec)magnitude | (bits & 0x8000u) << 16);
  }
};

struct F8E4M3 {
  using Stored = uint8_t;
  static Vec widen(const Stored* p) {
    const UintVec bits = widen_unsigned(p);
    const Vec magnitude = (Vec)((bits & 0x7fu) << 20) * 0x1p120f;
    return (Vec)((UintVec)magnitude | (bits & 0x80u) << 24);
  }
};

template <class Weight>
inline Vec widen_part(const typename Weight::Stored* p, int64_t count) {
  typename Weight::Stored padded[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) padded[i] = p[i];
  return Weight::widen(padded);
}

#if defined(__FMA__)
// sum() of as many vectors as they have lanes at once, by the same tree: lane i of the result is that of totals[i].
inline Vec sum_lanes(const Vec* totals) {
#if defined(__AVX512F__)
  __m512 heads[4];  // 128 bits for each g, of totals[4g + j]
  for (int j = 0; j < 4; ++j) {
    const auto halves = [&](int g) {  // lanes i and i + 8 of two vectors
      const __m512 a = (__m512)totals[4 * g + j], b = (__m512)totals[4 * g + 4 + j];
      return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    };
    const __m512 a = halves(0), b = halves(2);
    heads[j] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  const auto pairs = [&](int j) {
    return _mm512_add_ps(_mm512_shuffle_ps(heads[j], heads[j + 1], 0x44),
                         _mm512_shuffle_ps(heads[j], heads[j + 1], 0xee));
  };
  const __m512 a = pairs(0), b = pairs(2);
  return (Vec)_mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
#else
  __m256 heads[4];  // 128 bits of totals[j], then of totals[4 + j]
  for (int j = 0; j < 4; ++j) {
    const __m256 a = (__m256)totals[j], b = (__m256)totals[4 + j];
    heads[j] = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
  }
  const auto pairs = [&](int j) {
    return _mm256_add_ps(_mm256_shuffle_ps(heads[j], heads[j + 1], 0x44),
                         _mm256_shuffle_ps(heads[j], heads[j + 1], 0xee));
  };
  const __m256 a = pairs(0), b = pairs(2);
  return (Vec)_mm256_add_ps(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xdd));
#endif
}
#endif

}  // namespace
}  // namespace zaya::ops::ZAYA_ISA
