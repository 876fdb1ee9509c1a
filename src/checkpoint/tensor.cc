#include "checkpoint/tensor.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <utility>

#include "checkpoint/formats.h"

namespace zaya::checkpoint {
namespace {

struct DTypeFact {
  std::string_view name;
  int bits;
};

// Every dtype of the format (safetensors 0.7), with its width.
constexpr std::array<DTypeFact, 22> dtype_facts = {{
    {"BOOL", 8},        {"U8", 8},          {"I8", 8},      {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8},
    {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
    {"I32", 32},        {"U32", 32},        {"F32", 32},    {"I64", 64},    {"U64", 64},    {"F64", 64},
    {"C64", 64},        {"F4", 4},          {"F6_E2M3", 6}, {"F6_E3M2", 6},
}};

template <class Bits, class Convert>
void convert_all(const std::byte* data, int64_t count, float* out, Convert convert) {
  for (int64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, data + i * static_cast<int64_t>(sizeof(Bits)), sizeof(Bits));
    out[i] = convert(bits);
  }
}

}  // namespace

int64_t Tensor::elements() const {
  int64_t product = 1;
  for (int64_t size : shape) product *= size;
  return product;
}

size_t dtype_size(DType dtype) {
  switch (dtype) {
    case DType::f32: return 4;
    case DType::bf16:
    case DType::f16: return 2;
    case DType::f8_e4m3:
    case DType::u8: return 1;
    case DType::other: return 0;
  }
  return 0;
}

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "F32";
    case DType::bf16: return "BF16";
    case DType::f16: return "F16";
    case DType::f8_e4m3: return "F8_E4M3";
    case DType::u8: return "U8";
    case DType::other: return "other";
  }
  return "other";
}

int dtype_bits(std::string_view name) {
  for (const DTypeFact& fact : dtype_facts) {
    if (fact.name == name) return fact.bits;
  }
  return 0;
}

DType dtype_from_name(std::string_view name) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f8_e4m3, DType::u8}) {
    if (name == dtype_name(dtype)) return dtype;
  }
  return DType::other;
}

std::string shape_text(std::span<const int64_t> shape) {
  if (shape.empty()) return "scalar";
  return fmt::format("{}", fmt::join(shape, " × "));
}

void convert_to_f32(DType dtype, const std::byte* data, int64_t count, float* out) {
  switch (dtype) {
    case DType::f32: std::memcpy(out, data, static_cast<size_t>(count) * sizeof(float)); return;
    case DType::bf16: convert_all<uint16_t>(data, count, out, bf16_to_f32); return;
    case DType::f16: convert_all<uint16_t>(data, count, out, f16_to_f32); return;
    case DType::f8_e4m3: convert_all<uint8_t>(data, count, out, f8_e4m3_to_f32); return;
    case DType::u8:
    case DType::other: return;
  }
}

std::vector<float> to_f32(const Tensor& tensor) {
  if (!is_float(tensor.dtype)) return {};
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  if (values.empty()) return values;
  convert_to_f32(tensor.dtype, tensor.data.data(), tensor.elements(), values.data());
  if (!tensor.row_scale.empty()) {
    const size_t columns = values.size() / tensor.row_scale.size();
    for (size_t i = 0; i < values.size(); ++i) values[i] *= tensor.row_scale[i / columns];
  }
  return values;
}

}  // namespace zaya::checkpoint
