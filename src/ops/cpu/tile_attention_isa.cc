// Attention of several tokens, tile by tile. Scores are computed transposed, keys × tokens, so that the lanes of a
// vector are 16 tokens: the softmax over keys is then a loop of whole-vector operations, and two rows of weights make
// one row of the tile that the product with the values takes.

#include "ops/cpu/tile_attention_isa.h"

#include "ops/cpu/tile_products_isa.h"
#include "ops/cpu/tile_queries_isa.h"

namespace zaya::ops::ZAYA_ISA {
namespace {

constexpr float kNever = -1e30f;               // a masked score: far below any other, and finite
constexpr int64_t kScores = kAttendKeys * 16;  // of one head

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

// scores [Heads][kAttendKeys keys, 16 tokens] from key `first` on; queries [Heads][dim, 16].
template <int Heads>
void score(const AttendTiles& w, const uint16_t* queries, int64_t first, float* scores) {
  const int64_t across = w.keys.across * kTileElements;
  for (int64_t k = 0; k < kAttendKeys; k += 32, scores += 2 * kProduct) {
    const uint16_t* keys = w.keys.data + (first + k) / 16 * across;
    products<Heads, false>(keys, across, queries, w.dim * 16, w.dim / kTileCols, scores, kScores);
  }
}

// sums [Heads][dim, 16 tokens] += values · weights [Heads][kAttendKeys, 16], over kAttendKeys keys from `first` on.
template <int Heads>
void add_values(const AttendTiles& w, const uint16_t* weights, int64_t first, float* sums) {
  const int64_t across = w.values.across * kTileElements, head = w.dim * 16;
  for (int64_t d = 0; d < w.dim; d += 32, sums += 2 * kProduct) {
    const uint16_t* values = w.values.data + d / 16 * across + first / kTileCols * kTileElements;
    products<Heads, true>(values, across, weights, kScores, kAttendKeys / kTileCols, sums, head);
  }
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

void attend(const AttendTiles& w, float* scratch) {
  begin_products();
  int64_t head = 0;
  for (; head + 2 <= w.group; head += 2) attend_heads<2>(w, head, scratch);
  if (head < w.group) attend_heads<1>(w, head, scratch);
  end_products();
}

}  // namespace zaya::ops::ZAYA_ISA
