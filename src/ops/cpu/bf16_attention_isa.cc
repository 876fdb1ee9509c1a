// Attention of single tokens by AVX512_BF16's vectors, keys and values as they lie in the cache: TileKernels::scores
// and
// ::weighted_values. The next page is asked for while this one is read: what lies in memory's pages of 4 KB, hardware
// reads ahead only to the end of each.
#include <type_traits>

#include "ops/cpu/bf16_products_isa.h"
#include "ops/cpu/readers_isa.h"
#include "ops/cpu/tile_attention_isa.h"

namespace zaya::ops::ZAYA_ISA {
namespace {

// Asks for `bytes` bytes from `p` on, unless it is null. Inlined by force: GCC 12 takes a function that does nothing
// but prefetch for one without effect, and drops its calls.
inline __attribute__((always_inline)) void prefetch(const std::byte* p, int64_t bytes) {
  if (p == nullptr) return;
  for (int64_t b = 0; b < bytes; b += 64) _mm_prefetch(reinterpret_cast<const char*>(p + b), _MM_HINT_T1);
}

// `Group` queries in BF16 against all keys, as many at a time as make 16 sums.
template <int Group>
void group_scores(const uint16_t* queries, const KvPages& keys, int64_t dim, float* out, int64_t stride) {
  constexpr int kKeys = 16 / Group;
  for (int64_t i = 0; i < keys.count; i += kKeys) {
    const std::byte* slot[kKeys];
    slot[0] = keys.slot(i, dim);
    if (keys.count - i >= kKeys && (keys.first + i) % kPageTokens <= kPageTokens - kKeys) {
#pragma GCC unroll 16
      for (int k = 1; k < kKeys; ++k) slot[k] = slot[0] + k * dim * 2;
    } else {
      for (int k = 1; k < kKeys; ++k) {
        slot[k] = keys.slot(i + k < keys.count ? i + k : keys.count - 1, dim);  // the last one's score is thrown away
      }
    }
    const std::byte* ahead = keys.ahead(i, dim);
    Vec totals[16] = {};
    for (int64_t d = 0; d < dim; d += 32) {
      if (ahead != nullptr) {
#pragma GCC unroll 16
        for (int k = 0; k < kKeys; ++k) {
          _mm_prefetch(reinterpret_cast<const char*>(ahead + (k * dim + d) * 2), _MM_HINT_T1);
        }
      }
      __m512i key[kKeys];
#pragma GCC unroll 16
      for (int k = 0; k < kKeys; ++k) key[k] = _mm512_loadu_si512(slot[k] + d * 2);
#pragma GCC unroll 16
      for (int g = 0; g < Group; ++g) {
        const __m512i query = _mm512_loadu_si512(queries + g * dim + d);
#pragma GCC unroll 16
        for (int k = 0; k < kKeys; ++k) {
          Vec& total = totals[g * kKeys + k];
          total = (Vec)_mm512_dpbf16_ps((__m512)total, (__m512bh)query, (__m512bh)key[k]);
        }
      }
    }
    alignas(64) float sums[Group][kKeys];
    store(sums[0], sum_lanes(totals));
    if (keys.count - i >= kKeys) {
#pragma GCC unroll 4
      for (int g = 0; g < Group; ++g) __builtin_memcpy(out + g * stride + i, sums[g], sizeof sums[g]);
    } else {
      for (int g = 0; g < Group; ++g) {
        for (int64_t k = 0; k < keys.count - i; ++k) out[g * stride + i + k] = sums[g][k];
      }
    }
  }
}

// 32 · Parts numbers of each value, from number d on, for `Group` rows of weights in BF16.
template <int Group, int Parts>
void add_weighted(const uint16_t* weights, int64_t stride, const KvPages& values, int64_t dim, int64_t d, float* out) {
  __m512 totals[Group][2 * Parts] = {};
  for (int64_t i = 0; i < values.count; i += 2) {
    const std::byte* even = values.slot(i, dim) + d * 2;
    const std::byte* odd = i + 1 < values.count ? values.slot(i + 1, dim) + d * 2 : even;  // times zero
    if (const std::byte* ahead = values.ahead(i, dim)) {
      prefetch(ahead + d * 2, 64 * Parts);
      prefetch(ahead + dim * 2 + d * 2, 64 * Parts);
    }
    __m512i pairs[2 * Parts];
#pragma GCC unroll 2
    for (int part = 0; part < Parts; ++part) {
      const __m512i a = _mm512_loadu_si512(even + part * 64), b = _mm512_loadu_si512(odd + part * 64);
      // Of each 8 numbers the first four, and the others.
      pairs[part * 2] = _mm512_unpacklo_epi16(a, b);
      pairs[part * 2 + 1] = _mm512_unpackhi_epi16(a, b);
    }
#pragma GCC unroll 4
    for (int g = 0; g < Group; ++g) {
#pragma GCC unroll 4
      for (int p = 0; p < 2 * Parts; ++p) totals[g][p] = add_pairs(totals[g][p], pairs[p], weights + g * stride + i);
    }
  }
  const __m512i lower = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  const __m512i upper = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
  // Unrolled, or GCC 12 keeps all totals in memory, and stores each after each product.
#pragma GCC unroll 4
  for (int g = 0; g < Group; ++g) {
#pragma GCC unroll 2
    for (int part = 0; part < Parts; ++part) {
      const __m512 first = totals[g][part * 2], second = totals[g][part * 2 + 1];
      float* to = out + g * dim + d + part * 32;
      _mm512_storeu_ps(to, _mm512_permutex2var_ps(first, lower, second));
      _mm512_storeu_ps(to + 16, _mm512_permutex2var_ps(first, upper, second));
    }
  }
}

// body(Group, first row) over the rows, four at a time.
template <class Body>
inline void by_group(int64_t group, const Body& body) {
  int64_t g = 0;
  for (; g + 4 <= group; g += 4) body(std::integral_constant<int, 4>(), g);
  for (; g + 2 <= group; g += 2) body(std::integral_constant<int, 2>(), g);
  if (g < group) body(std::integral_constant<int, 1>(), g);
}

}  // namespace

void scores(const float* queries, int64_t group, const KvPages& keys, int64_t dim, float* out, int64_t stride,
            float* scratch) {
  auto* rounded = reinterpret_cast<uint16_t*>(scratch);
  for (int64_t i = 0; i < group * dim; i += 32) {
    _mm512_store_si512(rounded + i,
                       (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(queries + i + 16), _mm512_loadu_ps(queries + i)));
  }
  by_group(group,
           [&](auto rows, int64_t g) { group_scores<rows()>(rounded + g * dim, keys, dim, out + g * stride, stride); });
}

void weighted_values(const float* weights, int64_t stride, int64_t group, const KvPages& values, int64_t dim,
                     float* out, float* scratch) {
  auto* rounded = reinterpret_cast<uint16_t*>(scratch);
  const int64_t across = (values.count + 31) / 32 * 32;
  for (int64_t g = 0; g < group; ++g) {
    for (int64_t i = 0; i < values.count; i += 32) {
      const float* w = weights + g * stride + i;
      const int64_t left = values.count - i;
      _mm512_store_si512(rounded + g * across + i,
                         (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(first_lanes(left - 16), w + 16),
                                                      _mm512_maskz_loadu_ps(first_lanes(left), w)));
    }
  }
  by_group(group, [&](auto rows, int64_t g) {
    int64_t d = 0;
    const auto take = [&](auto parts) {
      add_weighted<rows(), parts()>(rounded + g * across, across, values, dim, d, out + g * dim);
      d += 32 * parts();
    };
    while (d + 64 <= dim) take(std::integral_constant<int, 2>());
    if (d < dim) take(std::integral_constant<int, 1>());
  });
}

}  // namespace zaya::ops::ZAYA_ISA
