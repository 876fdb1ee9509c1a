// The inner loops of the cpu backend over row-major weights (see vectors_isa.h), and the table of all of them.

#include "ops/cpu/attention_isa.h"
#include "ops/cpu/elementwise_isa.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/packed_isa.h"
#include "ops/cpu/readers_isa.h"

namespace zaya::ops::ZAYA_ISA {
namespace {

struct Output {
  float* data;
  int64_t stride;
  const float* row_scale;
  const float* bias;

  void write(int64_t row, int64_t token, float dot) const {
    if (row_scale != nullptr) dot *= row_scale[row];
    data[token * stride + row] = bias != nullptr ? dot + bias[row] : dot;
  }
};

// Rows × Tokens dot products at once; each keeps one accumulator.
template <class Weight, int Rows, int Tokens>
inline void tile(const typename Weight::Stored* w, int64_t cols, const float* x, int64_t row, int64_t token,
                 const Output& out) {
  Vec sums[Rows][Tokens] = {};
  int64_t c = 0;
  for (; c + kLanes <= cols; c += kLanes) {
    Vec weights[Rows];
    for (int r = 0; r < Rows; ++r) weights[r] = Weight::widen(w + r * cols + c);
    for (int t = 0; t < Tokens; ++t) {
      const Vec inputs = load(x + t * cols + c);
      for (int r = 0; r < Rows; ++r) sums[r][t] = multiply_add(weights[r], inputs, sums[r][t]);
    }
  }
  if (c < cols) {
    for (int r = 0; r < Rows; ++r) {
      const Vec weights = widen_part<Weight>(w + r * cols + c, cols - c);
      for (int t = 0; t < Tokens; ++t)
        sums[r][t] = multiply_add(weights, load_part(x + t * cols + c, cols - c), sums[r][t]);
    }
  }
#if defined(__AVX512F__)
  if constexpr (Rows == 4 && Tokens == 4) {  // of short rows, adding up would take longer than multiplying
    float dots[4][4];
    store(dots[0], sum_lanes(sums[0]));
    for (int t = 0; t < Tokens; ++t) {
      for (int r = 0; r < Rows; ++r) out.write(row + r, token + t, dots[r][t]);
    }
    return;
  }
#endif
  for (int r = 0; r < Rows; ++r) {
    for (int t = 0; t < Tokens; ++t) out.write(row + r, token + t, sum(sums[r][t]));
  }
}

// All tokens against Rows rows.
template <class Weight, int Rows>
inline void row_block(const typename Weight::Stored* w, int64_t cols, const float* x, int64_t n, int64_t row,
                      const Output& out) {
  int64_t t = 0;
  if constexpr (Rows <= 4) {
    for (; t + 4 <= n; t += 4) tile<Weight, Rows, 4>(w, cols, x + t * cols, row, t, out);
  }
  for (; t < n; ++t) tile<Weight, Rows, 1>(w, cols, x + t * cols, row, t, out);
}

template <class Weight>
void widen_rows(const typename Weight::Stored* w, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, Weight::widen(w + i));
  if (i < count) store_part(out + i, widen_part<Weight>(w + i, count - i), count - i);
}

template <class Weight>
void matmul_typed(const typename Weight::Stored* w, int64_t rows, int64_t cols, const float* x, int64_t n,
                  const Output& out, float* scratch) {
  // With several tokens a block of weights is widened once and kept in cache; eight rows at a time otherwise, because
  // eight memory streams per thread read half as fast again as one.
  constexpr bool widening = sizeof(typename Weight::Stored) < 4;
  int64_t r = 0;
  if (n == 1) {
    for (; r + 8 <= rows; r += 8) row_block<Weight, 8>(w + r * cols, cols, x, n, r, out);
  } else {
    for (; r + 4 <= rows; r += 4) {
      if (widening && n >= 8) {
        widen_rows<Weight>(w + r * cols, 4 * cols, scratch);
        row_block<F32, 4>(scratch, cols, x, n, r, out);
      } else {
        row_block<Weight, 4>(w + r * cols, cols, x, n, r, out);
      }
    }
  }
  for (; r < rows; ++r) row_block<Weight, 1>(w + r * cols, cols, x, n, r, out);
}

void matmul(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale, const float* bias,
            const float* x, int64_t n, float* out, int64_t out_stride, float* scratch) {
  const Output output{out, out_stride, row_scale, bias};
  switch (type) {
    case WeightType::f32:
      return matmul_typed<F32>(reinterpret_cast<const float*>(w), rows, cols, x, n, output, scratch);
    case WeightType::bf16:
      return matmul_typed<Bf16>(reinterpret_cast<const uint16_t*>(w), rows, cols, x, n, output, scratch);
    case WeightType::f16:
      return matmul_typed<F16>(reinterpret_cast<const uint16_t*>(w), rows, cols, x, n, output, scratch);
    case WeightType::f8_e4m3:
      return matmul_typed<F8E4M3>(reinterpret_cast<const uint8_t*>(w), rows, cols, x, n, output, scratch);
    case WeightType::q4:
    case WeightType::q8:
    case WeightType::b16: break;  // packed_matmul's
  }
}

double busy(int64_t iterations) {
  constexpr int kChains = 10;  // more than latency × units
  Vec chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = splat(static_cast<float>(i));
  const Vec a = splat(0.9999999f), b = splat(1e-9f);
  for (int64_t i = 0; i < iterations; ++i) {
    for (int c = 0; c < kChains; ++c) chain[c] = multiply_add(chain[c], a, b);
  }
  Vec total = {};
  for (int i = 0; i < kChains; ++i) total += chain[i];
  // A sum that no chain reaches, so that the work cannot be dropped.
  return sum(total) > 1e30f ? 0.0 : static_cast<double>(iterations) * kChains * kLanes * 2;
}

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {
    .matmul = matmul,
    .packed_matmul = packed_matmul,
    .scores = scores,
    .softmax_weights = softmax_weights,
    .weighted_values = weighted_values,
    .silu_mul = silu_mul,
    .gelu = gelu,
    .sum_squares = sum_squares,
    .normalise = normalise,
    .merge = merge,
    .add_state = add_state,
    .scaled = scaled,
    .add_scaled = add_scaled,
    .depthwise = depthwise,
    .add_mean = add_mean,
    .rotate = rotate,
    .logit_bounds = logit_bounds,
    .round_bf16 = round_bf16,
    .busy = busy,
};

}  // namespace zaya::ops::ZAYA_ISA
