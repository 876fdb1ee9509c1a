// Compiled with AMX, AVX512_BF16 and AVX-512 enabled; reached only where all of them are there.
#include <immintrin.h>

#include <algorithm>
#include <type_traits>

#include "ops/cpu/amx.h"
#include "ops/cpu/amx_attention_isa.h"
#include "ops/cpu/amx_tiles_isa.h"

namespace zaya::ops::amx {
namespace {

constexpr int64_t kTileBytes = kTileElements * 2;

inline __m512 scales(const std::byte* p) {
  // Truncation to BF16 loses half a unit in the last place, 2^-8 / m of a value with mantissa m: on average over
  // mantissas ln 2 · 2^-8, which this puts back at no cost. What is left is as wide as proper rounding's error.
  return _mm512_mul_ps(load_scales(p), _mm512_set1_ps(1.0f + 0.693f * 0x1p-8f));
}

// One group of columns of a block, out of superblock `w`, as a quarter of its two tiles. Inlined by force: GCC 12 drops
// direct calls of it, and the products would take what was there before.
template <WeightType type>
inline __attribute__((always_inline)) void expand_group(const std::byte* w, int group, std::byte* out);

template <>
inline __attribute__((always_inline)) void expand_group<WeightType::q4>(const std::byte* w, int group, std::byte* out) {
  const __m512 table = _mm512_setr_ps(6, 18, 31, 45, 60, 77, 98, 127, -6, -18, -31, -45, -60, -77, -98, -127);
  const __m512 scale = scales(w + group * kBlockRows);
#pragma GCC unroll 2
  for (int word = 0; word < 2; ++word) {
    const __m512i codes = _mm512_loadu_si512(w + kScaleBytes + (group * 2 + word) * 64);
    std::byte* rows = out + (group * 2 + word) * 256;
    const auto weight = [&](int j) {
      return _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_srli_epi32(codes, static_cast<unsigned>(4 * j)), table), scale);
    };
    store_pairs(rows, weight(0), weight(1));
    store_pairs(rows + 64, weight(2), weight(3));
    store_pairs(rows + 128, weight(4), weight(5));
    store_pairs(rows + 192, weight(6), weight(7));
  }
}

template <>
inline __attribute__((always_inline)) void expand_group<WeightType::q8>(const std::byte* w, int group, std::byte* out) {
  const __m512 scale = scales(w + group * kBlockRows);
#pragma GCC unroll 4
  for (int word = 0; word < 4; ++word) {
    const __m512i codes = _mm512_loadu_si512(w + kScaleBytes + (group * 4 + word) * 64);
    std::byte* rows = out + (group * 4 + word) * 128;
    const auto weight = [&](int j) {
      const __m512i code = _mm512_srai_epi32(_mm512_slli_epi32(codes, static_cast<unsigned>(24 - 8 * j)), 24);
      return _mm512_mul_ps(_mm512_cvtepi32_ps(code), scale);
    };
    store_pairs(rows, weight(0), weight(1));
    store_pairs(rows + 64, weight(2), weight(3));
  }
}

struct Product {
  const std::byte* w;
  int64_t rows, cols;
  const float* row_scale;
  const float* bias;
  Bf16Tiles x;
  float* out;
  int64_t out_stride;
};

constexpr int64_t kSupers = kAmxCols / kBlockCols;
constexpr int64_t kGroups = kBlockCols / kGroupCols;
constexpr int64_t kExpanded = kAmxCols * kBlockRows * 2;  // bytes of one block

// Up to kAmxCols columns of two blocks as tiles. They are expanded group by group, between the tile products of the
// chunk before: the vector units have nothing else to do then.
template <WeightType type>
class Chunk {
 public:
  // The last of an odd number of blocks is taken twice.
  void start(const Product& p, int64_t row, int64_t super, std::byte* room) {
    const int64_t stride = block_bytes(type, p.cols), supers = superblocks_of(p.cols);
    supers_ = std::min(supers - super, kSupers);
    for (int64_t b = 0; b < 2; ++b) {
      packed_[b] = p.w + (row / kBlockRows + (row + b * kBlockRows < p.rows ? b : 0)) * stride + super * kBytes;
      room_[b] = room + b * kExpanded;
    }
    // What follows in memory order: more columns of these blocks, or the next two blocks.
    ahead_ = super + kSupers < supers ? kSupers * kBytes : 2 * stride - super * kBytes;
    super_ = block_ = group_ = 0;
    locate();
  }
  int64_t groups() const { return supers_ * 2 * kGroups; }
  int64_t tiles() const { return supers_ * 2; }
  const std::byte* tile(int b, int64_t k) const {
    if constexpr (type == WeightType::b16) return packed_[b] + k * kTileBytes;  // lies as tiles want it
    return room_[b] + k * kTileBytes;
  }

  inline __attribute__((always_inline)) void expand(int64_t count) {
    for (; count > 0 && super_ < supers_; --count) {
      // A quarter of the superblock's lines, of the chunk after.
      constexpr int64_t kQuarter = kBytes / kGroups, kLines = kQuarter / 64 + 1;
      for (int64_t i = 0; i < kLines; ++i) {
        _mm_prefetch(reinterpret_cast<const char*>(w_ + ahead_ + group_ * kQuarter + i * 64), _MM_HINT_T0);
      }
      if constexpr (type != WeightType::b16) expand_group<type>(w_, group_, out_);
      if (++group_ < kGroups) continue;
      group_ = 0;
      block_ ^= 1;
      if (block_ == 0) ++super_;
      locate();
    }
  }
  void expand_rest() {
    expand(groups());
    memory_barrier();
  }

 private:
  static constexpr int64_t kBytes = superblock_bytes(type);

  void locate() {
    w_ = packed_[block_] + super_ * kBytes;
    out_ = room_[block_] + super_ * 2 * kTileBytes;
  }

  const std::byte* packed_[2];
  std::byte* room_[2];
  int64_t supers_ = 0, ahead_ = 0;
  // The group that is expanded next.
  int64_t super_ = 0;
  int block_ = 0, group_ = 0;
  const std::byte* w_ = nullptr;
  std::byte* out_ = nullptr;
};

template <int Halves>
inline void start_sums(const float* sums) {
  if (sums == nullptr) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (Halves > 1) _tile_zero(2);
    if constexpr (Halves > 1) _tile_zero(3);
  } else {
    _tile_loadd(0, sums, 64);
    _tile_loadd(1, sums + kSumTile, 64);
    if constexpr (Halves > 1) _tile_loadd(2, sums + 2 * kSumTile, 64);
    if constexpr (Halves > 1) _tile_loadd(3, sums + 3 * kSumTile, 64);
  }
}

template <int Halves>
inline void store_sums(float* sums) {
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + kSumTile, 64);
  if constexpr (Halves > 1) _tile_stored(2, sums + 2 * kSumTile, 64);
  if constexpr (Halves > 1) _tile_stored(3, sums + 3 * kSumTile, 64);
  memory_barrier();
}

// Tiles 0–3 are sums, 4–5 activations [token half], 6–7 weights [block]. Adds the products of the chunk's columns and
// expands `groups` groups of the next chunk beside each.
template <int Halves, WeightType type>
inline __attribute__((always_inline)) void multiply(Bf16Tiles x, const Chunk<type>& w, Chunk<type>& next,
                                                    int64_t groups, const float* out, int64_t out_stride) {
  const uint16_t* lower = x.data + x.across * kTileElements;
  memory_barrier();
  for (int64_t k = 0; k < w.tiles(); ++k) {
    // All loads before the products: in between them, each load waited for the product before it. Activations stream
    // past the first-level cache, in which the weights stay.
    _tile_stream_loadd(4, x.data + k * kTileElements, 64);
    _tile_loadd(6, w.tile(0, k), 64);
    _tile_loadd(7, w.tile(1, k), 64);
    if constexpr (Halves > 1) _tile_stream_loadd(5, lower + k * kTileElements, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (Halves > 1) _tile_dpbf16ps(2, 5, 6);
    if constexpr (Halves > 1) _tile_dpbf16ps(3, 5, 7);
    if (out != nullptr) {
      for (int64_t i = k * 4; i < k * 4 + 4; ++i) {
        __builtin_prefetch(out + i % 32 * out_stride, 1);
        __builtin_prefetch(out + i % 32 * out_stride + 16, 1);
      }
    }
    next.expand(groups);
  }
  memory_barrier();
}

// Takes sums, scaled, to the outputs of two blocks from `row` on of n ≤ 32 tokens from `token` on.
inline void finish(const Product& p, const float* sums, int64_t row, int64_t token, int64_t n) {
  for (int b = 0; b < 2; ++b) {
    const int64_t first = row + b * kBlockRows;
    if (first >= p.rows) break;
    const __mmask16 mask = first_lanes(p.rows - first);
    const __m512 scale = p.row_scale == nullptr ? _mm512_set1_ps(1) : _mm512_maskz_loadu_ps(mask, p.row_scale + first);
    const __m512 bias = p.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, p.bias + first);
    for (int64_t t = 0; t < n; ++t) {
      const __m512 sum = _mm512_load_ps(sums + (t / kTileRows * 2 + b) * kSumTile + t % kTileRows * kBlockRows);
      _mm512_mask_storeu_ps(p.out + (token + t) * p.out_stride + first, mask, _mm512_fmadd_ps(sum, scale, bias));
    }
  }
}

// n ≤ kAmxTokens tokens from `token` on: two blocks of weights at a time, chunk by chunk.
template <WeightType type>
void tokens(const Product& p, int64_t token, int64_t n, float* scratch) {
  const int64_t supers = superblocks_of(p.cols);
  auto* room = reinterpret_cast<std::byte*>(scratch + kAmxTokens / 32 * kSums);
  Chunk<type> chunks[2];
  int now = 0;
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
      for (int64_t t = 0; t < n; t += 32) {
        const Bf16Tiles x{p.x.data + ((token + t) / kTileRows * p.x.across + s * 2) * kTileElements, p.x.across};
        const auto pass = [&](auto halves) {
          float* sums = scratch + t / 32 * kSums;
          if (s == 0 || n > 32) start_sums<halves()>(s == 0 ? nullptr : sums);
          multiply<halves()>(x, chunk, next, groups, last ? p.out + (token + t) * p.out_stride + row : nullptr,
                             p.out_stride);
          if (last || n > 32) store_sums<halves()>(sums);
          if (last) finish(p, sums, row, token + t, std::min<int64_t>(n - t, 32));
        };
        n - t > kTileRows ? pass(std::integral_constant<int, 2>()) : pass(std::integral_constant<int, 1>());
      }
      if (!over) next.expand_rest();
    }
  }
}

void matmul(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale, const float* bias,
            Bf16Tiles x, int64_t n, float* out, int64_t out_stride, float* scratch) {
  const Product p{w, rows, cols, row_scale, bias, x, out, out_stride};
  configure_tiles();
  // Equal parts: a small last one would wait for its weights to be expanded.
  const int64_t parts = std::max<int64_t>(1, (n + kAmxTokens - 1) / kAmxTokens),
                part = (n + parts * 32 - 1) / (parts * 32) * 32;
  for (int64_t token = 0; token < n; token += part) {
    const int64_t count = std::min(n - token, part);
    if (type == WeightType::q4) tokens<WeightType::q4>(p, token, count, scratch);
    if (type == WeightType::q8) tokens<WeightType::q8>(p, token, count, scratch);
    if (type == WeightType::b16) tokens<WeightType::b16>(p, token, count, scratch);
  }
  _tile_release();
}

// Rows [row, row + n) of one tile group, a tile at a time: its lines follow each other. A row at a time, they would lie
// 1 KiB apart, sixteen to a set of the first-level cache (1.5 times as long, from memory).
template <class From>
inline void round_rows(const From& from, int64_t n, int64_t cols, Bf16Tiles out, int64_t row, int64_t col) {
  uint16_t* tile =
      out.data + (row / kTileRows * out.across + col / kTileCols) * kTileElements + row % kTileRows * kTileCols;
  int64_t c = 0;
  for (; c + kTileCols <= cols; c += kTileCols, tile += kTileElements) {
    for (int64_t i = 0; i < n; ++i) {
      const float* x = from(i) + c;
      const __m512bh rounded = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x));
      _mm512_storeu_si512(tile + i * kTileCols, (__m512i)rounded);
    }
  }
  for (const int64_t padded = superblocks_of(cols) * kBlockCols; c < padded; c += kTileCols, tile += kTileElements) {
    for (int64_t i = 0; i < n; ++i) {
      const auto part = [&](int64_t at) { return _mm512_maskz_loadu_ps(first_lanes(cols - at), from(i) + at); };
      _mm512_storeu_si512(tile + i * kTileCols, (__m512i)_mm512_cvtne2ps_pbh(part(c + 16), part(c)));
    }
  }
}

void to_bf16(const float* x, int64_t n, int64_t cols, int64_t stride, Bf16Tiles out, int64_t row, int64_t col) {
  for (int64_t i = 0; i < n;) {
    const int64_t count = std::min(n - i, kTileRows - (row + i) % kTileRows);
    round_rows([&](int64_t k) { return x + (i + k) * stride; }, count, cols, out, row + i, col);
    i += count;
  }
}

void gather_bf16(const float* const* rows, int64_t n, int64_t cols, Bf16Tiles out, int64_t row) {
  for (int64_t i = 0; i < n;) {
    const int64_t count = std::min(n - i, kTileRows - (row + i) % kTileRows);
    round_rows([&](int64_t k) { return rows[i + k]; }, count, cols, out, row + i, 0);
    i += count;
  }
}

double busy(int64_t iterations) {
  return busy_tiles(
      iterations, kTileCols, []() __attribute__((always_inline)) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      });
}

}  // namespace

extern const AmxKernels kernels;
const AmxKernels kernels = {to_bf16, gather_bf16, matmul, pack_values, attend, scores, weighted_values, busy};

}  // namespace zaya::ops::amx
