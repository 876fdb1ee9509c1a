// The products that attention of several tokens is made of, by AMX's tiles or by AVX512_BF16's vectors. Included by
// *_isa.cc only that are compiled for one of them.
#pragma once

#include "ops/cpu/tiles.h"
#if defined(ZAYA_TILES)
#include "ops/cpu/amx_tiles_isa.h"
#else
#include "ops/cpu/bf16_products_isa.h"
#endif

namespace zaya::ops::ZAYA_ISA {
namespace {

constexpr int64_t kProduct = 16 * 16;  // floats

// sums[h · sums_head + i · kProduct] = a[i · across] · b[h · b_head], or that added to what is there, for i = 0 and 1
// and h < Heads: 16 rows of BF16 in `steps` tiles of 32 columns, by as many tiles of 16 pairs of rows and 16 columns,
// which follow each other. Distances in elements.
#if defined(ZAYA_TILES)
inline void begin_products() { configure_tiles(); }
inline void end_products() { _tile_release(); }

// With two heads each tile of `a` is loaded for both.
template <int Heads, bool Add>
inline void products(const uint16_t* a, int64_t across, const uint16_t* b, int64_t b_head, int64_t steps, float* sums,
                     int64_t sums_head) {
  memory_barrier();
  if constexpr (Add) {
    _tile_loadd(0, sums, 64);
    _tile_loadd(1, sums + kProduct, 64);
    if constexpr (Heads > 1) _tile_loadd(2, sums + sums_head, 64);
    if constexpr (Heads > 1) _tile_loadd(3, sums + sums_head + kProduct, 64);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (Heads > 1) _tile_zero(2);
    if constexpr (Heads > 1) _tile_zero(3);
  }
  for (int64_t k = 0; k < steps; ++k) {
    _tile_loadd(4, a + k * kTileElements, 64);
    _tile_loadd(5, a + across + k * kTileElements, 64);
    _tile_loadd(6, b + k * kTileElements, 64);
    if constexpr (Heads > 1) _tile_loadd(7, b + b_head + k * kTileElements, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 5, 6);
    if constexpr (Heads > 1) _tile_dpbf16ps(2, 4, 7);
    if constexpr (Heads > 1) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + kProduct, 64);
  if constexpr (Heads > 1) _tile_stored(2, sums + sums_head, 64);
  if constexpr (Heads > 1) _tile_stored(3, sums + sums_head + kProduct, 64);
  memory_barrier();
}
#else
inline void begin_products() {}
inline void end_products() {}

template <int Heads, bool Add>
inline void products(const uint16_t* a, int64_t across, const uint16_t* b, int64_t b_head, int64_t steps, float* sums,
                     int64_t sums_head) {
  for (int h = 0; h < Heads; ++h) {
    for (int i = 0; i < 2; ++i) {
      float* out = sums + h * sums_head + i * kProduct;
      __m512 total[16];
      for (int t = 0; t < 16; ++t) total[t] = Add ? _mm512_load_ps(out + t * 16) : _mm512_setzero_ps();
      for (int64_t k = 0; k < steps; ++k) {
        add_tile<16>(a + i * across + k * kTileElements, b + h * b_head + k * kTileElements, total);
      }
      for (int t = 0; t < 16; ++t) _mm512_store_ps(out + t * 16, total[t]);
    }
  }
}
#endif

}  // namespace
}  // namespace zaya::ops::ZAYA_ISA
