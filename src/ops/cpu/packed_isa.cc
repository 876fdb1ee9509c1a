// Products of packed weights with FP32 activations: the lanes of a vector are 16 output rows, each weight is decoded
// once for all tokens of a tile and multiplied by a broadcast activation. Per output the arithmetic is always the same:
// a group's 16 products in order, then group sum · scale added to the total, so a token's bits do not depend on its
// neighbours nor on the tile it was computed in.

#include "ops/cpu/packed_isa.h"

#include "ops/cpu/kernels.h"
#include "ops/cpu/vectors_isa.h"
#include "ops/packed/layout.h"

namespace zaya::ops::ZAYA_ISA {
namespace {

// 16 lanes, as many vectors as that takes.
constexpr int kParts = 16 / kLanes;
struct Vec16 {
  Vec part[kParts];
};
struct Word16 {
  UintVec part[kParts];
};

typedef uint32_t UintVecAt __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

inline Word16 load_words(const std::byte* p) {
  Word16 w;
#pragma GCC unroll 16
  for (int i = 0; i < kParts; ++i) w.part[i] = *reinterpret_cast<const UintVecAt*>(p + i * kLanes * 4);
  return w;
}

inline Vec16 fused(const Vec16& a, Vec b, const Vec16& c) {
  Vec16 r;
#pragma GCC unroll 16
  for (int i = 0; i < kParts; ++i) r.part[i] = multiply_add(a.part[i], b, c.part[i]);
  return r;
}

inline Vec16 fused(const Vec16& a, const Vec16& b, const Vec16& c) {
  Vec16 r;
#pragma GCC unroll 16
  for (int i = 0; i < kParts; ++i) r.part[i] = multiply_add(a.part[i], b.part[i], c.part[i]);
  return r;
}

inline Vec16 times(const Vec16& a, Vec b) {
  Vec16 r;
#pragma GCC unroll 16
  for (int i = 0; i < kParts; ++i) r.part[i] = a.part[i] * b;
  return r;
}

// decode_scale of 16 bytes.
inline Vec16 load_scales(const std::byte* p) {
  Vec16 scale;
#pragma GCC unroll 16
  for (int i = 0; i < kParts; ++i) {
    scale.part[i] = (Vec)((widen_unsigned(p + i * kLanes) << 19) + (112u << 23));
  }
  return scale;
}

// A format: the bytes of a superblock, how many columns one word holds, and the weight of column j out of a word.
struct Q4 {
  static constexpr int64_t kBytes = superblock_bytes(WeightType::q4);
  static constexpr int kPerWord = 8;
  static constexpr int64_t kHeader = kScaleBytes;

  static Vec decode(UintVec word, int j) {
#if defined(__AVX512F__)
    const Vec table = {6, 18, 31, 45, 60, 77, 98, 127, -6, -18, -31, -45, -60, -77, -98, -127};
    return (Vec)_mm512_permutexvar_ps((__m512i)(word >> (4 * j)), (__m512)table);
#elif defined(__AVX2__)
    const Vec magnitudes = {6, 18, 31, 45, 60, 77, 98, 127};
    const Vec magnitude = (Vec)_mm256_permutevar8x32_ps((__m256)magnitudes, (__m256i)(word >> (4 * j)));
    return (Vec)((UintVec)magnitude ^ ((word << (28 - 4 * j)) & 0x80000000u));
#else
    Vec values;
    for (int i = 0; i < kLanes; ++i) values[i] = static_cast<float>(table4(static_cast<int>(word[i] >> (4 * j) & 15u)));
    return values;
#endif
  }
};

struct Q8 {
  static constexpr int64_t kBytes = superblock_bytes(WeightType::q8);
  static constexpr int kPerWord = 4;
  static constexpr int64_t kHeader = kScaleBytes;

  static Vec decode(UintVec word, int j) { return __builtin_convertvector((IntVec)(word << (24 - 8 * j)) >> 24, Vec); }
};

struct B16 {
  static constexpr int64_t kBytes = superblock_bytes(WeightType::b16);
  static constexpr int kPerWord = 2;
  static constexpr int64_t kHeader = 0;

  static Vec decode(UintVec word, int j) { return (Vec)(j == 0 ? word << 16 : word & 0xffff0000u); }
};

// A packed format's superblock with its codes decoded to FP32: what many tokens share, so that decoding is done once.
template <class Packed>
struct Wide {
  static constexpr int kPerWord = 1;
  static constexpr int64_t kHeader = Packed::kHeader;
  static constexpr int64_t kBytes = kHeader + kBlockRows * kBlockCols * 4;
  static_assert(kBytes <= kWideBytes);

  static Vec decode(UintVec word, int) { return (Vec)word; }
};

// Tokens of one tile of decoded weights: with 8 lanes 12 sums in 16 registers.
constexpr int kWideTokens = kLanes == 16 ? 12 : 6;
static_assert(kSlabTokens % kWideTokens == 0);

template <class Format>
inline Vec16 decode(const Word16& word, int j) {
  Vec16 weights;
#pragma GCC unroll 16
  for (int i = 0; i < kParts; ++i) weights.part[i] = Format::decode(word.part[i], j);
  return weights;
}

// Takes the branch out of a loop over a group's columns. Instrumented for a sanitizer, so much code would compile for
// minutes.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ZAYA_UNROLL_COLUMNS
#else
#define ZAYA_UNROLL_COLUMNS _Pragma("GCC unroll 16")
#endif

// One superblock of Blocks blocks against Tokens tokens, added to the totals.
template <class Format, int Blocks, int Tokens>
inline __attribute__((always_inline)) void superblock(const std::byte* w, int64_t stride, const float* x,
                                                      int64_t x_stride, Vec16 (&total)[Blocks][Tokens]) {
  constexpr int kWords = static_cast<int>(kGroupCols) / Format::kPerWord;  // of one group
  for (int group = 0; group < kBlockCols / kGroupCols; ++group) {
    Vec16 sums[Blocks][Tokens];
    ZAYA_UNROLL_COLUMNS
    for (int word = 0; word < kWords; ++word) {
      Word16 raw[Blocks];
      const int64_t offset = Format::kHeader + (group * kWords + word) * kBlockRows * 4;
#pragma GCC unroll 16
      for (int b = 0; b < Blocks; ++b) raw[b] = load_words(w + b * stride + offset);
#pragma GCC unroll 8
      for (int j = 0; j < Format::kPerWord; ++j) {
        const int64_t column = group * kGroupCols + word * Format::kPerWord + j;
#pragma GCC unroll 16
        for (int b = 0; b < Blocks; ++b) {
          const Vec16 weights = decode<Format>(raw[b], j);
#pragma GCC unroll 16
          for (int t = 0; t < Tokens; ++t) {
            const Vec input = splat(x[t * x_stride + column]);
            sums[b][t] = word == 0 && j == 0 ? times(weights, input) : fused(weights, input, sums[b][t]);
          }
        }
      }
    }
#pragma GCC unroll 16
    for (int b = 0; b < Blocks; ++b) {
#pragma GCC unroll 16
      for (int t = 0; t < Tokens; ++t) {
        if constexpr (Format::kHeader == 0) {
#pragma GCC unroll 16
          for (int i = 0; i < kParts; ++i) total[b][t].part[i] += sums[b][t].part[i];
        } else {
          total[b][t] = fused(sums[b][t], load_scales(w + b * stride + group * kBlockRows), total[b][t]);
        }
      }
    }
  }
}

// Decodes `supers` superblocks of a block.
template <class Format>
void widen(const std::byte* w, int64_t supers, std::byte* out) {
  for (int64_t s = 0; s < supers; ++s, w += Format::kBytes, out += Wide<Format>::kBytes) {
    for (int64_t i = 0; i < Format::kHeader; ++i) out[i] = w[i];
    for (int64_t word = 0; word < kBlockCols / Format::kPerWord; ++word) {
      const Word16 raw = load_words(w + Format::kHeader + word * kBlockRows * 4);
      auto* to = reinterpret_cast<float*>(out + Format::kHeader + word * Format::kPerWord * kBlockRows * 4);
#pragma GCC unroll 8
      for (int j = 0; j < Format::kPerWord; ++j) {
        const Vec16 weights = decode<Format>(raw, j);
#pragma GCC unroll 16
        for (int i = 0; i < kParts; ++i) store(to + j * kBlockRows + i * kLanes, weights.part[i]);
      }
    }
  }
}

// An int as a type, for the lambdas below.
template <int Value>
struct Constant {
  constexpr int operator()() const { return Value; }
};

struct Product {
  const std::byte* w;
  int64_t rows, cols;
  const float* row_scale;
  const float* bias;
  const float* x;
  float* out;
  int64_t out_stride;
  // A tile of few tokens, to whole superblocks. Rows of a power of two would all fall into the same sets of the
  // first-level cache, which costs a factor; so they are copied, a line further apart.
  float* scratch;
  const float* padded;
  int64_t padded_stride;

  void pad(int64_t token, int64_t tokens) {
    const int64_t whole = superblocks_of(cols) * kBlockCols;
    padded_stride = packed_stride(cols);
    padded = x + token * cols;
    if (tokens == 1 && whole == cols) return;
    for (int64_t t = 0; t < tokens; ++t) {
      float* row = scratch + t * padded_stride;
      for (int64_t c = 0; c < cols; ++c) row[c] = padded[t * cols + c];
      for (int64_t c = cols; c < whole; ++c) row[c] = 0;
    }
    padded = scratch;
  }
};

// Takes the totals of one block, scaled, to the outputs of the Tokens tokens from `token` on.
template <int Tokens>
inline __attribute__((always_inline)) void finish(const Product& p, int64_t block, int64_t token,
                                                  const Vec16 (&total)[Tokens]) {
#pragma GCC unroll 16
  for (int i = 0; i < kParts; ++i) {
    const int64_t row = block * kBlockRows + i * kLanes;
    if (row >= p.rows) break;
    const int64_t count = p.rows - row < kLanes ? p.rows - row : kLanes;
    const Vec scale = p.row_scale == nullptr ? splat(1) : load_part(p.row_scale + row, count);
    const Vec bias = p.bias == nullptr ? Vec{} : load_part(p.bias + row, count);
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) {
      const Vec result = total[t].part[i] * scale + bias;
      float* out = p.out + (token + t) * p.out_stride + row;
      if (count == kLanes) {
        store(out, result);
      } else {
        store_part(out, result, count);
      }
    }
  }
}

// Blocks blocks from `block` on against the Tokens tokens from `token` on, whose inputs are padded.
template <class Format, int Blocks, int Tokens>
void tile(const Product& p, int64_t block, int64_t token) {
  const int64_t supers = superblocks_of(p.cols), stride = supers * Format::kBytes;
  const std::byte* w = p.w + block * stride;
  Vec16 total[Blocks][Tokens] = {};
  for (int64_t s = 0; s < supers; ++s) {
    superblock<Format, Blocks, Tokens>(w + s * Format::kBytes, stride, p.padded + s * kBlockCols, p.padded_stride,
                                       total);
  }
#pragma GCC unroll 16
  for (int b = 0; b < Blocks; ++b) finish<Tokens>(p, block + b, token, total[b]);
}

// `supers` decoded superblocks of one block against Tokens tokens, added to their totals; with `last`, these are
// complete.
template <class Format, int Tokens>
void wide_tile(const Product& p, int64_t block, const std::byte* w, int64_t supers, int64_t token, const float* x,
               int64_t x_stride, float* totals, bool first, bool last) {
  Vec16 total[1][Tokens] = {};
#pragma GCC unroll 16
  for (int t = 0; t < Tokens; ++t) {
#pragma GCC unroll 16
    for (int i = 0; i < kParts; ++i) {
      if (!first) total[0][t].part[i] = load(totals + t * kBlockRows + i * kLanes);
    }
  }
  for (int64_t s = 0; s < supers; ++s) {
    superblock<Wide<Format>, 1, Tokens>(w + s * Wide<Format>::kBytes, 0, x + s * kBlockCols, x_stride, total);
  }
  if (last) return finish<Tokens>(p, block, token, total[0]);
#pragma GCC unroll 16
  for (int t = 0; t < Tokens; ++t) {
#pragma GCC unroll 16
    for (int i = 0; i < kParts; ++i) store(totals + t * kBlockRows + i * kLanes, total[0][t].part[i]);
  }
}

// `tokens` ≤ kSlabTokens tokens from `token` on: up to kSlabCols columns of one block are decoded at a time, into the
// first-level cache, once for all of them.
template <class Format>
void slab(const Product& p, int64_t token, int64_t tokens) {
  const int64_t blocks = blocks_of(p.rows), supers = superblocks_of(p.cols);
  constexpr int64_t kSupers = kSlabCols / kBlockCols;
  auto* wide = reinterpret_cast<std::byte*>(p.scratch);
  float* totals = reinterpret_cast<float*>(wide + kSupers * kWideBytes);
  float* last = totals + kSlabTokens * kBlockRows;  // the last superblock's inputs, if it is not whole
  const int64_t rest = p.cols % kBlockCols;
  for (int64_t t = 0; rest != 0 && t < tokens; ++t) {
    const float* from = p.x + (token + t + 1) * p.cols - rest;
    for (int64_t c = 0; c < kBlockCols; ++c) last[t * kBlockCols + c] = c < rest ? from[c] : 0;
  }
  for (int64_t b = 0; b < blocks; ++b) {
    for (int64_t s = 0; s < supers;) {
      const bool part = rest != 0 && s + 1 == supers;
      const int64_t whole = supers - (rest != 0 ? 1 : 0) - s;
      const int64_t count = part ? 1 : whole < kSupers ? whole : kSupers;
      widen<Format>(p.w + (b * supers + s) * Format::kBytes, count, wide);
      const float* x = part ? last : p.x + token * p.cols + s * kBlockCols;
      const int64_t x_stride = part ? kBlockCols : p.cols;
      int64_t t = 0;
      const auto take = [&](auto many) {
        for (; t + many() <= tokens; t += many()) {
          wide_tile<Format, many()>(p, b, wide, count, token + t, x + t * x_stride, x_stride, totals + t * kBlockRows,
                                    s == 0, s + count == supers);
        }
      };
      take(Constant<kWideTokens>{});
      take(Constant<4>{});
      take(Constant<2>{});
      take(Constant<1>{});
      s += count;
    }
  }
}

// Few tokens: several blocks at once, because several memory streams per thread read half as fast again as one, and
// because one chain of additions would wait for itself. Many tokens: one block, decoded once for all of them.
template <class Format>
void product(Product& p, int64_t n) {
  constexpr int kMany = kLanes == 16 ? kPackedTokens : 4;
  const int64_t blocks = blocks_of(p.rows);
  int64_t t = 0;
  if (n >= 2 * kPackedTokens) {
    // Equal parts: a small last one would pay for its own decoding.
    const int64_t parts = (n + kSlabTokens - 1) / kSlabTokens;
    const int64_t part = (n + parts * kWideTokens - 1) / (parts * kWideTokens) * kWideTokens;
    for (; t < n; t += part) slab<Format>(p, t, n - t < part ? n - t : part);
    return;
  }
  const auto take = [&](auto many, auto tokens) {
    p.pad(t, tokens());
    int64_t b = 0;
    for (; b + many() <= blocks; b += many()) tile<Format, many(), tokens()>(p, b, t);
    for (; b < blocks; ++b) tile<Format, 1, tokens()>(p, b, t);
    t += tokens();
  };
  while (t < n) {
    if (n - t >= kMany) {
      take(Constant<1>{}, Constant<kMany>{});
    } else if (n - t >= 4) {
      take(Constant < kLanes == 16 ? 2 : 1 > {}, Constant<4>{});
    } else if (n - t >= 2) {
      take(Constant < kLanes == 16 ? 4 : 1 > {}, Constant<2>{});
    } else {
      take(Constant < kLanes == 16 ? 8 : 2 > {}, Constant<1>{});
    }
  }
}

}  // namespace

void packed_matmul(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale,
                   const float* bias, const float* x, int64_t n, float* out, int64_t out_stride, float* scratch) {
  Product p{w, rows, cols, row_scale, bias, x, out, out_stride, scratch, nullptr, 0};
  if (type == WeightType::q4) return product<Q4>(p, n);
  if (type == WeightType::q8) return product<Q8>(p, n);
  if (type == WeightType::b16) return product<B16>(p, n);
}

}  // namespace zaya::ops::ZAYA_ISA
