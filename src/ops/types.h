// What operations work on: weights as they lie in a checkpoint, activations in FP32, and the state of sequences.
// Activations are row-major; n is the number of tokens in the step, all runs together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ops/kv.h"

namespace zaya::ops {

// f32 to f8_e4m3 lie row-major, as checkpoints store them; q4, q8 and b16 are packed (packed/layout.h).
enum class WeightType { f32, bf16, f16, f8_e4m3, q4, q8, b16 };

inline constexpr size_t kWeightTypes = 7;

constexpr bool is_packed(WeightType type) { return type >= WeightType::q4; }

const char* weight_type_name(WeightType type);

// Bytes of one weight of a row-major type; 0 for a packed one.
size_t weight_size(WeightType type);

// A weight matrix [rows, cols]; y = W x gives rows outputs.
struct Matrix {
  const std::byte* data = nullptr;
  WeightType type = WeightType::f32;
  int64_t rows = 0;
  int64_t cols = 0;
  const float* row_scale = nullptr;  // [rows]: W[r, c] = stored[r, c] · row_scale[r]; null = 1

  // Of a row-major matrix.
  const std::byte* row(int64_t r) const { return data + r * cols * static_cast<int64_t>(weight_size(type)); }

  // W[r, c], row_scale applied, of any type. The reference's way to read weights.
  float at(int64_t r, int64_t c) const;
};

// One stored element of a row-major type as FP32.
float load_weight(WeightType type, const std::byte* data, int64_t index);

// How a branch joins the residual stream (Backend::merge).
struct ResidualScales {  // all [width]
  const float* branch_scale = nullptr;
  const float* branch_bias = nullptr;
  const float* residual_scale = nullptr;
  const float* residual_bias = nullptr;
};

// Keys and values of one sequence, in pages of kPageTokens positions. A page has a plane of that many slots (ops/kv.h)
// for each [layer][K or V][kv head].
inline constexpr int64_t kPageTokens = 64;
constexpr int64_t kv_plane_bytes(KvType type, int64_t head_dim) { return kPageTokens * kv_slot_bytes(type, head_dim); }

struct LayerCache {
  std::span<float* const> pages;  // first plane of each page
  int64_t first_plane = 0;        // this layer's
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  KvType type = KvType::f32;
  int64_t plane_stride = 0;  // bytes from one plane of a page to the next; 0 where they lie side by side

  std::byte* key(int64_t kv_head, int64_t position) const { return slot(kv_head, position); }
  std::byte* value(int64_t kv_head, int64_t position) const { return slot(num_kv_heads + kv_head, position); }

 private:
  std::byte* slot(int64_t plane, int64_t position) const {
    const int64_t stride = plane_stride != 0 ? plane_stride : kv_plane_bytes(type, head_dim);
    return reinterpret_cast<std::byte*>(pages[static_cast<size_t>(position / kPageTokens)]) +
           (first_plane + plane) * stride + position % kPageTokens * kv_slot_bytes(type, head_dim);
  }
};

// One sequence's share of a step: `count` consecutive tokens, rows [first_row, first_row + count) of the step's
// activations, at positions start, start + 1, … of the sequence.
struct Run {
  int64_t first_row = 0;
  int64_t count = 0;
  int64_t start = 0;
  LayerCache cache;                // positions before start are filled; room for start + count positions
  float* conv_history = nullptr;   // [conv_time0 + conv_time1 - 2, channels]: the last c0 vectors, oldest first
  float* delayed_value = nullptr;  // [kv_width / 2]: the last token's delayed value
};

}  // namespace zaya::ops
