#include "checkpoint/tensor.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "checkpoint/formats.h"

namespace zaya::checkpoint {
namespace {

// A float format from its definition: sign × 2^(exponent − bias) × 1.mantissa, or subnormal.
double by_definition(uint32_t bits, int exponent_bits, int mantissa_bits, int bias) {
  const uint32_t mantissa = bits & ((1u << mantissa_bits) - 1);
  const int exponent = static_cast<int>(bits >> mantissa_bits & ((1u << exponent_bits) - 1));
  const double sign = (bits >> (exponent_bits + mantissa_bits) & 1) != 0 ? -1 : 1;
  const double fraction = std::ldexp(static_cast<double>(mantissa), -mantissa_bits);
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias);
  return sign * std::ldexp(1 + fraction, exponent - bias);
}

void expect_same(float actual, double expected, uint32_t bits) {
  ASSERT_EQ(std::bit_cast<uint32_t>(actual), std::bit_cast<uint32_t>(static_cast<float>(expected))) << "bits " << bits;
}

TEST(Formats, AllBf16ValuesAreExact) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = bf16_to_f32(static_cast<uint16_t>(bits));
    if ((bits >> 7 & 0xff) == 0xff) {
      ASSERT_EQ(std::isnan(value), (bits & 0x7f) != 0) << bits;
      ASSERT_EQ(std::isinf(value), (bits & 0x7f) == 0) << bits;
      continue;
    }
    expect_same(value, by_definition(bits, 8, 7, 127), bits);
    ASSERT_EQ(f32_to_bf16(value), bits);
  }
}

TEST(Formats, AllF16ValuesAreExact) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = f16_to_f32(static_cast<uint16_t>(bits));
    if ((bits >> 10 & 0x1f) == 0x1f) {
      ASSERT_EQ(std::isnan(value), (bits & 0x3ff) != 0) << bits;
      ASSERT_EQ(std::isinf(value), (bits & 0x3ff) == 0) << bits;
      ASSERT_EQ(std::signbit(value), (bits & 0x8000) != 0) << bits;
      continue;
    }
    expect_same(value, by_definition(bits, 5, 10, 15), bits);
    ASSERT_EQ(f32_to_f16(value), bits);
  }
}

TEST(Formats, AllF8ValuesAreExact) {
  for (uint32_t bits = 0; bits < 256; ++bits) {
    const float value = f8_e4m3_to_f32(static_cast<uint8_t>(bits));
    if ((bits & 0x7f) == 0x7f) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      continue;
    }
    expect_same(value, by_definition(bits, 4, 3, 7), bits);
  }
  EXPECT_EQ(f8_e4m3_to_f32(0x7e), 448.0f);
  EXPECT_EQ(f8_e4m3_to_f32(0x01), 0x1p-9f);
}

TEST(Formats, RoundingIsToNearestEven) {
  EXPECT_EQ(f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);            // halfway: to even, down
  EXPECT_EQ(f32_to_bf16(1.0f + 0x1p-7f + 0x1p-8f), 0x3f82);  // halfway: to even, up
  EXPECT_EQ(f32_to_bf16(1.0f + 0x1p-8f + 0x1p-20f), 0x3f81);
  EXPECT_EQ(f32_to_bf16(3.4e38f), 0x7f80);  // above the largest BF16
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f), 0x3c00);
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-10f + 0x1p-11f), 0x3c02);
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(-0x1p-25f), 0x8000);
  EXPECT_EQ(f32_to_f16(0x1.8p-25f), 0x0001);
  EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(NAN))));
}

// Every F16 rounding boundary, against the definition of "nearest".
TEST(Formats, F16RoundsHalfwayPointsOfAllNeighbours) {
  for (uint16_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = f16_to_f32(bits), high = f16_to_f32(static_cast<uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;  // exact in FP32
    const uint16_t even = bits % 2 == 0 ? bits : static_cast<uint16_t>(bits + 1);
    ASSERT_EQ(f32_to_f16(middle), even) << bits;
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, 0.0f)), bits);
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, 1e9f)), bits + 1);
  }
}

TEST(Tensor, KnowsEveryDtypeOfTheFormat) {
  EXPECT_EQ(dtype_bits("BOOL"), 8);
  EXPECT_EQ(dtype_bits("F4"), 4);
  EXPECT_EQ(dtype_bits("F6_E3M2"), 6);
  EXPECT_EQ(dtype_bits("C64"), 64);
  EXPECT_EQ(dtype_bits("bf16"), 0);
  EXPECT_EQ(dtype_from_name("F8_E4M3"), DType::f8_e4m3);
  EXPECT_EQ(dtype_from_name("F8_E4M3FNUZ"), DType::other);
  EXPECT_EQ(dtype_from_name("I64"), DType::other);
}

TEST(Tensor, ConvertsWithRowFactors) {
  const std::vector<uint8_t> codes = {0x38, 0x40, 0xb8, 0x7e, 0x01, 0x00};  // 1, 2, -1; 448, 2^-9, 0
  const std::vector<float> factors = {0.5f, 2.0f};
  Tensor tensor;
  tensor.dtype = DType::f8_e4m3;
  tensor.shape = {2, 3};
  tensor.data = std::as_bytes(std::span(codes));
  EXPECT_EQ(to_f32(tensor), (std::vector<float>{1, 2, -1, 448, 0x1p-9f, 0}));
  tensor.row_scale = factors;
  EXPECT_EQ(to_f32(tensor), (std::vector<float>{0.5f, 1, -0.5f, 896, 0x1p-8f, 0}));
}

TEST(Tensor, ConvertsFromAnyAddress) {
  std::vector<std::byte> bytes(9);
  const std::vector<float> values = {1.5f, -2.25f};
  std::copy_n(std::as_bytes(std::span(values)).begin(), 8, bytes.begin() + 1);
  Tensor tensor;
  tensor.dtype = DType::f32;
  tensor.shape = {2};
  tensor.data = std::span(bytes).subspan(1);
  EXPECT_EQ(to_f32(tensor), values);
}

TEST(Tensor, EmptyAndScalarShapes) {
  Tensor tensor;
  tensor.dtype = DType::bf16;
  tensor.shape = {0, 7};
  EXPECT_TRUE(to_f32(tensor).empty());
  EXPECT_EQ(shape_text(tensor.shape), "0 × 7");
  EXPECT_EQ(shape_text({}), "scalar");
}

}  // namespace
}  // namespace zaya::checkpoint
