#include "ops/kv.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

namespace zaya::ops {

const char* kv_type_name(KvType type) {
  switch (type) {
    case KvType::f32: return "f32";
    case KvType::bf16: return "bf16";
    case KvType::i8: return "int8";
  }
  return "unknown";
}

Result<KvType> kv_type_named(std::string_view name) {
  for (const KvType type : {KvType::f32, KvType::bf16, KvType::i8}) {
    if (name == kv_type_name(type)) return type;
  }
  return Status(Code::invalid_argument, "keys and values cannot be stored as \"" + std::string(name) + "\"",
                "use f32, bf16 or int8");
}

void store_kv(KvType type, const float* values, int64_t head_dim, std::byte* slot) {
  switch (type) {
    case KvType::f32: std::memcpy(slot, values, static_cast<size_t>(head_dim) * 4); return;
    case KvType::bf16:
      for (int64_t d = 0; d < head_dim; ++d) {
        const uint32_t bits = std::bit_cast<uint32_t>(values[d]);
        const auto rounded = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
        std::memcpy(slot + d * 2, &rounded, 2);
      }
      return;
    case KvType::i8: {
      float greatest = 0;
      for (int64_t d = 0; d < head_dim; ++d) greatest = std::max(greatest, std::fabs(values[d]));
      const float step = greatest / 127.0f, inverse = step > 0 ? 1.0f / step : 0.0f;
      std::memcpy(slot, &step, 4);
      for (int64_t d = 0; d < head_dim; ++d) {
        // Bounded, so that a NaN or a rounding above 127 makes a code and no undefined conversion.
        const float code = std::fmax(-127.0f, std::fmin(127.0f, std::nearbyint(values[d] * inverse)));
        slot[4 + d] = static_cast<std::byte>(static_cast<int8_t>(code));
      }
      return;
    }
  }
}

void load_kv(KvType type, const std::byte* slot, int64_t head_dim, float* values) {
  switch (type) {
    case KvType::f32: std::memcpy(values, slot, static_cast<size_t>(head_dim) * 4); return;
    case KvType::bf16:
      for (int64_t d = 0; d < head_dim; ++d) {
        uint16_t half;
        std::memcpy(&half, slot + d * 2, 2);
        values[d] = std::bit_cast<float>(static_cast<uint32_t>(half) << 16);
      }
      return;
    case KvType::i8: {
      float step;
      std::memcpy(&step, slot, 4);
      for (int64_t d = 0; d < head_dim; ++d) values[d] = static_cast<float>(static_cast<int8_t>(slot[4 + d])) * step;
      return;
    }
  }
}

}  // namespace zaya::ops
