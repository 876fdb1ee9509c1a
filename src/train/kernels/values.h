// The element types of the fused CPU operations.
#pragma once

#include <bit>
#include <cstdint>

namespace zaya::train::kernels {

// BF16 as the upper half of an FP32; rounding to nearest, ties to even. (NaN may become infinity: a loss that is not
// finite stops the run anyway.)
struct Bf16 {
  uint16_t bits;
};

inline float to_float(float value) { return value; }
inline float to_float(Bf16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }

inline void assign(float& to, float value) { to = value; }
inline void assign(Bf16& to, float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  to.bits = static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace zaya::train::kernels
