// The products of codes.h on vectors of 256 bits. Compiled twice, once per namespace ZAYA_ISA: with AVX2, whose only
// exact product of sums is that of 16-bit words, two columns an instruction, so weights and activations are words; and
// with AVX-VNNI, where both are bytes, as in codes_isa.cc, four columns an instruction.
#include <immintrin.h>

#include "ops/cpu/codes.h"

#if defined(ZAYA_EMULATE) && defined(__AVX512VNNI__)  // the same products, encoded otherwise
#define ZAYA_AVXVNNI
#define _mm256_dpbusd_avx_epi32 _mm256_dpbusd_epi32
#define _mm_dpbusd_avx_epi32 _mm_dpbusd_epi32
#define ZAYA_VEX ""
#elif defined(__AVXVNNI__)
#define ZAYA_AVXVNNI
#define ZAYA_VEX "%{vex%} "
#endif

namespace zaya::ops::ZAYA_ISA {
namespace {

constexpr int kLanes = 8;  // rows of one vector: half a block

inline __m256i broadcast(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm256_set1_epi32(word);
}

// Lanes before `count`.
inline __m256i first_lanes(int64_t count) {
  const auto many = static_cast<int>(count < kLanes ? count : kLanes);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(many), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// decode_scale of 8 bytes.
inline __m256 load_scales(const std::byte* p) {
  const __m256i code = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(code, 19), _mm256_set1_epi32(112 << 23)));
}

inline __m256i load(const std::byte* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

inline int32_t sum(__m128i x) {
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
  return _mm_cvtsi128_si32(x) + _mm_extract_epi32(x, 1);
}

// 4-bit codes, in the lower bits of bytes, as weights 128 too high.
inline __m256i look_up(__m256i codes) {
  const __m256i table = _mm256_broadcastsi128_si256(_mm_setr_epi8(
      128 + 6 - 256, 128 + 18 - 256, 128 + 31 - 256, 128 + 45 - 256, 128 + 60 - 256, 128 + 77 - 256, 128 + 98 - 256,
      128 + 127 - 256, 128 - 6, 128 - 18, 128 - 31, 128 - 45, 128 - 60, 128 - 77, 128 - 98, 128 - 127));
  return _mm256_shuffle_epi8(table, _mm256_and_si256(codes, _mm256_set1_epi8(0x0f)));
}

// The bytes of 8 rows and one group's 16 columns, 128 too high: four vectors of 8 rows × 4 columns. `from` is the
// group's first code of the first row.
template <WeightType Type>
inline __attribute__((always_inline)) void decode_bytes(const std::byte* from, __m256i (&out)[4]) {
  if constexpr (Type == WeightType::q4) {
#pragma GCC unroll 2
    for (int word = 0; word < 2; ++word) {
      const __m256i codes = load(from + word * kBlockRows * 4);
      out[word * 2] = look_up(codes);
      out[word * 2 + 1] = look_up(_mm256_srli_epi32(codes, 4));
    }
  } else {
#pragma GCC unroll 4
    for (int word = 0; word < 4; ++word) {
      out[word] = _mm256_xor_si256(load(from + word * kBlockRows * 4), _mm256_set1_epi8(-128));
    }
  }
}

#if defined(ZAYA_AVXVNNI)
constexpr int kParts = 4;  // vectors of weights that 8 rows of a group make
#else
constexpr int kParts = 8;
#endif

// A superblock's codes, each 32 bits of them in all lanes: spread once for all rows, which then take them as operands
// in memory.
template <bool Wide>
struct Spread {
  static constexpr int kWords = (kParts == 8 || Wide ? 2 : 1) * kBlockCols / 4;
  __m256i words[kWords];
  __m256i offset[4];

  void take(const CodeColumns& x) {
    const auto* codes = reinterpret_cast<const std::byte*>(&x);  // high, then low
#pragma GCC unroll 8
    for (int i = 0; i < kWords; ++i) words[i] = broadcast(codes + i * 4);
    for (int i = 0; i < 4; ++i) offset[i] = broadcast(&x.offset[i]);
  }
};

#if defined(ZAYA_AVXVNNI)

template <WeightType Type>
inline __attribute__((always_inline)) void decode(const std::byte* from, __m256i (&out)[kParts]) {
  decode_bytes<Type>(from, out);
}

// The group's sum: of weights 128 too high, and then what takes that back.
template <bool Wide>
inline __attribute__((always_inline)) __m256i dot(const Spread<Wide>& x, int group, const __m256i (&weights)[kParts]) {
  __m256i total = x.offset[group];
#pragma GCC unroll 4
  for (int i = 0; i < kParts; ++i) total = _mm256_dpbusd_avx_epi32(total, weights[i], x.words[group * kParts + i]);
  if constexpr (Wide) {
    total = _mm256_slli_epi32(total, 7);
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i) {
      total = _mm256_dpbusd_avx_epi32(total, weights[i], x.words[(4 + group) * kParts + i]);
    }
  }
  return total;
}

// 16 codes to `group`.
template <WeightType Type, bool Wide>
inline void store_codes(__m256i first, __m256i second, CodeColumns& out, int group) {
  const __m128i even_first = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
  const auto pack = [&](__m256i a, __m256i b) {
    const __m128i words[2] = {_mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)),
                              _mm_packs_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1))};
    return _mm_packs_epi16(words[0], words[1]);
  };
  const auto store = [&](__m128i codes, int8_t* to) {
    if (Type == WeightType::q4) codes = _mm_shuffle_epi8(codes, even_first);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), codes);
  };
  const auto sums = [](__m128i codes) {
    return sum(_mm_dpbusd_avx_epi32(_mm_setzero_si128(), _mm_set1_epi8(1), codes));
  };
  if constexpr (Wide) {
    const __m256i half = _mm256_set1_epi32(64);
    const __m256i high[2] = {_mm256_srai_epi32(_mm256_add_epi32(first, half), 7),
                             _mm256_srai_epi32(_mm256_add_epi32(second, half), 7)};
    const __m128i highs = pack(high[0], high[1]);
    const __m128i lows = pack(_mm256_sub_epi32(first, _mm256_slli_epi32(high[0], 7)),
                              _mm256_sub_epi32(second, _mm256_slli_epi32(high[1], 7)));
    out.offset[group] = -(128 * sums(highs) + sums(lows));  // becomes 128 times that with the high parts
    store(highs, out.high + group * kGroupCols);
    store(lows, out.low + group * kGroupCols);
  } else {
    const __m128i codes = pack(first, second);
    out.offset[group] = -128 * sums(codes);
    store(codes, out.high + group * kGroupCols);
  }
}

#else

template <WeightType Type>
inline __attribute__((always_inline)) void decode(const std::byte* from, __m256i (&out)[kParts]) {
  __m256i bytes[4];
  decode_bytes<Type>(from, bytes);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    out[i * 2] = _mm256_and_si256(bytes[i], _mm256_set1_epi16(0xff));
    out[i * 2 + 1] = _mm256_srli_epi16(bytes[i], 8);
  }
}

template <bool Wide>
inline __attribute__((always_inline)) __m256i dot(const Spread<Wide>& x, int group, const __m256i (&weights)[kParts]) {
  __m256i total = x.offset[group];
#pragma GCC unroll 8
  for (int i = 0; i < kParts; ++i) {
    total = _mm256_add_epi32(total, _mm256_madd_epi16(weights[i], x.words[group * kParts + i]));
  }
  return total;
}

template <WeightType Type, bool Wide>
inline void store_codes(__m256i first, __m256i second, CodeColumns& out, int group) {
  // Pairs of columns as decode() makes them, of q8's 4 columns and of q4's 8.
  const __m128i order = Type == WeightType::q4 ? _mm_setr_epi8(0, 1, 8, 9, 4, 5, 12, 13, 2, 3, 10, 11, 6, 7, 14, 15)
                                               : _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
  auto* to = reinterpret_cast<__m128i*>(reinterpret_cast<std::byte*>(&out) + group * kGroupCols * 2);
  const __m128i ones = _mm_set1_epi16(1);
  __m128i sums = _mm_setzero_si128();
  for (const __m256i& codes : {first, second}) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
    sums = _mm_add_epi32(sums, _mm_madd_epi16(words, ones));
    _mm_storeu_si128(to++, _mm_shuffle_epi8(words, order));
  }
  out.offset[group] = -128 * sum(sums);
}

#endif

template <WeightType Type, bool Wide>
void quantize_columns(const float* x, int64_t n, int64_t cols, int64_t stride, CodeColumns* out, int64_t across) {
  constexpr float kGreatest = Wide ? 127 * 128 : 127;
  const __m256 sign = _mm256_set1_ps(-0.0f);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t s = 0; s < superblocks_of(cols); ++s) {
      const float* from = x + i * stride + s * kBlockCols;
      CodeColumns& to = out[i * across + s];
      const int64_t left = cols - s * kBlockCols;
      __m256 parts[8], greatest = _mm256_setzero_ps();
#pragma GCC unroll 8
      for (int p = 0; p < 8; ++p) {
        parts[p] = left >= kBlockCols ? _mm256_loadu_ps(from + p * kLanes)
                                      : _mm256_maskload_ps(from + p * kLanes, first_lanes(left - p * kLanes));
        greatest = _mm256_max_ps(greatest, _mm256_andnot_ps(sign, parts[p]));
      }
      __m128 four = _mm_max_ps(_mm256_castps256_ps128(greatest), _mm256_extractf128_ps(greatest, 1));
      four = _mm_max_ps(four, _mm_movehl_ps(four, four));
      to.scale = _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four))) / kGreatest;
      const __m256 inverse = _mm256_set1_ps(to.scale > 0 ? 1.0f / to.scale : 0.0f);
      for (int group = 0; group < 4; ++group) {
        store_codes<Type, Wide>(_mm256_cvtps_epi32(_mm256_mul_ps(parts[group * 2], inverse)),
                                _mm256_cvtps_epi32(_mm256_mul_ps(parts[group * 2 + 1], inverse)), to, group);
      }
    }
  }
}

void quantize(CodeBits bits, WeightType type, const float* x, int64_t n, int64_t cols, int64_t stride, CodeColumns* out,
              int64_t across) {
  const bool q4 = type == WeightType::q4;
  if (bits == CodeBits::fifteen) {
    return (q4 ? quantize_columns<WeightType::q4, true> : quantize_columns<WeightType::q8, true>)(x, n, cols, stride,
                                                                                                  out, across);
  }
  (q4 ? quantize_columns<WeightType::q4, false> : quantize_columns<WeightType::q8, false>)(x, n, cols, stride, out,
                                                                                           across);
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

constexpr int64_t kAhead = 8;  // superblocks, as in codes_isa.cc

// Blocks at once, for as many memory streams and for what spreading the codes costs; four were about as fast.
constexpr int64_t kBlocks = 8;

// kBlocks blocks, or the fewer that are left, from `block` on against the Tokens tokens from `token` on.
template <WeightType Type, bool Wide, int Tokens>
void tile(const Product& p, int64_t block, int64_t token) {
  const int64_t left = blocks_of(p.rows) - block, blocks = left < kBlocks ? left : kBlocks;
  constexpr int64_t kBytes = superblock_bytes(Type), kGroupBytes = (kBytes - kScaleBytes) / 4;
  const int64_t stride = block_bytes(Type, p.cols), supers = superblocks_of(p.cols);
  const std::byte* w = p.w + block * stride;
  const CodeColumns* x = p.x + token * p.across;
  __m256 total[kBlocks][2][Tokens];
  Spread<Wide> spread[Tokens];
  for (int64_t b = 0; b < blocks; ++b) {
    for (int t = 0; t < Tokens; ++t) total[b][0][t] = total[b][1][t] = _mm256_setzero_ps();
  }
  for (int64_t s = 0; s < supers; ++s, w += kBytes) {
    // The superblock that is kAhead on: in this block, or in the one that comes next here.
    const int64_t ahead = s + kAhead < supers ? kAhead * kBytes : blocks * stride - (supers - kAhead) * kBytes;
    for (int t = 0; t < Tokens; ++t) spread[t].take(x[t * p.across + s]);
    for (int64_t b = 0; b < blocks; ++b) {
      const std::byte* superblock = w + b * stride;
      const auto* line = reinterpret_cast<const char*>(superblock + ahead);
      __asm__("" : "+r"(line));  // or GCC counts a register of its own for every line
#pragma GCC unroll 32
      for (int64_t i = 0; i < kBytes; i += 64) _mm_prefetch(line + i, _MM_HINT_T0);
      for (int half = 0; half < 2; ++half) {
        __asm__ volatile("" : : : "memory");  // or GCC copies what is spread to other places of the stack first
        __m256 sums[Tokens];
#pragma GCC unroll 4
        for (int group = 0; group < 4; ++group) {
          __m256i weights[kParts];
          decode<Type>(superblock + kScaleBytes + group * kGroupBytes + half * kLanes * 4, weights);
          const __m256 scale = load_scales(superblock + group * kBlockRows + half * kLanes);
#pragma GCC unroll 16
          for (int t = 0; t < Tokens; ++t) {
            const __m256 value = _mm256_cvtepi32_ps(dot(spread[t], group, weights));
            sums[t] = group == 0 ? _mm256_mul_ps(value, scale) : _mm256_fmadd_ps(value, scale, sums[t]);
          }
        }
#pragma GCC unroll 16
        for (int t = 0; t < Tokens; ++t) {
          total[b][half][t] =
              _mm256_fmadd_ps(sums[t], _mm256_broadcast_ss(&x[t * p.across + s].scale), total[b][half][t]);
        }
      }
    }
  }
  for (int64_t b = 0; b < blocks; ++b) {
    for (int half = 0; half < 2; ++half) {
      const int64_t row = (block + b) * kBlockRows + half * kLanes;
      if (row >= p.rows) break;
      const __m256i mask = first_lanes(p.rows - row);
      const __m256 scale = p.row_scale == nullptr ? _mm256_set1_ps(1) : _mm256_maskload_ps(p.row_scale + row, mask);
      const __m256 bias = p.bias == nullptr ? _mm256_setzero_ps() : _mm256_maskload_ps(p.bias + row, mask);
      for (int t = 0; t < Tokens; ++t) {
        _mm256_maskstore_ps(p.out + (token + t) * p.out_stride + row, mask,
                            _mm256_fmadd_ps(total[b][half][t], scale, bias));
      }
    }
  }
}

// All tokens meet some blocks, which are in the second-level cache from then on, before the next ones do.
template <WeightType Type, bool Wide>
void product(const Product& p, int64_t n) {
  for (int64_t block = 0; block < blocks_of(p.rows); block += kBlocks) {
    int64_t t = 0;
    for (; t + 8 <= n; t += 8) tile<Type, Wide, 8>(p, block, t);
    for (; t + 4 <= n; t += 4) tile<Type, Wide, 4>(p, block, t);
    for (; t + 2 <= n; t += 2) tile<Type, Wide, 2>(p, block, t);
    if (t < n) tile<Type, Wide, 1>(p, block, t);
  }
}

void matmul(CodeBits bits, WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale,
            const float* bias, const CodeColumns* x, int64_t across, int64_t n, float* out, int64_t out_stride) {
  const Product p{w, rows, cols, row_scale, bias, x, across, out, out_stride};
  const bool wide = bits == CodeBits::fifteen;
  if (type == WeightType::q4) {
    return wide ? product<WeightType::q4, true>(p, n) : product<WeightType::q4, false>(p, n);
  }
  if (type == WeightType::q8) {
    return wide ? product<WeightType::q8, true>(p, n) : product<WeightType::q8, false>(p, n);
  }
}

double busy(int64_t iterations) {
  const __m256i a = _mm256_set1_epi16(3), b = _mm256_set1_epi16(5);
  __m256i s0 = a, s1 = a, s2 = a, s3 = a, s4 = a, s5 = a, s6 = a, s7 = a, s8 = a, s9 = a;
  // By hand: GCC 12 moves every total to another register and back.
  const auto add = [&](__m256i& total) {
#if defined(ZAYA_AVXVNNI)
    __asm__ volatile(ZAYA_VEX "vpdpbusd %2, %1, %0" : "+x"(total) : "x"(a), "x"(b));
#else
    __m256i pairs;
    __asm__ volatile("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(total), "=&x"(pairs) : "x"(a), "x"(b));
#endif
  };
  for (int64_t i = 0; i < iterations; ++i) {
    add(s0), add(s1), add(s2), add(s3), add(s4), add(s5), add(s6), add(s7), add(s8), add(s9);
  }
  return static_cast<double>(iterations) * 10 * (128 / kParts) * 2;
}

}  // namespace

extern const CodeKernels codes;
#if defined(ZAYA_AVXVNNI)
const CodeKernels codes = {quantize, matmul, busy, "avxvnni", "int8 vectors (avxvnni)"};
#else
const CodeKernels codes = {quantize, matmul, busy, "avx2", "int16 vectors (avx2)"};
#endif

}  // namespace zaya::ops::ZAYA_ISA
