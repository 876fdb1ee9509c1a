// Compiled with AVX-512 and AVX512_VNNI; reached only where both are there (see int8.h).
#include <immintrin.h>

#include "ops/cpu/avx512_isa.h"
#include "ops/cpu/int8.h"

namespace zaya::ops::vnni {
namespace {

void quantize(WeightType type, const float* x, int64_t n, int64_t cols, int64_t stride, Int8Columns* out,
              int64_t across) {
  const __m128i even_first = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t s = 0; s < superblocks_of(cols); ++s) {
      const float* from = x + i * stride + s * kBlockCols;
      Int8Columns& to = out[i * across + s];
      __m512 parts[4], greatest = _mm512_setzero_ps();
      for (int p = 0; p < 4; ++p) {
        parts[p] = _mm512_maskz_loadu_ps(first_lanes(cols - s * kBlockCols - p * 16), from + p * 16);
        greatest = _mm512_max_ps(greatest, _mm512_abs_ps(parts[p]));
      }
      to.scale = _mm512_reduce_max_ps(greatest) / 127.0f;
      const __m512 inverse = _mm512_set1_ps(to.scale > 0 ? 1.0f / to.scale : 0.0f);
      for (int p = 0; p < 4; ++p) {
        // Saturating, so whatever the quotient rounds to is a code.
        __m128i codes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(parts[p], inverse)));
        const __m128i sums = _mm_dpbusd_epi32(_mm_setzero_si128(), _mm_set1_epi8(1), codes);
        const __m128i pairs = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0x4e));
        to.offset[p] = -128 * (_mm_cvtsi128_si32(pairs) + _mm_extract_epi32(pairs, 1));
        if (type == WeightType::q4) codes = _mm_shuffle_epi8(codes, even_first);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to.codes + p * 16), codes);
      }
    }
  }
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

struct Product {
  const std::byte* w;
  int64_t rows, cols;
  const float* row_scale;
  const float* bias;
  const Int8Columns* x;
  int64_t across;
  float* out;
  int64_t out_stride;
};

template <class Format, int Blocks, int Tokens>
void tile(const Product& p, int64_t block, int64_t token) {
  const int64_t stride = block_bytes(Format::kType, p.cols), supers = superblocks_of(p.cols);
  const std::byte* w = p.w + block * stride;
  const Int8Columns* x = p.x + token * p.across;
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
#pragma GCC unroll 16
      for (int b = 0; b < Blocks; ++b) {
        __m512i weights[4];
        Format::decode(w + b * stride, group, weights);
        const __m512 scale = load_scales(w + b * stride + group * kBlockRows);
#pragma GCC unroll 16
        for (int t = 0; t < Tokens; ++t) {
          const Int8Columns& columns = x[t * p.across + s];
          __m512i dot = broadcast(&columns.offset[group]);
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) {
            dot = _mm512_dpbusd_epi32(dot, weights[i], broadcast(columns.codes + group * kGroupCols + i * 4));
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
    const int64_t row = (block + b) * kBlockRows, left = p.rows - row;
    if (left <= 0) break;
    const __mmask16 mask = first_lanes(left);
    const __m512 scale = p.row_scale == nullptr ? _mm512_set1_ps(1) : _mm512_maskz_loadu_ps(mask, p.row_scale + row);
    const __m512 bias = p.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, p.bias + row);
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) {
      _mm512_mask_storeu_ps(p.out + (token + t) * p.out_stride + row, mask, _mm512_fmadd_ps(total[b][t], scale, bias));
    }
  }
}

template <int Value>
struct Constant {
  constexpr int operator()() const { return Value; }
};

// As packed_isa.cc: few tokens take several blocks at once, many one.
template <class Format>
void product(const Product& p, int64_t n) {
  const int64_t blocks = blocks_of(p.rows);
  int64_t t = 0;
  const auto take = [&](auto many, auto tokens) {
    int64_t b = 0;
    for (; b + many() <= blocks; b += many()) tile<Format, many(), tokens()>(p, b, t);
    for (; b < blocks; ++b) tile<Format, 1, tokens()>(p, b, t);
    t += tokens();
  };
  while (t < n) {
    if (n - t >= 10) {
      take(Constant<1>{}, Constant<10>{});
    } else if (n - t >= 4) {
      take(Constant<2>{}, Constant<4>{});
    } else if (n - t >= 2) {
      take(Constant<4>{}, Constant<2>{});
    } else {
      take(Constant<8>{}, Constant<1>{});
    }
  }
}

void matmul(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale, const float* bias,
            const Int8Columns* x, int64_t across, int64_t n, float* out, int64_t out_stride) {
  const Product p{w, rows, cols, row_scale, bias, x, across, out, out_stride};
  if (type == WeightType::q4) return product<Q4>(p, n);
  if (type == WeightType::q8) return product<Q8>(p, n);
}

double busy(int64_t iterations) {
  constexpr int kChains = 12;
  __m512i chain[kChains];
  for (int c = 0; c < kChains; ++c) chain[c] = _mm512_set1_epi32(c);
  const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
  for (int64_t i = 0; i < iterations; ++i) {
    for (int c = 0; c < kChains; ++c) {
      chain[c] = _mm512_dpbusd_epi32(chain[c], a, b);
      __asm__ volatile("" : "+v"(chain[c]));  // or the compiler would fold the loop
    }
  }
  __m512i total = _mm512_setzero_si512();
  for (int c = 0; c < kChains; ++c) total = _mm512_add_epi32(total, chain[c]);
  return _mm512_reduce_add_epi32(total) == 12345 ? 0.0 : static_cast<double>(iterations) * kChains * 64 * 2;
}

}  // namespace

extern const Int8Kernels kernels;
const Int8Kernels kernels = {quantize, matmul, busy};

}  // namespace zaya::ops::vnni
