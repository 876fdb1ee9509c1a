// Figures over a tensor's stored values: what `zaya inspect` prints to show a damaged or odd weight.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "checkpoint/tensor.h"

namespace zaya::checkpoint {

// Values as stored: FP8 factors are not applied. min, max and rms are over finite values.
struct Statistics {
  int64_t count = 0;
  int64_t nan = 0;
  int64_t inf = 0;
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();
  double sum_of_squares = 0;

  int64_t finite() const { return count - nan - inf; }
  double rms() const;
  void add(const Statistics& other);
};

// The figures of `data`, whole elements of a dtype other than DType::other.
Statistics measure(DType dtype, std::span<const std::byte> data);

}  // namespace zaya::checkpoint
