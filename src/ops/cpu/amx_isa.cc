// Compiled with AMX, AVX512_BF16 and AVX-512 enabled; reached only where all of them are there.
#include <immintrin.h>

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

// Expands one superblock into two tiles.
inline void expand_q4(const std::byte* w, std::byte* out) {
  const __m512 table = _mm512_setr_ps(6, 18, 31, 45, 60, 77, 98, 127, -6, -18, -31, -45, -60, -77, -98, -127);
  for (int group = 0; group < 4; ++group) {
    const __m512 scale = scales(w + group * kBlockRows);
#pragma GCC unroll 2
    for (int word = 0; word < 2; ++word) {
      const __m512i codes = _mm512_loadu_si512(w + kScaleBytes + (group * 2 + word) * 64);
      std::byte* rows = out + (group * 2 + word) * 256;
      const auto weight = [&](int j) {
        return _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_srli_epi32(codes, static_cast<unsigned>(4 * j)), table),
                             scale);
      };
      store_pairs(rows, weight(0), weight(1));
      store_pairs(rows + 64, weight(2), weight(3));
      store_pairs(rows + 128, weight(4), weight(5));
      store_pairs(rows + 192, weight(6), weight(7));
    }
  }
}

inline void expand_q8(const std::byte* w, std::byte* out) {
  for (int group = 0; group < 4; ++group) {
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
}

struct Product {
  WeightType type;
  const std::byte* w;
  int64_t rows, cols;
  const float* row_scale;
  const float* bias;
  Bf16Tiles x;
  float* out;
  int64_t out_stride;
};

// Tiles 0–3 are sums [token half][block], 4–5 activations [token half], 6–7 weights [block].
// sums [tokens, Blocks · 16] of Halves · 16 tokens from `x` on, over `tiles` tiles of columns.
template <int Halves, int Blocks>
inline void multiply(Bf16Tiles x, const std::byte* const (&w)[2], int64_t tiles, bool first, float* sums) {
  constexpr int64_t kSumStride = 2 * kBlockRows;
  const int64_t sum_bytes = kSumStride * 4;
  const uint16_t* lower = x.data + x.across * kTileElements;
  memory_barrier();
  if (first) {
    _tile_zero(0);
    if constexpr (Blocks > 1) _tile_zero(1);
    if constexpr (Halves > 1) _tile_zero(2);
    if constexpr (Halves > 1 && Blocks > 1) _tile_zero(3);
  } else {
    _tile_loadd(0, sums, sum_bytes);
    if constexpr (Blocks > 1) _tile_loadd(1, sums + 16, sum_bytes);
    if constexpr (Halves > 1) _tile_loadd(2, sums + 16 * kSumStride, sum_bytes);
    if constexpr (Halves > 1 && Blocks > 1) _tile_loadd(3, sums + 16 * kSumStride + 16, sum_bytes);
  }
  for (int64_t k = 0; k < tiles; ++k) {
    // All loads before the products: in between them, each load waited for the product before it.
    _tile_loadd(4, x.data + k * kTileElements, 64);
    _tile_loadd(6, w[0] + k * kTileBytes, 64);
    if constexpr (Blocks > 1) _tile_loadd(7, w[1] + k * kTileBytes, 64);
    if constexpr (Halves > 1) _tile_loadd(5, lower + k * kTileElements, 64);
    // The next tokens' tiles come from the second-level cache meanwhile.
    const uint16_t* ahead = x.data + Halves * x.across * kTileElements + k * kTileElements;
    for (int i = 0; i < 16; ++i) _mm_prefetch(ahead + i * kTileCols, _MM_HINT_T0);
    if constexpr (Halves > 1) {
      for (int i = 0; i < 16; ++i) _mm_prefetch(ahead + x.across * kTileElements + i * kTileCols, _MM_HINT_T0);
    }
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (Blocks > 1) _tile_dpbf16ps(1, 4, 7);
    if constexpr (Halves > 1) _tile_dpbf16ps(2, 5, 6);
    if constexpr (Halves > 1 && Blocks > 1) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, sum_bytes);
  if constexpr (Blocks > 1) _tile_stored(1, sums + 16, sum_bytes);
  if constexpr (Halves > 1) _tile_stored(2, sums + 16 * kSumStride, sum_bytes);
  if constexpr (Halves > 1 && Blocks > 1) _tile_stored(3, sums + 16 * kSumStride + 16, sum_bytes);
  memory_barrier();
}

// The outputs of Blocks blocks from row `row` on, for n ≤ kAmxTokens tokens from `token` on.
template <int Blocks>
void columns(const Product& p, int64_t row, int64_t token, int64_t n, float* scratch) {
  float* sums = scratch;
  auto* expanded = reinterpret_cast<std::byte*>(scratch + kAmxTokens * 2 * kBlockRows);
  const int64_t stride = block_bytes(p.type, p.cols), super_bytes = superblock_bytes(p.type);
  const std::byte* block = p.w + row / kBlockRows * stride;
  const int64_t supers = superblocks_of(p.cols);
  constexpr int64_t kSupers = kAmxCols / kBlockCols;
  for (int64_t s = 0; s < supers; s += kSupers) {
    const int64_t count = supers - s < kSupers ? supers - s : kSupers;
    const std::byte* tiles[2] = {};
    for (int b = 0; b < Blocks; ++b) {
      const std::byte* source = block + b * stride + s * super_bytes;
      std::byte* target = expanded + b * kAmxCols * kBlockRows * 2;
      tiles[b] = target;
      if (p.type == WeightType::b16) {
        tiles[b] = source;  // lies as tiles want it
      } else {
        for (int64_t i = 0; i < count; ++i) {
          (p.type == WeightType::q4 ? expand_q4 : expand_q8)(source + i * super_bytes, target + i * 2 * kTileBytes);
        }
      }
    }
    for (int64_t t = 0; t < n; t += 32) {
      const Bf16Tiles x{p.x.data + ((token + t) / kTileRows * p.x.across + s * kBlockCols / kTileCols) * kTileElements,
                        p.x.across};
      if (n - t > 16) {
        multiply<2, Blocks>(x, tiles, count * 2, s == 0, sums + t * 2 * kBlockRows);
      } else {
        multiply<1, Blocks>(x, tiles, count * 2, s == 0, sums + t * 2 * kBlockRows);
      }
    }
  }
  for (int b = 0; b < Blocks; ++b) {
    const int64_t first = row + b * kBlockRows, left = p.rows - first;
    if (left <= 0) break;
    const __mmask16 mask = first_lanes(left);
    const __m512 scale = p.row_scale == nullptr ? _mm512_set1_ps(1) : _mm512_maskz_loadu_ps(mask, p.row_scale + first);
    const __m512 bias = p.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, p.bias + first);
    for (int64_t t = 0; t < n; ++t) {
      const __m512 sum = _mm512_load_ps(sums + t * 2 * kBlockRows + b * 16);
      _mm512_mask_storeu_ps(p.out + (token + t) * p.out_stride + first, mask, _mm512_fmadd_ps(sum, scale, bias));
    }
  }
}

void matmul(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale, const float* bias,
            Bf16Tiles x, int64_t n, float* out, int64_t out_stride, float* scratch) {
  const Product p{type, w, rows, cols, row_scale, bias, x, out, out_stride};
  configure_tiles();
  for (int64_t token = 0; token < n; token += kAmxTokens) {
    const int64_t count = n - token < kAmxTokens ? n - token : kAmxTokens;
    int64_t row = 0;
    for (; row + kBlockRows < rows; row += 2 * kBlockRows) columns<2>(p, row, token, count, scratch);
    if (row < rows) columns<1>(p, row, token, count, scratch);
  }
  _tile_release();
}

void to_bf16(const float* x, int64_t n, int64_t cols, int64_t stride, Bf16Tiles out, int64_t row, int64_t col) {
  const int64_t padded = superblocks_of(cols) * kBlockCols;
  const auto load = [&](const float* from, int64_t left) { return _mm512_maskz_loadu_ps(first_lanes(left), from); };
  for (int64_t i = 0; i < n; ++i, ++row) {
    uint16_t* tile =
        out.data + (row / kTileRows * out.across + col / kTileCols) * kTileElements + row % kTileRows * kTileCols;
    for (int64_t c = 0; c < padded; c += kTileCols, tile += kTileElements) {
      const float* from = x + i * stride + c;
      const __m512bh rounded = _mm512_cvtne2ps_pbh(load(from + 16, cols - c - 16), load(from, cols - c));
      _mm512_storeu_si512(tile, (__m512i)rounded);
    }
  }
}

double busy(int64_t iterations) {
  configure_tiles();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (int64_t i = 0; i < iterations; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  return static_cast<double>(iterations) * 4 * 2 * 16 * 16 * 32;
}

}  // namespace

extern const AmxKernels kernels;
const AmxKernels kernels = {to_bf16, matmul, pack_values, attend, busy};

}  // namespace zaya::ops::amx
