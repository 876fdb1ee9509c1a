// What kernels written for AVX-512 by name share. Included only by *_isa.cc that are compiled for it.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace zaya::ops {
namespace {

// The first `count` of 16 lanes.
inline __mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : count <= 0 ? 0u : (1u << count) - 1);
}

// decode_scale of 16 bytes.
inline __m512 load_scales(const std::byte* p) {
  const __m512i code = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_slli_epi32(code, 19), _mm512_set1_epi32(112 << 23)));
}

// Up to 16 rows of a product's outputs, from `row` on: their totals times the rows' scales, plus the bias. The product
// has rows, row_scale and bias (which may be null), out and out_stride.
class OutputRows {
 public:
  template <class Product>
  inline __attribute__((always_inline)) OutputRows(const Product& p, int64_t row)
      : mask_(first_lanes(p.rows - row)),
        scale_(p.row_scale == nullptr ? _mm512_set1_ps(1) : _mm512_maskz_loadu_ps(mask_, p.row_scale + row)),
        bias_(p.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask_, p.bias + row)),
        out_(p.out + row),
        stride_(p.out_stride) {}

  inline __attribute__((always_inline)) void store(int64_t token, __m512 total) const {
    _mm512_mask_storeu_ps(out_ + token * stride_, mask_, _mm512_fmadd_ps(total, scale_, bias_));
  }

 private:
  __mmask16 mask_;
  __m512 scale_, bias_;
  float* out_;
  int64_t stride_;
};

// Asks for memory piece by piece, beside other work: `bytes` from `first` on, then as many from `second` on.
class Prefetch {
 public:
  Prefetch(const std::byte* first, const std::byte* second, int64_t bytes, int64_t turns)
      : first_(reinterpret_cast<const char*>(first)),
        second_(reinterpret_cast<const char*>(second)),
        lines_(bytes / 64 + 1),
        step_((2 * lines_ + turns - 1) / turns) {}

  // A turn of as many as there are.
  inline __attribute__((always_inline)) void take() {
    for (int64_t i = 0; i < step_ && next_ < 2 * lines_; ++i, ++next_) {
      _mm_prefetch((next_ < lines_ ? first_ : second_ - lines_ * 64) + next_ * 64, _MM_HINT_T0);
    }
  }

 private:
  const char *first_, *second_;
  int64_t lines_, step_, next_ = 0;
};

// The upper halves of `even` (to the low half of each lane) and `odd`: a row of a tile of column pairs.
inline void store_pairs(void* out, __m512 even, __m512 odd) {
  const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(even), 16);
  _mm512_store_si512(out, _mm512_mask_blend_epi16(0xaaaaaaaau, low, _mm512_castps_si512(odd)));
}

}  // namespace
}  // namespace zaya::ops
