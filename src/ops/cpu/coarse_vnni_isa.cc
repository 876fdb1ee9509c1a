// Compiled with AVX-512 and AVX512_VNNI; reached only where both are there (see coarse_kernels.h).
#include <immintrin.h>

#include "ops/cpu/coarse_avx512_isa.h"
#include "ops/cpu/coarse_kernels.h"
#include "ops/cpu/vnni_products_isa.h"

namespace zaya::ops::vnni {
namespace {

// `Blocks` blocks against `Tokens` tokens, with so many sums for each that they do not wait for each other.
template <int Blocks, int Tokens>
void tile(const CoarseProduct& p, int64_t block) {
  constexpr int kSums = Tokens <= 3 ? 2 : 1;
  const int64_t stride = coarse_block_bytes(p.cols), supers = superblocks_of(p.cols);
  const std::byte* w = p.blocks + block * stride;
  const int8_t* x = p.x.codes;
  const __m512i table = coarse_table(kCoarseOffset);
  __m512i totals[Blocks][Tokens][kSums];
#pragma GCC unroll 16
  for (int b = 0; b < Blocks; ++b) {
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) {
#pragma GCC unroll 4
      for (int i = 0; i < kSums; ++i) totals[b][t][i] = _mm512_set1_epi32(i == 0 ? -kCoarseOffset * p.x.sum[t] : 0);
    }
  }
  for (int64_t s = 0; s < supers; ++s, w += kCoarseSuperblock, x += Tokens * kBlockCols) {
    for (int half = 0; half < 2; ++half) {
      constexpr int64_t kHalf = kCoarseSuperblock / 2;
#pragma GCC unroll 16
      for (int b = 0; b < Blocks; ++b) {
        const std::byte* from = w + b * stride + half * kHalf;
        // One stream for one or two tokens is best left to the processor's own prefetching (see codes_isa.cc).
        if constexpr (Blocks > 1 || Tokens > 2) {
          // In this block, or in the one that comes next.
          const int64_t ahead =
              s * kCoarseSuperblock + kCoarseAhead < stride ? kCoarseAhead : (Blocks - 1) * stride + kCoarseAhead;
          for (int64_t i = 0; i < kHalf; i += 64) {
            _mm_prefetch(reinterpret_cast<const char*>(from + ahead + i), _MM_HINT_T1);
          }
        }
        __m512i weights[8];
        decode_coarse(from, table, weights);
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) {
#pragma GCC unroll 16
          for (int t = 0; t < Tokens; ++t) {
            __m512i& total = totals[b][t][i % kSums];
            total = add_products_at(total, weights[i], x + t * kBlockCols + half * 32 + i * 4);
          }
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int b = 0; b < Blocks; ++b) {
    const int64_t row = (block + b) * kBlockRows;
    if (row >= p.rows) break;
    const OutputRows outputs(p, row);
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) {
      __m512i total = totals[b][t][0];
#pragma GCC unroll 4
      for (int i = 1; i < kSums; ++i) total = _mm512_add_epi32(total, totals[b][t][i]);
      outputs.store(t, _mm512_mul_ps(_mm512_cvtepi32_ps(total), _mm512_set1_ps(p.x.scale[t])));
    }
  }
}

constexpr int kTokens = 16;

template <int Tokens>
void take(const CoarseProduct& p, int64_t n) {
  if constexpr (Tokens > 1) {
    if (n < Tokens) return take<Tokens - 1>(p, n);
  }
  const int64_t blocks = blocks_of(p.rows);
  int64_t block = 0;
  if (cpu::memory_streams() > 1) {
    constexpr int kMany = Tokens == 1 ? 8 : Tokens == 2 ? 4 : Tokens <= 4 ? 2 : 1;
    for (; block + kMany <= blocks; block += kMany) tile<kMany, Tokens>(p, block);
  }
  for (; block < blocks; ++block) tile<1, Tokens>(p, block);
}

void logits(const CoarseProduct& p, int64_t n) { take<kTokens>(p, n); }

}  // namespace

extern const CoarseKernels coarse;
const CoarseKernels coarse = {"avx512 vnni, 3-bit copy", kTokens, 1, logits};

}  // namespace zaya::ops::vnni
