// Attention of single tokens on AMX tiles, keys and values as they lie in the cache.

#include "ops/cpu/amx_tiles_isa.h"
#include "ops/cpu/tile_attention_isa.h"
#include "ops/cpu/tile_queries_isa.h"

namespace zaya::ops::amx {

void scores(const float* queries, int64_t group, const KvPages& keys, int64_t dim, float* out, int64_t stride,
            float* scratch) {
  auto* packed = reinterpret_cast<uint16_t*>(scratch);
  float* products = scratch + dim * 8;  // [16 keys][16 queries]
  pack_queries(queries, dim, group, dim, 1, packed);
  configure_tiles();
  memory_barrier();
  // From a multiple of 16 slots on, so that a tile lies in one page; what it holds too many of is thrown away.
  const int64_t slot = dim * 2;
  for (int64_t i = -(keys.first % 16); i < keys.count; i += 16) {
    const std::byte* tile = keys.slot(i, dim);
    // Of the next page, 1 KB of each 4 KB: several streams come faster than one.
    const int64_t at = keys.first + i;
    const std::byte* ahead = keys.after(at / kPageTokens);
    _tile_zero(0);
    for (int64_t d = 0; d < dim / kTileCols; ++d) {
      _tile_loadd(4, packed + d * kTileElements, 64);
      _tile_loadd(5, tile + d * 64, slot);
      _tile_dpbf16ps(0, 5, 4);
      if (ahead == nullptr) continue;
      for (int64_t line = 0; line < 16; ++line) {
        _mm_prefetch(ahead + d * 4096 + at % kPageTokens / 16 * 1024 + line * 64, _MM_HINT_T0);
      }
    }
    _tile_stored(0, products, 64);
    memory_barrier();
    __m512 row[16];
    for (int64_t k = 0; k < 16; ++k) row[k] = _mm512_load_ps(products + k * 16);
    transpose(row);
    const __mmask16 valid = first_lanes(keys.count - i) & static_cast<__mmask16>(~first_lanes(-i));
    for (int64_t g = 0; g < group; ++g) _mm512_mask_storeu_ps(out + g * stride + i, valid, row[g]);
  }
  _tile_release();
}

namespace {

// 32 · Parts numbers of each value, from number d on.
template <int Parts>
void add_weighted(const float* weights, int64_t stride, int64_t group, const KvPages& values, int64_t dim, int64_t d,
                  float* out, float* scratch) {
  auto* factors = reinterpret_cast<uint16_t*>(scratch);  // [16 queries][32 values]
  auto* pairs = factors + kTileElements;                 // [2 · Parts tiles][16 pairs of values][16 numbers]
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (Parts > 1) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t i = 0; i < values.count; i += 32) {
    const int64_t left = values.count - i;
    for (int64_t g = 0; g < group; ++g) {
      const float* w = weights + g * stride + i;
      const __m512 low = _mm512_maskz_loadu_ps(first_lanes(left), w);
      const __m512 high = _mm512_maskz_loadu_ps(first_lanes(left - 16), w + 16);
      _mm512_store_si512(factors + g * kTileCols, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    for (int64_t r = 0; r < 16; ++r) {
      // Numbers of even and odd values side by side. Within each 8 numbers the first four go to one tile, the others to
      // the next.
      const auto row = [&](int64_t k) { return k < left ? values.slot(i + k, dim) + d * 2 : nullptr; };
      const std::byte *even = row(r * 2), *odd = row(r * 2 + 1);
      // Of the next page, two values of each quarter in turn, as above.
      const int64_t at = values.first + i + r * 2, turn = at % kPageTokens / 2;
      const std::byte* page = values.after(at / kPageTokens);
      const std::byte* ahead = page == nullptr ? nullptr : page + ((turn % 4 * 8 + turn / 4) * 2 * dim + d) * 2;
      for (int part = 0; part < Parts; ++part) {
        const __m512i a = even != nullptr ? _mm512_loadu_si512(even + part * 64) : _mm512_setzero_si512();
        const __m512i b = odd != nullptr ? _mm512_loadu_si512(odd + part * 64) : _mm512_setzero_si512();
        uint16_t* to = pairs + (part * 2 * 16 + r) * kTileCols;
        _mm512_store_si512(to, _mm512_unpacklo_epi16(a, b));
        _mm512_store_si512(to + kTileElements, _mm512_unpackhi_epi16(a, b));
        if (ahead == nullptr) continue;
        _mm_prefetch(ahead + part * 64, _MM_HINT_T0);
        _mm_prefetch(ahead + dim * 2 + part * 64, _MM_HINT_T0);
      }
    }
    memory_barrier();
    _tile_loadd(4, factors, 64);
    _tile_loadd(5, pairs, 64);
    _tile_loadd(6, pairs + kTileElements, 64);
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 4, 6);
    if constexpr (Parts > 1) {
      _tile_loadd(5, pairs + 2 * kTileElements, 64);
      _tile_loadd(6, pairs + 3 * kTileElements, 64);
      _tile_dpbf16ps(2, 4, 5);
      _tile_dpbf16ps(3, 4, 6);
    }
    memory_barrier();
  }
  auto* sums = reinterpret_cast<float*>(pairs);  // [2 · Parts][16 queries][16]
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + kSumTile, 64);
  if constexpr (Parts > 1) {
    _tile_stored(2, sums + 2 * kSumTile, 64);
    _tile_stored(3, sums + 3 * kSumTile, 64);
  }
  memory_barrier();
  const __m512i lower = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  const __m512i upper = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
  for (int64_t g = 0; g < group; ++g) {
    for (int part = 0; part < Parts; ++part) {
      const __m512 first = _mm512_load_ps(sums + (part * 2 * 16 + g) * 16);
      const __m512 second = _mm512_load_ps(sums + ((part * 2 + 1) * 16 + g) * 16);
      float* to = out + g * dim + d + part * 32;
      _mm512_storeu_ps(to, _mm512_permutex2var_ps(first, lower, second));
      _mm512_storeu_ps(to + 16, _mm512_permutex2var_ps(first, upper, second));
    }
  }
}

}  // namespace

void weighted_values(const float* weights, int64_t stride, int64_t group, const KvPages& values, int64_t dim,
                     float* out, float* scratch) {
  auto* factors = reinterpret_cast<uint16_t*>(scratch);
  for (int64_t g = group; g < 16; ++g) _mm512_store_si512(factors + g * kTileCols, _mm512_setzero_si512());
  configure_tiles();
  int64_t d = 0;
  for (; d + 64 <= dim; d += 64) add_weighted<2>(weights, stride, group, values, dim, d, out, scratch);
  if (d < dim) add_weighted<1>(weights, stride, group, values, dim, d, out, scratch);
  _tile_release();
}

}  // namespace zaya::ops::amx
