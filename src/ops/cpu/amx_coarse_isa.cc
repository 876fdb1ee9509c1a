// The head's first stage (coarse_kernels.h) on AMX's tiles of bytes. Compiled with AMX and AVX-512 enabled; reached
// only where both are there.
#include "ops/cpu/amx_tiles_isa.h"
#include "ops/cpu/coarse_avx512_isa.h"
#include "ops/cpu/coarse_kernels.h"

namespace zaya::ops::amx {
namespace {

constexpr int64_t kTokens = 64;  // four tiles of sums

// A superblock's weights as one tile: 16 fours of columns, a row each.
inline void expand(const std::byte* w, __m512i table, std::byte* tile) {
  for (int64_t half = 0; half < 2; ++half) {
    __m512i weights[8];
    decode_coarse(w + half * kCoarseSuperblock / 2, table, weights);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) _mm512_store_si512(tile + (half * 8 + i) * 64, weights[i]);
  }
}

void logits(const CoarseProduct& p, int64_t n) {
  const int64_t supers = superblocks_of(p.cols), tiles = (n + kTileRows - 1) / kTileRows;
  const __m512i table = coarse_table(0);
  alignas(64) std::byte room[2][kTileRows * 64];
  alignas(64) int32_t sums[4][kTileRows * kBlockRows];
  configure_tiles();
  const std::byte* w = p.blocks;
  for (int64_t row = 0; row < p.rows; row += kBlockRows) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t s = 0; s < supers; ++s, w += kCoarseSuperblock) {
      for (int64_t i = 0; i < kCoarseSuperblock; i += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(w + kCoarseAhead + i), _MM_HINT_T1);
      }
      std::byte* tile = room[s % 2];
      expand(w, table, tile);
      memory_barrier();
      _tile_loadd(4, tile, 64);
      const int8_t* codes = p.x.codes + s * tiles * kTileRows * kBlockCols;
      const auto tokens = [&](int64_t t) { return codes + t * kTileRows * kBlockCols; };
      _tile_loadd(5, tokens(0), 64);
      _tile_dpbssd(0, 5, 4);
      if (tiles > 1) {
        _tile_loadd(6, tokens(1), 64);
        _tile_dpbssd(1, 6, 4);
      }
      if (tiles > 2) {
        _tile_loadd(7, tokens(2), 64);
        _tile_dpbssd(2, 7, 4);
      }
      if (tiles > 3) {
        _tile_loadd(5, tokens(3), 64);
        _tile_dpbssd(3, 5, 4);
      }
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    _tile_stored(2, sums[2], 64);
    _tile_stored(3, sums[3], 64);
    memory_barrier();
    const OutputRows outputs(p, row);
    for (int64_t t = 0; t < n; ++t) {
      const __m512i total = _mm512_load_si512(sums[t / kTileRows] + t % kTileRows * kBlockRows);
      outputs.store(t, _mm512_mul_ps(_mm512_cvtepi32_ps(total), _mm512_set1_ps(p.x.scale[t])));
    }
  }
  _tile_release();
}

}  // namespace

extern const CoarseKernels coarse;
const CoarseKernels coarse = {"amx int8 tiles, 3-bit copy", kTokens, kTileRows, logits};

}  // namespace zaya::ops::amx
