// Compiled with AVX-512 and AVX512_VNNI; reached only where both are there (see codes.h).
#include <immintrin.h>

#include "ops/cpu/avx512_isa.h"
#include "ops/cpu/codes.h"
#include "ops/cpu/vnni_products_isa.h"

namespace zaya::ops::vnni {
namespace {

// The sum of 16 codes.
inline int32_t sum(__m128i codes) {
  const __m128i sums = _mm_dpbusd_epi32(_mm_setzero_si128(), _mm_set1_epi8(1), codes);
  const __m128i pairs = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0x4e));
  return _mm_cvtsi128_si32(pairs) + _mm_extract_epi32(pairs, 1);
}

template <bool Wide>
void quantize_columns(WeightType type, const float* x, int64_t n, int64_t cols, int64_t stride, CodeColumns* out,
                      int64_t across) {
  constexpr int kGreatest = Wide ? 127 * 128 : 127;
  const __m128i even_first = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
  const auto store = [&](__m128i codes, int8_t* to) {
    if (type == WeightType::q4) codes = _mm_shuffle_epi8(codes, even_first);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), codes);
  };
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t s = 0; s < superblocks_of(cols); ++s) {
      const float* from = x + i * stride + s * kBlockCols;
      CodeColumns& to = out[i * across + s];
      __m512 parts[4], greatest = _mm512_setzero_ps();
      for (int p = 0; p < 4; ++p) {
        parts[p] = _mm512_maskz_loadu_ps(first_lanes(cols - s * kBlockCols - p * 16), from + p * 16);
        greatest = _mm512_max_ps(greatest, _mm512_abs_ps(parts[p]));
      }
      to.scale = _mm512_reduce_max_ps(greatest) / static_cast<float>(kGreatest);
      const __m512 inverse = _mm512_set1_ps(to.scale > 0 ? 1.0f / to.scale : 0.0f);
      for (int p = 0; p < 4; ++p) {
        const __m512i codes = _mm512_cvtps_epi32(_mm512_mul_ps(parts[p], inverse));
        if constexpr (Wide) {
          // Saturating, so whatever the quotient rounds to is a code.
          const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(codes, _mm512_set1_epi32(64)), 7);
          const __m128i highs = _mm512_cvtsepi32_epi8(high);
          const __m128i lows = _mm512_cvtsepi32_epi8(_mm512_sub_epi32(codes, _mm512_slli_epi32(high, 7)));
          to.offset[p] = -128 * (128 * sum(highs) + sum(lows));
          store(highs, to.high + p * 16);
          store(lows, to.low + p * 16);
        } else {
          const __m128i saturated = _mm512_cvtsepi32_epi8(codes);
          to.offset[p] = -128 * sum(saturated);
          store(saturated, to.high + p * 16);
        }
      }
    }
  }
}

void quantize(CodeBits bits, WeightType type, const float* x, int64_t n, int64_t cols, int64_t stride, CodeColumns* out,
              int64_t across) {
  (bits == CodeBits::eight ? quantize_columns<false> : quantize_columns<true>)(type, x, n, cols, stride, out, across);
}

// A format: the 16 columns of one group, as four vectors of 16 rows × 4 columns, 128 too high.
struct Q4 {
  static constexpr WeightType kType = WeightType::q4;
  static void decode(const std::byte* superblock, int group, __m512i (&out)[4]) {
    const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(
        128 + 6 - 256, 128 + 18 - 256, 128 + 31 - 256, 128 + 45 - 256, 128 + 60 - 256, 128 + 77 - 256, 128 + 98 - 256,
        128 + 127 - 256, 128 - 6, 128 - 18, 128 - 31, 128 - 45, 128 - 60, 128 - 77, 128 - 98, 128 - 127));
    const __m512i low = _mm512_set1_epi8(0x0f);
    for (int word = 0; word < 2; ++word) {
      const __m512i codes = _mm512_loadu_si512(superblock + kScaleBytes + (group * 2 + word) * 64);
      out[word * 2] = _mm512_shuffle_epi8(table, _mm512_and_si512(codes, low));
      out[word * 2 + 1] = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi32(codes, 4), low));
    }
  }
};

struct Q8 {
  static constexpr WeightType kType = WeightType::q8;
  static void decode(const std::byte* superblock, int group, __m512i (&out)[4]) {
    for (int word = 0; word < 4; ++word) {
      out[word] = _mm512_xor_si512(_mm512_loadu_si512(superblock + kScaleBytes + (group * 4 + word) * 64),
                                   _mm512_set1_epi8(-128));
    }
  }
};

inline __m512i broadcast(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}

// sums + the products of four columns of `weights` with the codes at p. Alone: the codes meet no other weights, so the
// product may broadcast them itself.
template <bool Alone>
inline __m512i add_products(__m512i sums, __m512i weights, const int8_t* p) {
  if constexpr (Alone) {
    return add_products_at(sums, weights, p);
  }
  return _mm512_dpbusd_epi32(sums, weights, broadcast(p));
}

struct Product {
  const std::byte* w;
  int64_t rows, cols;
  const float* row_scale;
  const float* bias;
  const CodeColumns* x;
  int64_t across;
  float* out;
  int64_t out_stride;
};

// How many superblocks ahead weights are asked for, into the second-level cache; 0: not at all. Without it reading
// waits for computing: one row of 4-bit weights in eight blocks at once came at 70 % of the speed of reading alone; at
// 86 to 91 % with 2 or 4 superblocks, 97 % with 8. One block at a time, which is one stream, does best with some 4.5 KB
// (on Zen 4 three to eight tokens take 0.6 to 0.9 of the time without), and with one or two tokens, which are bound by
// reading, best when left to the processor's own prefetching (0.83 to 0.95).
template <class Format, int Blocks, int Tokens>
constexpr int64_t kAhead = Blocks > 1   ? 8
                           : Tokens > 2 ? 4608 / superblock_bytes(Format::kType)
                                        : 0;

template <class Format, bool Wide, int Blocks, int Tokens>
void tile(const Product& p, int64_t block, int64_t token) {
  const int64_t stride = block_bytes(Format::kType, p.cols), supers = superblocks_of(p.cols);
  const std::byte* w = p.w + block * stride;
  const CodeColumns* x = p.x + token * p.across;
  __m512 total[Blocks][Tokens];
#pragma GCC unroll 16
  for (int b = 0; b < Blocks; ++b) {
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) total[b][t] = _mm512_setzero_ps();
  }
  for (int64_t s = 0; s < supers; ++s, w += superblock_bytes(Format::kType)) {
    __m512 sums[Blocks][Tokens];
#pragma GCC unroll 4
    for (int group = 0; group < 4; ++group) {
      if constexpr (constexpr int64_t kOn = kAhead<Format, Blocks, Tokens>; kOn > 0) {
        // A quarter of the lines of the superblock that is kOn further: in this block, or in the one that comes next.
        constexpr int64_t kBytes = superblock_bytes(Format::kType), kLines = kBytes / 64 / 4 + 1;
        const int64_t ahead = s + kOn < supers ? kOn * kBytes : Blocks * stride - (supers - kOn) * kBytes;
#pragma GCC unroll 16
        for (int b = 0; b < Blocks; ++b) {
          const auto* line = reinterpret_cast<const char*>(w + b * stride + ahead) + group * kLines * 64;
          for (int64_t i = 0; i < kLines; ++i) _mm_prefetch(line + i * 64, _MM_HINT_T1);
        }
      }
#pragma GCC unroll 16
      for (int b = 0; b < Blocks; ++b) {
        __m512i weights[4];
        Format::decode(w + b * stride, group, weights);
        const __m512 scale = load_scales(w + b * stride + group * kBlockRows);
#pragma GCC unroll 16
        for (int t = 0; t < Tokens; ++t) {
          const CodeColumns& columns = x[t * p.across + s];
          __m512i dot = broadcast(&columns.offset[group]);
          const int8_t* last = (Wide ? columns.low : columns.high) + group * kGroupCols;
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) dot = add_products<Blocks == 1>(dot, weights[i], last + i * 4);
          if constexpr (Wide) {
            __m512i high = _mm512_setzero_si512();
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
              high = add_products<Blocks == 1>(high, weights[i], columns.high + group * kGroupCols + i * 4);
            }
            dot = _mm512_add_epi32(dot, _mm512_slli_epi32(high, 7));
          }
          const __m512 value = _mm512_cvtepi32_ps(dot);
          sums[b][t] = group == 0 ? _mm512_mul_ps(value, scale) : _mm512_fmadd_ps(value, scale, sums[b][t]);
        }
      }
    }
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) {
      const __m512 scale = _mm512_set1_ps(x[t * p.across + s].scale);
#pragma GCC unroll 16
      for (int b = 0; b < Blocks; ++b) total[b][t] = _mm512_fmadd_ps(sums[b][t], scale, total[b][t]);
    }
  }
#pragma GCC unroll 16
  for (int b = 0; b < Blocks; ++b) {
    const int64_t row = (block + b) * kBlockRows;
    if (row >= p.rows) break;
    const OutputRows outputs(p, row);
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) outputs.store(token + t, total[b][t]);
  }
}

// Tokens that go through the weights together, at most: all their group sums stay in registers.
constexpr int64_t kTokens = 12;

// Blocks at once where memory is best read as several streams: eight for one token, fewer for more; two as long as
// reading is most of it and there are registers.
template <class Format, bool Wide, int Tokens>
constexpr int blocks_at_once() {
  if (Tokens <= 3) return 8 >> (Tokens - 1);
  return Tokens <= (!Wide ? 6 : Format::kType == WeightType::q8 ? 5 : 3) ? 2 : 1;
}

// Blocks [block, end) against the `tokens` ≤ Most tokens from `token` on.
template <class Format, bool Wide, int Most>
void take(const Product& p, int64_t block, int64_t end, int64_t token, int64_t tokens) {
  if constexpr (Most > 1) {
    if (tokens < Most) return take<Format, Wide, Most - 1>(p, block, end, token, tokens);
  }
  constexpr int kMany = blocks_at_once<Format, Wide, Most>();
  if (cpu::memory_streams() > 1) {
    for (; block + kMany <= end; block += kMany) tile<Format, Wide, kMany, Most>(p, block, token);
  }
  for (; block < end; ++block) tile<Format, Wide, 1, Most>(p, block, token);
}

// All tokens meet some blocks, which are in the second-level cache from then on, before the next ones do. In equal
// parts, so that no few are left to go through the weights alone.
template <class Format, bool Wide>
void product(const Product& p, int64_t n) {
  constexpr int64_t kTogether = 8;
  const int64_t blocks = blocks_of(p.rows), parts = (n + kTokens - 1) / kTokens;
  for (int64_t block = 0; block < blocks; block += kTogether) {
    const int64_t end = blocks < block + kTogether ? blocks : block + kTogether;
    for (int64_t i = 0; i < parts; ++i) {
      const int64_t token = n * i / parts;
      take<Format, Wide, kTokens>(p, block, end, token, n * (i + 1) / parts - token);
    }
  }
}

void matmul(CodeBits bits, WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale,
            const float* bias, const CodeColumns* x, int64_t across, int64_t n, float* out, int64_t out_stride) {
  const Product p{w, rows, cols, row_scale, bias, x, across, out, out_stride};
  const bool wide = bits == CodeBits::fifteen;
  if (type == WeightType::q4) return wide ? product<Q4, true>(p, n) : product<Q4, false>(p, n);
  if (type == WeightType::q8) return wide ? product<Q8, true>(p, n) : product<Q8, false>(p, n);
}

double busy(int64_t iterations) {
  const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
  __m512i s0 = a, s1 = a, s2 = a, s3 = a, s4 = a, s5 = a, s6 = a, s7 = a, s8 = a, s9 = a;
  // By hand: GCC 12 moves every total to another register and back.
  const auto add = [&](__m512i& total) { __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(total) : "v"(a), "v"(b)); };
  for (int64_t i = 0; i < iterations; ++i) {
    add(s0), add(s1), add(s2), add(s3), add(s4), add(s5), add(s6), add(s7), add(s8), add(s9);
  }
  return static_cast<double>(iterations) * 10 * 64 * 2;
}

}  // namespace

extern const CodeKernels kernels;
const CodeKernels kernels = {quantize, matmul, busy};

}  // namespace zaya::ops::vnni
