// Products of BF16 by AVX512_BF16's vectors. Included only by *_isa.cc that are compiled for it.
#pragma once

#include <immintrin.h>

#include "ops/cpu/avx512_isa.h"
#include "ops/cpu/tiles.h"

namespace zaya::ops::ZAYA_ISA {
namespace {

// total + the products of a pair of `pairs` in each lane with the pair at p. The product broadcasts by itself, which
// GCC 12 does not find.
inline __attribute__((always_inline)) __m512 add_pairs(__m512 total, __m512i pairs, const uint16_t* p) {
  typedef uint32_t Word __attribute__((may_alias));
  __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(total) : "v"(pairs), "m"(*reinterpret_cast<const Word*>(p)));
  return total;
}

// total[t] += the first Rows rows of tile `a` (rows of 32 columns) times tile `b` (16 pairs of rows, 16 columns).
template <int Rows>
inline __attribute__((always_inline)) void add_tile(const uint16_t* a, const uint16_t* b, __m512 (&total)[Rows]) {
#pragma GCC unroll 2
  for (int64_t pair = 0; pair < kTileCols / 2; ++pair) {
    const __m512i pairs = _mm512_loadu_si512(b + pair * 32);
#pragma GCC unroll 16
    for (int t = 0; t < Rows; ++t) total[t] = add_pairs(total[t], pairs, a + t * kTileCols + pair * 2);
  }
}

}  // namespace
}  // namespace zaya::ops::ZAYA_ISA
