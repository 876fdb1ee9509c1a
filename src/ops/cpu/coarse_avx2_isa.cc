// The head's first stage (coarse_kernels.h) on vectors of 256 bits: half a block. Compiled twice, once per namespace
// ZAYA_ISA: with AVX2, where products of bytes are added up in 16 bits, four before they become 32, and with AVX-VNNI.
#include <immintrin.h>

#include "ops/cpu/coarse_kernels.h"

#if defined(ZAYA_EMULATE) && defined(__AVX512VNNI__)  // the same products, encoded otherwise
#define ZAYA_AVXVNNI
#define _mm256_dpbusd_avx_epi32 _mm256_dpbusd_epi32
#elif defined(__AVXVNNI__)
#define ZAYA_AVXVNNI
#endif

namespace zaya::ops::ZAYA_ISA {
namespace {

constexpr int kLanes = 8;  // rows of one vector

inline __m256i load(const std::byte* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

inline __m256i broadcast(const int8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm256_set1_epi32(word);
}

// 32 columns of half a block as eight vectors of 8 rows × 4 columns, kCoarseOffset too high.
inline __attribute__((always_inline)) void decode(const std::byte* p, __m256i table, __m256i (&out)[8]) {
  const auto masked = [](__m256i v, int mask) {
    return _mm256_and_si256(v, _mm256_set1_epi8(static_cast<char>(mask)));
  };
  const __m256i x = load(p), y = load(p + 64), z = load(p + 128);
  const __m256i rest =
      _mm256_or_si256(_mm256_or_si256(masked(_mm256_srli_epi16(x, 6), 3), masked(_mm256_srli_epi16(y, 4), 12)),
                      masked(_mm256_srli_epi16(z, 2), 48));
  const __m256i from[4] = {x, y, z, rest};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    out[i * 2] = _mm256_shuffle_epi8(table, masked(from[i], 7));
    out[i * 2 + 1] = _mm256_shuffle_epi8(table, masked(_mm256_srli_epi16(from[i], 3), 7));
  }
}

// total + the products of 8 rows' 32 weights with the codes at x.
inline __attribute__((always_inline)) __m256i add_products(__m256i total, const __m256i (&weights)[8],
                                                           const int8_t* x) {
#if defined(ZAYA_AVXVNNI)
  __m256i other = _mm256_setzero_si256();  // two sums, so that they do not wait for each other
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    total = _mm256_dpbusd_avx_epi32(total, weights[i], broadcast(x + i * 4));
    other = _mm256_dpbusd_avx_epi32(other, weights[i + 1], broadcast(x + i * 4 + 4));
  }
  return _mm256_add_epi32(total, other);
#else
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int i = half * 4; i < half * 4 + 4; ++i) {
      sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(weights[i], broadcast(x + i * 4)));
    }
    total = _mm256_add_epi32(total, _mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
  }
  return total;
#endif
}

template <int Tokens>
void take(const CoarseProduct& p, int64_t n) {
  if constexpr (Tokens > 1) {
    if (n < Tokens) return take<Tokens - 1>(p, n);
  }
  const std::array<int8_t, 16> values = coarse_values(kCoarseOffset);
  const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values.data())));
  const std::byte* w = p.blocks;
  for (int64_t row = 0; row < p.rows; row += kBlockRows) {
    const int8_t* x = p.x.codes;
    __m256i totals[2][Tokens];
#pragma GCC unroll 4
    for (int t = 0; t < Tokens; ++t) totals[0][t] = totals[1][t] = _mm256_set1_epi32(-kCoarseOffset * p.x.sum[t]);
    for (int64_t s = 0; s < superblocks_of(p.cols); ++s, w += kCoarseSuperblock, x += Tokens * kBlockCols) {
      for (int64_t i = 0; i < kCoarseSuperblock; i += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(w + kCoarseAhead + i), _MM_HINT_T1);
      }
      for (int half = 0; half < 2; ++half) {
#pragma GCC unroll 2
        for (int part = 0; part < 2; ++part) {
          __m256i weights[8];
          decode(w + half * kCoarseSuperblock / 2 + part * 32, table, weights);
#pragma GCC unroll 4
          for (int t = 0; t < Tokens; ++t) {
            totals[part][t] = add_products(totals[part][t], weights, x + t * kBlockCols + half * 32);
          }
        }
      }
    }
#pragma GCC unroll 2
    for (int part = 0; part < 2; ++part) {
      const int64_t first = row + part * kLanes;
      const auto count = static_cast<int>(p.rows - first < kLanes ? p.rows - first : kLanes);
      const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
      if (count <= 0) break;
      const __m256 scale = _mm256_maskload_ps(p.row_scale + first, mask);
      const __m256 bias = p.bias == nullptr ? _mm256_setzero_ps() : _mm256_maskload_ps(p.bias + first, mask);
#pragma GCC unroll 4
      for (int t = 0; t < Tokens; ++t) {
        const __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(totals[part][t]), _mm256_set1_ps(p.x.scale[t]));
        _mm256_maskstore_ps(p.out + t * p.out_stride + first, mask, _mm256_fmadd_ps(value, scale, bias));
      }
    }
  }
}

constexpr int kTokens = 4;

void logits(const CoarseProduct& p, int64_t n) { take<kTokens>(p, n); }

}  // namespace

extern const CoarseKernels coarse;
#if defined(ZAYA_AVXVNNI)
const CoarseKernels coarse = {"avx-vnni, 3-bit copy", kTokens, 1, logits};
#else
const CoarseKernels coarse = {"avx2, 3-bit copy", kTokens, 1, logits};
#endif

}  // namespace zaya::ops::ZAYA_ISA
