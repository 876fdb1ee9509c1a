#include "ops/types.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "ops/packed/codec.h"

namespace zaya::ops {
namespace {

// A small float of the given exponent and mantissa widths (sign on top), without special values for the top exponent.
float decode_small_float(uint32_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const uint32_t mantissa = bits & ((1u << mantissa_bits) - 1);
  const uint32_t exponent = (bits >> mantissa_bits) & ((1u << exponent_bits) - 1);
  const bool negative = (bits >> (exponent_bits + mantissa_bits)) != 0;
  const float fraction = static_cast<float>(mantissa) / static_cast<float>(1u << mantissa_bits);
  const float magnitude =
      exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1.0f + fraction, static_cast<int>(exponent) - bias);
  return negative ? -magnitude : magnitude;
}

template <class T>
T load(const std::byte* data, int64_t index) {
  T value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

}  // namespace

size_t weight_size(WeightType type) {
  switch (type) {
    case WeightType::f32: return 4;
    case WeightType::bf16:
    case WeightType::f16: return 2;
    case WeightType::f8_e4m3: return 1;
    case WeightType::q4:
    case WeightType::q8:
    case WeightType::b16: break;
  }
  return 0;
}

const char* weight_type_name(WeightType type) {
  switch (type) {
    case WeightType::f32: return "f32";
    case WeightType::bf16: return "bf16";
    case WeightType::f16: return "f16";
    case WeightType::f8_e4m3: return "f8_e4m3";
    case WeightType::q4: return "q4";
    case WeightType::q8: return "q8";
    case WeightType::b16: return "b16";
  }
  return "unknown";
}

float Matrix::at(int64_t r, int64_t c) const {
  const float stored = is_packed(type)
                           ? unpack_weight(type, data + r / kBlockRows * block_bytes(type, cols), r % kBlockRows, c)
                           : load_weight(type, row(r), c);
  return row_scale != nullptr ? stored * row_scale[r] : stored;
}

float load_weight(WeightType type, const std::byte* data, int64_t index) {
  switch (type) {
    case WeightType::f32: return load<float>(data, index);
    case WeightType::bf16: return std::bit_cast<float>(static_cast<uint32_t>(load<uint16_t>(data, index)) << 16);
    // Infinities and NaNs read as large finite numbers here: `zaya inspect` is what reports them.
    case WeightType::f16: return decode_small_float(load<uint16_t>(data, index), 5, 10);
    case WeightType::f8_e4m3: return decode_small_float(load<uint8_t>(data, index), 4, 3);
    case WeightType::q4:
    case WeightType::q8:
    case WeightType::b16: break;
  }
  return 0;
}

}  // namespace zaya::ops
