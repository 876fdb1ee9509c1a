// A tensor as it lies in a checkpoint: dtype, shape, and bytes that somebody else owns (the file's mapping).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace zaya::checkpoint {

// The element types of safetensors that a ZAYA1 checkpoint may hold, and the bytes of packed weights; `other` covers
// the rest, which only inspect reads.
enum class DType { f32, bf16, f16, f8_e4m3, u8, other };

constexpr bool is_float(DType dtype) { return dtype < DType::u8; }

struct Tensor {
  std::string name;  // the name in the file
  DType dtype = DType::other;
  std::string dtype_name;      // as the file spells it: "BF16"
  std::vector<int64_t> shape;  // row-major, outermost first

  // The elements. A file may place them at any byte; Checkpoint::open hands out data that is aligned for its dtype
  // (it copies the rare tensor that is not), a Tensor straight from parse_safetensors need not be.
  std::span<const std::byte> data;

  // For F8_E4M3 matrices: one factor per output row (already FP32); empty otherwise. Owned by the Checkpoint.
  std::span<const float> row_scale;

  int64_t elements() const;  // product of the shape (checked when the file was opened)
};

// Bytes of one element; 0 for `other`.
size_t dtype_size(DType dtype);

// How safetensors spells it: "F32", "BF16", "F16", "F8_E4M3"; "U8"; "other" for the rest.
const char* dtype_name(DType dtype);

// Bits of one element of any dtype that the safetensors format names, sub-byte ones too; 0 for an unknown name.
int dtype_bits(std::string_view name);

// The type of that spelling; `other` when it is none of these.
DType dtype_from_name(std::string_view name);

// "1024 × 2048"; "scalar" for no dimensions.
std::string shape_text(std::span<const int64_t> shape);

// Converts `tensor` (any of the four float types, row_scale applied) to FP32, in row-major order. Rows are what the
// first dimension counts. Empty when it is no float.
std::vector<float> to_f32(const Tensor& tensor);

// The same for `count` elements from element `first` on, without row_scale, into `out` (count floats).
void convert_to_f32(DType dtype, const std::byte* data, int64_t count, float* out);

}  // namespace zaya::checkpoint
