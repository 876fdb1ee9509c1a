// A tensor as it lies in a checkpoint: dtype, shape, and bytes that somebody else owns (the file's mapping).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace zaya::checkpoint {

// The element types of safetensors that a ZAYA1 checkpoint may hold; `other` covers the rest, which only inspect reads.
enum class DType { f32, bf16, f16, f8_e4m3, other };

struct Tensor {
  std::string name;             // the name in the file
  DType dtype = DType::other;
  std::string dtype_name;       // as the file spells it: "BF16"
  std::vector<int64_t> shape;   // row-major, outermost first
  std::span<const std::byte> data;

  // For F8_E4M3 matrices: one factor per output row (already FP32); empty otherwise. Owned by the Checkpoint.
  std::span<const float> row_scale;

  int64_t elements() const;     // product of the shape (checked when the file was opened)
};

// Bytes of one element; 0 for `other`.
size_t dtype_size(DType dtype);

// Converts `tensor` (any of the four float types, row_scale applied) to FP32, in row-major order.
std::vector<float> to_f32(const Tensor& tensor);

}  // namespace zaya::checkpoint
