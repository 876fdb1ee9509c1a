// Random inputs and matrices for the tests of operations.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "ops/packed/codec.h"
#include "ops/types.h"

namespace zaya::ops {

using Floats = std::vector<float>;

// FP32 sums of `terms` products, reordered: the error grows with the root of the length and scales with the outputs.
inline void expect_close(const Floats& expected, const Floats& actual, int64_t terms, const std::string& what) {
  ASSERT_EQ(expected.size(), actual.size()) << what;
  double squares = 0;
  for (float x : expected) squares += static_cast<double>(x) * x;
  const double rms = std::sqrt(squares / static_cast<double>(std::max<size_t>(1, expected.size())));
  const double tolerance = 4 * 1.2e-7 * std::sqrt(static_cast<double>(terms)) * rms;
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(expected[i], actual[i], tolerance + 4e-7 * std::fabs(expected[i])) << what << " at " << i;
  }
}

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  float normal(float scale = 1) { return static_cast<float>(normal_(engine_)) * scale; }
  Floats floats(int64_t count, float scale = 1) {
    Floats values(static_cast<size_t>(count));
    for (float& v : values) v = normal(scale);
    return values;
  }
  int64_t below(int64_t bound) { return static_cast<int64_t>(engine_() % static_cast<uint64_t>(bound)); }

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<double> normal_;
};

// A random matrix in a stored type, with its bytes.
struct StoredMatrix {
  std::vector<std::byte> bytes;
  Floats scales;
  Matrix matrix;

  StoredMatrix(Random& random, int64_t rows, int64_t cols, WeightType type) {
    const size_t size = weight_size(type);
    bytes.resize(static_cast<size_t>(rows * cols) * size);
    for (size_t i = 0; i < static_cast<size_t>(rows * cols); ++i) {
      const float value = random.normal(1.0f / std::sqrt(static_cast<float>(cols)));
      uint32_t bits = std::bit_cast<uint32_t>(value);
      if (type == WeightType::bf16) bits >>= 16;
      // Any pattern with a moderate exponent will do for the small formats, subnormals (exponent 0) among them.
      if (type == WeightType::f16) bits = static_cast<uint32_t>(random.below(0x3c00) | random.below(2) << 15);
      if (type == WeightType::f8_e4m3) bits = static_cast<uint32_t>(random.below(0x40) | random.below(2) << 7);
      std::memcpy(bytes.data() + i * size, &bits, size);
    }
    if (type == WeightType::f8_e4m3) {
      scales = random.floats(rows);
    }
    matrix = {bytes.data(), type, rows, cols, scales.empty() ? nullptr : scales.data()};
  }
};

// A random matrix packed.
struct PackedMatrix {
  std::vector<std::byte> bytes;
  Floats scales;
  Matrix matrix;

  PackedMatrix(Random& random, int64_t rows, int64_t cols, WeightType type)
      : bytes(static_cast<size_t>(packed_bytes(type, rows, cols))), scales(static_cast<size_t>(rows)) {
    const Floats weights = random.floats(rows * cols, 1.0f / std::sqrt(static_cast<float>(cols)));
    for (int64_t r = 0; r < rows; r += kBlockRows) {
      pack_block(type, weights.data() + r * cols, std::min(kBlockRows, rows - r), cols, nullptr,
                 bytes.data() + r / kBlockRows * block_bytes(type, cols), scales.data() + r);
    }
    matrix = {bytes.data(), type, rows, cols, scales.data()};
  }
};

}  // namespace zaya::ops
