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

}  // namespace
}  // namespace zaya::ops
