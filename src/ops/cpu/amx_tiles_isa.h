// What the AMX kernels share. Included only by amx*_isa.cc.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "ops/cpu/avx512_isa.h"

namespace zaya::ops::amx {
namespace {

// Every tile is 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

// The compiler knows neither what the tile instructions read nor what they write.
inline void memory_barrier() { __asm__ volatile("" : : : "memory"); }

inline void configure_tiles() {
  TileConfig config;
  // GCC 12 declares that loadconfig reads 8 of the 64 bytes and drops the stores to the others: make it keep them.
  __asm__ volatile("" : : "r"(&config) : "memory");
  _tile_loadconfig(&config);
}

// The upper halves of `even` (to the low half of each lane) and `odd`: a row of a tile of column pairs.
inline void store_pairs(void* out, __m512 even, __m512 odd) {
  const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(even), 16);
  _mm512_store_si512(out, _mm512_mask_blend_epi16(0xaaaaaaaau, low, _mm512_castps_si512(odd)));
}

}  // namespace
}  // namespace zaya::ops::amx
