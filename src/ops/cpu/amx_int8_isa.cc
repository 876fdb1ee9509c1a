// Compiled with AMX (tiles of bytes) and AVX-512 enabled; reached only where both are there.
#include <immintrin.h>

#include <algorithm>
#include <type_traits>

#include "ops/cpu/amx_tiles_isa.h"
#include "ops/cpu/int8_tiles_isa.h"

namespace zaya::ops::amx_int8 {
namespace {

using amx::configure_tiles;
using amx::kSums;
using amx::kSumTile;
using amx::memory_barrier;

constexpr int64_t kSupers = kInt8Cols / kBlockCols;
constexpr int64_t kGroups = kBlockCols / kGroupCols;
constexpr int64_t kExpanded = kInt8Cols * kBlockRows;  // bytes of one block

// Up to kInt8Cols columns of two blocks as tiles: as amx_isa.cc has it, with a scale for each row.
template <WeightType type>
class Chunk {
 public:
  // The last of an odd number of blocks is taken twice.
  ZAYA_INLINE void start(const Product& p, int64_t row, int64_t super, std::byte* room) {
    const int64_t stride = block_bytes(type, p.cols), supers = superblocks_of(p.cols);
    supers_ = std::min(supers - super, kSupers);
    for (int64_t b = 0; b < 2; ++b) {
      packed_[b] = p.w + (row / kBlockRows + (row + b * kBlockRows < p.rows ? b : 0)) * stride + super * kBytes;
      room_[b] = room + b * kExpanded;
      const ChunkScale chunk = chunk_scale<type>(packed_[b], supers_);
      inverse_[b] = chunk.inverse;
      scale_[b] = chunk.scale;
    }
    // What follows in memory order: more columns of these blocks, or the next two blocks.
    ahead_ = super + kSupers < supers ? kSupers * kBytes : 2 * stride - super * kBytes;
    super_ = block_ = group_ = 0;
    locate();
  }
  int64_t groups() const { return supers_ * 2 * kGroups; }
  int64_t tiles() const { return supers_; }
  const std::byte* tile(int b, int64_t k) const { return room_[b] + k * kInt8TileBytes; }
  __m512 scale(int b) const { return scale_[b]; }  // of the rows of block b

  ZAYA_INLINE void expand(int64_t count) {
    for (; count > 0 && super_ < supers_; --count) {
      // A quarter of the superblock's lines, of the chunk after.
      constexpr int64_t kQuarter = kBytes / kGroups, kLines = kQuarter / 64 + 1;
      for (int64_t i = 0; i < kLines; ++i) {
        _mm_prefetch(reinterpret_cast<const char*>(w_ + ahead_ + group_ * kQuarter + i * 64), _MM_HINT_T0);
      }
      expand_group<type, false>(w_, group_, inverse_[block_], out_);
      if (++group_ < kGroups) continue;
      group_ = 0;
      block_ ^= 1;
      if (block_ == 0) ++super_;
      locate();
    }
  }
  ZAYA_INLINE void expand_rest() {
    expand(groups());
    memory_barrier();
  }

 private:
  static constexpr int64_t kBytes = superblock_bytes(type);

  void locate() {
    w_ = packed_[block_] + super_ * kBytes;
    out_ = room_[block_] + super_ * kInt8TileBytes;
  }

  __m512 inverse_[2], scale_[2];
  const std::byte* packed_[2];
  std::byte* room_[2];
  int64_t supers_ = 0, ahead_ = 0;
  // The group that is expanded next.
  int64_t super_ = 0;
  int block_ = 0, group_ = 0;
  const std::byte* w_ = nullptr;
  std::byte* out_ = nullptr;
};

// A chunk's integer sums of up to 32 tokens and two blocks, on their way to the FP32 sums, and after the last chunk to
// the outputs. That is done beside the tile products that follow.
class Waiting {
 public:
  Waiting(const Product& p) : p_(p) {}

  ZAYA_INLINE void start(const int32_t* from, float* sums, int64_t row, int64_t token, int64_t n, int64_t chunk,
                         __m512 scale0, __m512 scale1) {
    from_ = from;
    sums_ = sums;
    row_ = row;
    token_ = token;
    n_ = n;
    first_ = chunk == 0;
    last_ = chunk + 1 == p_.x.chunks;
    x_ = p_.x.chunk(token, chunk * kInt8Cols) + kInt8ScalesAt;
    scale_[0] = scale0;
    scale_[1] = scale1;
    next_ = 0;
    tiles_ = n > kTileRows ? 4 : 2;
  }

  ZAYA_INLINE void take() {
    if (next_ >= tiles_) return;
    const int64_t tile = next_++, half = tile / 2, b = tile % 2, first_row = row_ + b * kBlockRows;
    const auto* x = reinterpret_cast<const float*>(x_ + half * p_.x.chunks * kInt8ChunkBytes);
    const int32_t* from = from_ + tile * kSumTile;
    float* sums = sums_ + tile * kSumTile;
    const __m512 scale = scale_[b];
    const auto sum = [&](int64_t t) {
      return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_load_si512(from + t * kBlockRows)), _mm512_set1_ps(x[t]));
    };
    if (!last_) {
      if (first_) {
#pragma GCC unroll 4
        for (int64_t t = 0; t < kTileRows; ++t) {
          _mm512_store_ps(sums + t * kBlockRows, _mm512_mul_ps(sum(t), scale));
        }
      } else {
#pragma GCC unroll 4
        for (int64_t t = 0; t < kTileRows; ++t) {
          float* at = sums + t * kBlockRows;
          _mm512_store_ps(at, _mm512_fmadd_ps(sum(t), scale, _mm512_load_ps(at)));
        }
      }
      return;
    }
    if (first_row >= p_.rows) return;
    const __mmask16 mask = first_lanes(p_.rows - first_row);
    const __m512 row_scale =
        p_.row_scale == nullptr ? _mm512_set1_ps(1) : _mm512_maskz_loadu_ps(mask, p_.row_scale + first_row);
    const __m512 bias = p_.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, p_.bias + first_row);
    float* out = p_.out + (token_ + half * kTileRows) * p_.out_stride + first_row;
    const int64_t count = std::min(n_ - half * kTileRows, kTileRows);
    for (int64_t t = 0; t < count; ++t, out += p_.out_stride) {
      const __m512 before = first_ ? _mm512_setzero_ps() : _mm512_load_ps(sums + t * kBlockRows);
      const __m512 total = _mm512_fmadd_ps(sum(t), scale, before);
      _mm512_mask_storeu_ps(out, mask, _mm512_fmadd_ps(total, row_scale, bias));
    }
  }
  ZAYA_INLINE void take_rest() {
    while (next_ < tiles_) take();
  }

 private:
  const Product& p_;
  __m512 scale_[2];
  const int32_t* from_ = nullptr;
  float* sums_ = nullptr;
  const std::byte* x_ = nullptr;
  int64_t row_ = 0, token_ = 0, n_ = 0, next_ = 0, tiles_ = 0;
  bool first_ = false, last_ = false;
};

// Tiles 0–3 are sums, 4–5 activations [token half], 6–7 weights [block]. Multiplies the chunk's columns; beside each
// product expands `groups` groups of the next chunk and finishes a part of what waits.
template <int Halves, WeightType type>
ZAYA_INLINE void multiply(const std::byte* x, int64_t x_stride, const Chunk<type>& w, Chunk<type>& next, int64_t groups,
                          Waiting& waiting, const float* out, int64_t out_stride, int32_t* sums) {
  memory_barrier();
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (Halves > 1) _tile_zero(2);
  if constexpr (Halves > 1) _tile_zero(3);
  for (int64_t k = 0; k < w.tiles(); ++k) {
    // All loads before the products, activations past the first-level cache: see amx_isa.cc.
    _tile_stream_loadd(4, x + k * kInt8TileBytes, 64);
    _tile_loadd(6, w.tile(0, k), 64);
    _tile_loadd(7, w.tile(1, k), 64);
    if constexpr (Halves > 1) _tile_stream_loadd(5, x + x_stride + k * kInt8TileBytes, 64);
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    if constexpr (Halves > 1) _tile_dpbssd(2, 5, 6);
    if constexpr (Halves > 1) _tile_dpbssd(3, 5, 7);
    if (out != nullptr) {
      for (int64_t i = k * 8; i < k * 8 + 8; ++i) {
        __builtin_prefetch(out + i % 32 * out_stride, 1);
        __builtin_prefetch(out + i % 32 * out_stride + 16, 1);
      }
    }
    waiting.take();
    next.expand(groups);
  }
  waiting.take_rest();
  memory_barrier();
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + kSumTile, 64);
  if constexpr (Halves > 1) _tile_stored(2, sums + 2 * kSumTile, 64);
  if constexpr (Halves > 1) _tile_stored(3, sums + 3 * kSumTile, 64);
  memory_barrier();
}

// n ≤ kTileTokens tokens from `token` on: two blocks of weights at a time, chunk by chunk.
template <WeightType type>
void tokens(const Product& p, int64_t token, int64_t n, float* scratch) {
  const int64_t supers = superblocks_of(p.cols);
  auto* integers = reinterpret_cast<int32_t*>(scratch + kTileTokens / 32 * kSums);
  auto* room = reinterpret_cast<std::byte*>(integers + 2 * kSums);
  Chunk<type> chunks[2];
  Waiting waiting(p);
  int now = 0;
  int64_t turn = 0;
  chunks[now].start(p, 0, 0, room);
  chunks[now].expand_rest();
  for (int64_t row = 0; row < p.rows; row += 2 * kBlockRows) {
    for (int64_t s = 0; s < supers; s += kSupers, now ^= 1) {
      const Chunk<type>& chunk = chunks[now];
      Chunk<type>& next = chunks[now ^ 1];
      const bool last = s + kSupers >= supers;
      // After the last chunk of all the same again, unused.
      const bool over = last && row + 2 * kBlockRows >= p.rows;
      next.start(p, last && !over ? row + 2 * kBlockRows : row, last ? 0 : s + kSupers,
                 room + (now ^ 1) * 2 * kExpanded);
      const int64_t steps = (n + 31) / 32 * chunk.tiles(), groups = over ? 0 : (next.groups() + steps - 1) / steps;
      for (int64_t t = 0; t < n; t += 32, ++turn) {
        const int64_t count = std::min<int64_t>(n - t, 32);
        int32_t* sums = integers + turn % 2 * kSums;
        const auto pass = [&](auto halves) {
          multiply<halves()>(p.x.chunk(token + t, s * kBlockCols), p.x.chunks * kInt8ChunkBytes, chunk, next, groups,
                             waiting, last ? p.out + (token + t) * p.out_stride + row : nullptr, p.out_stride, sums);
        };
        count > kTileRows ? pass(std::integral_constant<int, 2>()) : pass(std::integral_constant<int, 1>());
        waiting.start(sums, scratch + t / 32 * kSums, row, token + t, count, s / kSupers, chunk.scale(0),
                      chunk.scale(1));
      }
      if (!over) next.expand_rest();
    }
  }
  waiting.take_rest();
}

void matmul(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale, const float* bias,
            Int8Tiles x, int64_t n, float* out, int64_t out_stride, float* scratch) {
  const Product p{w, rows, cols, row_scale, bias, x, out, out_stride};
  configure_tiles();
  const int64_t part = tile_part(n, 2 * kTileRows);
  for (int64_t token = 0; token < n; token += part) {
    const int64_t count = std::min(n - token, part);
    if (type == WeightType::q4) tokens<WeightType::q4>(p, token, count, scratch);
    if (type == WeightType::q8) tokens<WeightType::q8>(p, token, count, scratch);
  }
  _tile_release();
}

double busy(int64_t iterations) {
  return amx::busy_tiles(
      iterations, kBlockCols, []() __attribute__((always_inline)) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
      });
}

}  // namespace

extern const Int8TileKernels kernels;
const Int8TileKernels kernels = {.name = "amx int8 tiles",
                                 .peak = "int8 tiles (amx)",
                                 .fewest_rows = 7,
                                 .quantize = quantize<false>,
                                 .matmul = matmul,
                                 .busy = busy};

}  // namespace zaya::ops::amx_int8
