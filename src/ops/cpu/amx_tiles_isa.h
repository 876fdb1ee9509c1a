// What the AMX kernels share. Included only by amx*_isa.cc.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "ops/cpu/avx512_isa.h"
#if defined(ZAYA_EMULATE)
#include "ops/cpu/emulated_tiles_isa.h"
#endif
#include "ops/cpu/tiles.h"

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

// Sums of 2 · 16 tokens and 2 blocks: four tiles, [token half][block].
constexpr int64_t kSumTile = kTileRows * kBlockRows, kSums = 4 * kSumTile;

// The peak's loop: `iterations` rounds of four tile products of `columns` columns, by products(), on registers alone.
// Returns the operations done.
template <class Products>
inline __attribute__((always_inline)) double busy_tiles(int64_t iterations, int64_t columns, const Products& products) {
  configure_tiles();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (int64_t i = 0; i < iterations; ++i) products();
  _tile_release();
  return static_cast<double>(iterations * 4 * 2 * kTileRows * kBlockRows * columns);
}

}  // namespace
}  // namespace zaya::ops::amx
