// How keys and values of a sequence are stored: one slot per position and KV head.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace zaya::ops {

// f32: head_dim floats. bf16: rounded to nearest even. i8: an FP32 step, then head_dim codes −127 … 127 of that step
// (the largest magnitude / 127).
enum class KvType { f32, bf16, i8 };

const char* kv_type_name(KvType type);
// invalid_argument for any other name than those of kv_type_name.
Result<KvType> kv_type_named(std::string_view name);

constexpr int64_t kv_slot_bytes(KvType type, int64_t head_dim) {
  switch (type) {
    case KvType::f32: return 4 * head_dim;
    case KvType::bf16: return 2 * head_dim;
    case KvType::i8: return 4 + head_dim;
  }
  return 0;
}

// values [head_dim] into one slot, and back.
void store_kv(KvType type, const float* values, int64_t head_dim, std::byte* slot);
void load_kv(KvType type, const std::byte* slot, int64_t head_dim, float* values);

}  // namespace zaya::ops
