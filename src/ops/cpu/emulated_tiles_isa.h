// AMX's tile instructions in AVX-512's, so that the kernels that use them can be tested on processors without
// (ZAYA_EMULATE): the same tiles of 16 rows of 64 bytes, the same products; slow. Only what those kernels use: all
// tiles whole, no other configuration. Included only by amx_tiles_isa.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace zaya::ops::emulated {

struct alignas(64) Tile {
  std::byte row[16][64];
};
inline thread_local Tile tiles[8];

inline void load(int t, const void* base, int64_t stride) {
  for (int r = 0; r < 16; ++r) std::memcpy(tiles[t].row[r], static_cast<const std::byte*>(base) + r * stride, 64);
}
inline void store(int t, void* base, int64_t stride) {
  for (int r = 0; r < 16; ++r) std::memcpy(static_cast<std::byte*>(base) + r * stride, tiles[t].row[r], 64);
}
inline void zero(int t) { std::memset(&tiles[t], 0, sizeof(Tile)); }

// c[r][n] += Σ over pairs k of a[r][2k] · b[k][2n] + a[r][2k+1] · b[k][2n+1].
inline void multiply_bf16(int c, int a, int b) {
  for (int r = 0; r < 16; ++r) {
    __m512 sum = _mm512_load_ps(tiles[c].row[r]);
    for (int k = 0; k < 16; ++k) {
      int32_t pair;
      std::memcpy(&pair, tiles[a].row[r] + k * 4, 4);
      sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)_mm512_load_si512(tiles[b].row[k]));
    }
    _mm512_store_ps(tiles[c].row[r], sum);
  }
}

// The same of signed bytes, four at a time.
inline void multiply_bytes(int c, int a, int b) {
  for (int r = 0; r < 16; ++r) {
    for (int n = 0; n < 16; ++n) {
      int32_t sum;
      std::memcpy(&sum, tiles[c].row[r] + n * 4, 4);
      for (int k = 0; k < 64; ++k) {
        sum += static_cast<int8_t>(tiles[a].row[r][k]) * static_cast<int8_t>(tiles[b].row[k / 4][n * 4 + k % 4]);
      }
      std::memcpy(tiles[c].row[r] + n * 4, &sum, 4);
    }
  }
}

}  // namespace zaya::ops::emulated

#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#undef _tile_dpbssd
#define _tile_loadd(t, base, stride) zaya::ops::emulated::load(t, base, stride)
#define _tile_stream_loadd(t, base, stride) zaya::ops::emulated::load(t, base, stride)
#define _tile_stored(t, base, stride) zaya::ops::emulated::store(t, base, stride)
#define _tile_zero(t) zaya::ops::emulated::zero(t)
#define _tile_dpbf16ps(c, a, b) zaya::ops::emulated::multiply_bf16(c, a, b)
#define _tile_dpbssd(c, a, b) zaya::ops::emulated::multiply_bytes(c, a, b)
#define _tile_loadconfig(config) static_cast<void>(config)
#define _tile_release() static_cast<void>(0)
