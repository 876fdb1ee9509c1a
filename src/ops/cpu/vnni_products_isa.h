// The product of bytes by AVX512_VNNI's vectors. Included only by *_isa.cc that are compiled for it.
#pragma once

#include <immintrin.h>

namespace zaya::ops {
namespace {

// total + the products of four weights, unsigned, with the four signed codes at p, in each lane. The product broadcasts
// by itself, which takes half the instructions but which GCC 12 does not find.
inline __attribute__((always_inline)) __m512i add_products_at(__m512i total, __m512i weights, const void* p) {
  typedef int Word __attribute__((may_alias));
  __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(total) : "v"(weights), "m"(*static_cast<const Word*>(p)));
  return total;
}

}  // namespace
}  // namespace zaya::ops
