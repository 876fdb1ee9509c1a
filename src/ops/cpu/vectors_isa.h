// The vectors that the kernels of one instruction set compute with. Included only by *_isa.cc, which are compiled once
// per instruction set in the namespace ZAYA_ISA. Vectors are the compiler's vector extension, so one source serves
// every width; nothing from the standard library with external linkage may appear in those files, or the linker could
// pick an AVX-512 copy of it for a machine without.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__FMA__)
#include <immintrin.h>
#endif

namespace zaya::ops::ZAYA_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;  // two registers where only 128 bits are native
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef uint32_t UintVec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));
typedef float VecAt __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef uint16_t HalfAt __attribute__((vector_size(kLanes * 2), aligned(2), may_alias));
typedef uint8_t ByteAt __attribute__((vector_size(kLanes), aligned(1), may_alias));

inline Vec load(const float* p) { return *reinterpret_cast<const VecAt*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<VecAt*>(p) = v; }
// By name: the extension's way of writing it, Vec{} + x, is an addition, which a compiler must not drop for −0's sake.
inline Vec splat(float x) {
#if defined(__AVX512F__)
  return (Vec)_mm512_set1_ps(x);
#elif defined(__AVX2__)
  return (Vec)_mm256_set1_ps(x);
#else
  return Vec{x, x, x, x, x, x, x, x};
#endif
}

// Bytes as 32-bit numbers. By name too: GCC 12 takes __builtin_convertvector of bytes apart, one by one.
inline UintVec widen_unsigned(const void* p) {
#if defined(__AVX512F__)
  return (UintVec)_mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
#elif defined(__AVX2__)
  return (UintVec)_mm256_cvtepu8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p)));
#else
  return __builtin_convertvector(*static_cast<const ByteAt*>(p), UintVec);
#endif
}
// The same of 16-bit numbers, which GCC 12 converts in two halves.
inline UintVec widen_halves(const void* p) {
#if defined(__AVX512F__)
  return (UintVec)_mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
#elif defined(__AVX2__)
  return (UintVec)_mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
#else
  return __builtin_convertvector(*static_cast<const HalfAt*>(p), UintVec);
#endif
}
inline IntVec widen_signed(const void* p) { return (IntVec)((widen_unsigned(p) ^ 0x80u) - 0x80u); }

inline Vec load_part(const float* p, int64_t count) {
  Vec v = {};
  for (int64_t i = 0; i < count; ++i) v[i] = p[i];
  return v;
}

inline void store_part(float* p, Vec v, int64_t count) {
  for (int64_t i = 0; i < count; ++i) p[i] = v[i];
}

// a · b + c: fused wherever the instruction set can, by name, because a compiler left to contract by itself fuses one
// tile's loop and not another's, and then a token's bits depend on its neighbours.
inline Vec multiply_add(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

// A fixed tree of additions: lane i and lane i + half, and so on down.
inline float sum(Vec v) {
#if defined(__FMA__)
#if defined(__AVX512F__)
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
#else
  const __m256 eight = (__m256)v;
#endif
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
#else
  float lanes[kLanes];
  store(lanes, v);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
#endif
}

// exp(x) for x ≤ 0, flushed to zero below −87; relative error about 2e-7. x = k·ln 2 + r, |r| ≤ ln 2 / 2, Taylor in r.
inline Vec exp_nonpositive(Vec x) {
  const Vec floor = splat(-87.0f);
  x = x > floor ? x : floor;
  constexpr float kRound = 12582912.0f;  // 1.5 · 2^23: adding it leaves the nearest integer in the low mantissa bits
  const Vec shifted = multiply_add(x, splat(1.44269504f), splat(kRound));
  const Vec k = shifted - kRound;
  const Vec whole = multiply_add(k, splat(-0.693359375f), x);  // ln 2 in two parts
  const Vec r = multiply_add(k, splat(2.12194440e-4f), whole);
  Vec p = splat(1.0f / 5040);
  p = multiply_add(p, r, splat(1.0f / 720));
  p = multiply_add(p, r, splat(1.0f / 120));
  p = multiply_add(p, r, splat(1.0f / 24));
  p = multiply_add(p, r, splat(1.0f / 6));
  p = multiply_add(p, r, splat(0.5f));
  p = multiply_add(p, r, splat(1.0f));
  p = multiply_add(p, r, splat(1.0f));
  const IntVec exponent = __builtin_convertvector(k, IntVec);
  return (Vec)((IntVec)p + (exponent << 23));
}

}  // namespace
}  // namespace zaya::ops::ZAYA_ISA
