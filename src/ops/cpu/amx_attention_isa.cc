// Attention on AMX tiles. Scores are computed transposed, keys × tokens, so that the lanes of a vector are 16 tokens:
// the softmax over keys is then a loop of whole-vector operations, and two rows of weights make one row of the tile
// that the product with the values takes.

#include "ops/cpu/amx_attention_isa.h"

#include "ops/cpu/amx_tiles_isa.h"

namespace zaya::ops::amx {
namespace {

constexpr int64_t kTileFloats = 16 * 16;
constexpr float kNever = -1e30f;  // a masked score: far below any other, and finite

// The 16 × 16 floats of 16 rows, transposed.
inline void transpose(__m512 (&row)[16]) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(row[i], row[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(row[i], row[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    const auto pair = [](__m512 a, __m512 b, bool high) {
      const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
      return _mm512_castpd_ps(high ? _mm512_unpackhi_pd(x, y) : _mm512_unpacklo_pd(x, y));
    };
    row[i] = pair(t[i], t[i + 2], false);
    row[i + 1] = pair(t[i], t[i + 2], true);
    row[i + 2] = pair(t[i + 1], t[i + 3], false);
    row[i + 3] = pair(t[i + 1], t[i + 3], true);
  }
  // row[4b + c] holds column 4l + c of rows 4b…4b+3 in its 128-bit lane l: transpose the lanes.
  for (int c = 0; c < 4; ++c) {
    const __m512 low_even = _mm512_shuffle_f32x4(row[c], row[4 + c], 0x88);
    const __m512 low_odd = _mm512_shuffle_f32x4(row[c], row[4 + c], 0xdd);
    const __m512 high_even = _mm512_shuffle_f32x4(row[8 + c], row[12 + c], 0x88);
    const __m512 high_odd = _mm512_shuffle_f32x4(row[8 + c], row[12 + c], 0xdd);
    t[c] = _mm512_shuffle_f32x4(low_even, high_even, 0x88);
    t[8 + c] = _mm512_shuffle_f32x4(low_even, high_even, 0xdd);
    t[4 + c] = _mm512_shuffle_f32x4(low_odd, high_odd, 0x88);
    t[12 + c] = _mm512_shuffle_f32x4(low_odd, high_odd, 0xdd);
  }
  for (int i = 0; i < 16; ++i) row[i] = t[i];
}

inline __m512 round_up_half(__m512 x) {
  // So that truncation to BF16 rounds to nearest.
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000)));
}

// 2^x for x ≤ 0, and 0 far below: 2^floor(x) times a polynomial of the rest, exact at 0 and off by 2.9e-6 at most; what
// it makes is rounded to BF16, 2e-3.
inline __m512 exp2_nonpositive(__m512 x) {
  constexpr int kFromFloor = 1;
  const __m512 r = _mm512_reduce_ps(x, kFromFloor);
  __m512 p = _mm512_set1_ps(0.0134266857f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.0522424728f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.241280213f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.693044841f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
  return _mm512_scalef_ps(p, x);
}

// `count` ≤ 16 queries, row t at q + t · stride, times `factor`, as the right-hand tiles of scores: [dim
// pairs][queries].
void pack_queries(const float* q, int64_t stride, int64_t count, int64_t dim, float factor, uint16_t* out) {
  const __m512 scale = _mm512_set1_ps(factor);
  for (int64_t d = 0; d < dim; d += 16) {
    __m512 row[16];
    for (int64_t t = 0; t < 16; ++t) {
      row[t] = t < count ? _mm512_mul_ps(_mm512_loadu_ps(q + t * stride + d), scale) : _mm512_setzero_ps();
    }
    transpose(row);
    for (int64_t i = 0; i < 16; i += 2) {
      store_pairs(out + (d + i) * 16, round_up_half(row[i]), round_up_half(row[i + 1]));
    }
  }
}

constexpr int64_t kScores = kAttendKeys * 16;  // of one head

// scores [Heads][kAttendKeys keys, 16 tokens] from key `first` on; queries [Heads][dim, 16]. With two heads each key's
// tile is loaded for both.
template <int Heads>
void score(const AttendTiles& w, const uint16_t* queries, int64_t first, float* scores) {
  const int64_t across = w.keys.across, steps = w.dim / kTileCols;
  memory_barrier();
  for (int64_t k = 0; k < kAttendKeys; k += 32, scores += 2 * kTileFloats) {
    const uint16_t* keys = w.keys.data + (first + k) / 16 * across * kTileElements;
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (Heads > 1) _tile_zero(2);
    if constexpr (Heads > 1) _tile_zero(3);
    for (int64_t d = 0; d < steps; ++d) {
      _tile_loadd(4, keys + d * kTileElements, 64);
      _tile_loadd(5, keys + (across + d) * kTileElements, 64);
      _tile_loadd(6, queries + d * kTileElements, 64);
      if constexpr (Heads > 1) _tile_loadd(7, queries + w.dim * 16 + d * kTileElements, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 5, 6);
      if constexpr (Heads > 1) _tile_dpbf16ps(2, 4, 7);
      if constexpr (Heads > 1) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, scores, 64);
    _tile_stored(1, scores + kTileFloats, 64);
    if constexpr (Heads > 1) _tile_stored(2, scores + kScores, 64);
    if constexpr (Heads > 1) _tile_stored(3, scores + kScores + kTileFloats, 64);
  }
  memory_barrier();
}

// sums [Heads][dim, 16 tokens] += values · weights [Heads][kAttendKeys, 16], over kAttendKeys keys from `first` on.
template <int Heads>
void add_values(const AttendTiles& w, const uint16_t* weights, int64_t first, float* sums) {
  const int64_t across = w.values.across, head = w.dim * 16;
  memory_barrier();
  for (int64_t d = 0; d < w.dim; d += 32, sums += 2 * kTileFloats) {
    const uint16_t* values = w.values.data + (d / 16 * across + first / kTileCols) * kTileElements;
    _tile_loadd(0, sums, 64);
    _tile_loadd(1, sums + kTileFloats, 64);
    if constexpr (Heads > 1) _tile_loadd(2, sums + head, 64);
    if constexpr (Heads > 1) _tile_loadd(3, sums + head + kTileFloats, 64);
    for (int64_t k = 0; k < kAttendKeys / kTileCols; ++k) {
      _tile_loadd(4, values + k * kTileElements, 64);
      _tile_loadd(5, values + (across + k) * kTileElements, 64);
      _tile_loadd(6, weights + k * kTileElements, 64);
      if constexpr (Heads > 1) _tile_loadd(7, weights + kScores + k * kTileElements, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 5, 6);
      if constexpr (Heads > 1) _tile_dpbf16ps(2, 4, 7);
      if constexpr (Heads > 1) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + kTileFloats, 64);
    if constexpr (Heads > 1) _tile_stored(2, sums + head, 64);
    if constexpr (Heads > 1) _tile_stored(3, sums + head + kTileFloats, 64);
  }
  memory_barrier();
}

// Keys that a token may not see get a score that no softmax notices.
void mask(const AttendTiles& w, int64_t first, float* scores) {
  const int64_t last_position = w.position + w.tokens - 1;
  const bool causal = first + kAttendKeys - 1 > w.position;
  const bool window = w.window > 0 && first <= last_position - w.window;
  if (!causal && !window) return;
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int64_t k = 0; k < kAttendKeys; ++k) {
    // Relative to the first token: it sees keys up to itself.
    const auto key = _mm512_set1_epi32(static_cast<int>(first + k - w.position));
    __mmask16 hidden = _mm512_cmpgt_epi32_mask(key, lanes);
    if (window) {
      const auto oldest = _mm512_sub_epi32(lanes, _mm512_set1_epi32(static_cast<int>(w.window) - 1));
      hidden |= _mm512_cmplt_epi32_mask(key, oldest);
    }
    _mm512_store_ps(scores + k * 16,
                    _mm512_mask_mov_ps(_mm512_load_ps(scores + k * 16), hidden, _mm512_set1_ps(kNever)));
  }
}

}  // namespace

void pack_values(const float* values, int64_t count, int64_t dim, Bf16Tiles out, int64_t position) {
  for (int64_t d = 0; d < dim; d += 16) {
    __m512 low[16], high[16];
    for (int64_t k = 0; k < 16; ++k) {
      low[k] = k < count ? _mm512_loadu_ps(values + k * dim + d) : _mm512_setzero_ps();
      high[k] = k + 16 < count ? _mm512_loadu_ps(values + (k + 16) * dim + d) : _mm512_setzero_ps();
    }
    transpose(low);
    transpose(high);
    uint16_t* tile = out.data + (d / 16 * out.across + position / kTileCols) * kTileElements;
    for (int i = 0; i < 16; ++i)
      _mm512_storeu_si512(tile + i * kTileCols, (__m512i)_mm512_cvtne2ps_pbh(high[i], low[i]));
  }
}

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
  _tile_stored(1, sums + kTileFloats, 64);
  if constexpr (Parts > 1) {
    _tile_stored(2, sums + 2 * kTileFloats, 64);
    _tile_stored(3, sums + 3 * kTileFloats, 64);
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

namespace {

// The running softmax of one head's 16 tokens.
struct Softmax {
  __m512 greatest = _mm512_set1_ps(kNever), total = _mm512_setzero_ps();

  // Scores [kAttendKeys, 16], in powers of 2, become weights for add_values; sums [dim, 16] come down to a new
  // greatest.
  void take(const float* scores, int64_t dim, float* sums, uint16_t* weights) {
    __m512 maximum = greatest;
    for (int64_t k = 0; k < kAttendKeys; ++k) maximum = _mm512_max_ps(maximum, _mm512_load_ps(scores + k * 16));
    if (_mm512_cmpneq_ps_mask(maximum, greatest) != 0) {
      const __m512 factor = exp2_nonpositive(_mm512_sub_ps(greatest, maximum));
      total = _mm512_mul_ps(total, factor);
      for (int64_t i = 0; i < dim * 16; i += 16) {
        _mm512_store_ps(sums + i, _mm512_mul_ps(_mm512_load_ps(sums + i), factor));
      }
      greatest = maximum;
    }
    for (int64_t k = 0; k < kAttendKeys; k += 2) {
      const auto weight = [&](int64_t key) {
        return exp2_nonpositive(_mm512_sub_ps(_mm512_load_ps(scores + key * 16), greatest));
      };
      const __m512 even = weight(k), odd = weight(k + 1);
      total = _mm512_add_ps(total, _mm512_add_ps(even, odd));
      store_pairs(weights + k * 16, round_up_half(even), round_up_half(odd));
    }
  }
};

// `Heads` query heads from `head` on.
template <int Heads>
void attend_heads(const AttendTiles& w, int64_t head, float* scratch) {
  float* scores = scratch;
  auto* weights = reinterpret_cast<uint16_t*>(scores + Heads * kScores);
  float* sums = scores + Heads * (kScores + kScores / 2);
  auto* queries = reinterpret_cast<uint16_t*>(sums + Heads * w.dim * 16);
  const int64_t end = w.position + w.tokens;
  const int64_t oldest = w.window > 0 && w.position >= w.window ? w.position - w.window + 1 : 0;
  const float log2_e = 1.44269504f, factor = log2_e / __builtin_sqrtf(static_cast<float>(w.dim));
  const auto* q = w.q + head * w.dim;
  for (int h = 0; h < Heads; ++h) {
    pack_queries(q + h * w.dim, w.stride, w.tokens, w.dim, factor, queries + h * w.dim * 16);
  }
  for (int64_t i = 0; i < Heads * w.dim * 16; i += 16) _mm512_store_ps(sums + i, _mm512_setzero_ps());
  Softmax softmax[Heads];
  for (int64_t first = oldest / kAttendKeys * kAttendKeys; first < end; first += kAttendKeys) {
    score<Heads>(w, queries, first, scores);
    for (int h = 0; h < Heads; ++h) {
      mask(w, first, scores + h * kScores);
      softmax[h].take(scores + h * kScores, w.dim, sums + h * w.dim * 16, weights + h * kScores);
    }
    add_values<Heads>(w, weights, first, sums);
  }
  for (int h = 0; h < Heads; ++h) {
    const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(1), softmax[h].total);
    float* out = w.out + (head + h) * w.dim;
    for (int64_t d = 0; d < w.dim; d += 16) {
      __m512 row[16];
      for (int i = 0; i < 16; ++i) row[i] = _mm512_mul_ps(_mm512_load_ps(sums + (h * w.dim + d + i) * 16), inverse);
      transpose(row);
      for (int64_t t = 0; t < w.tokens; ++t) _mm512_storeu_ps(out + t * w.stride + d, row[t]);
    }
  }
}

}  // namespace

void attend(const AttendTiles& w, float* scratch) {
  configure_tiles();
  int64_t head = 0;
  for (; head + 2 <= w.group; head += 2) attend_heads<2>(w, head, scratch);
  if (head < w.group) attend_heads<1>(w, head, scratch);
  _tile_release();
}

}  // namespace zaya::ops::amx
