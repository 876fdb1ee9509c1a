// The inner loops of the cpu backend over row-major weights, keys and values (see vectors_isa.h).

#include "ops/cpu/kernels.h"
#include "ops/cpu/packed_isa.h"
#include "ops/cpu/vectors_isa.h"

namespace zaya::ops::ZAYA_ISA {
namespace {

// Weight readers: `Stored` is one element as it lies in memory; widen() gives kLanes of them as FP32, exactly.
struct F32 {
  using Stored = float;
  static Vec widen(const Stored* p) { return load(p); }
};

struct Bf16 {
  using Stored = uint16_t;
  static Vec widen(const Stored* p) {
    return (Vec)(__builtin_convertvector(*reinterpret_cast<const HalfAt*>(p), UintVec) << 16);
  }
};

// Moves the exponent and mantissa to FP32's place, then corrects the exponent's bias by an exact multiplication, which
// also makes subnormals right.
struct F16 {
  using Stored = uint16_t;
  static Vec widen(const Stored* p) {
    const UintVec bits = __builtin_convertvector(*reinterpret_cast<const HalfAt*>(p), UintVec);
    const Vec magnitude = (Vec)((bits & 0x7fffu) << 13) * 0x1p112f;
    return (Vec)((UintVec)magnitude | (bits & 0x8000u) << 16);
  }
};

struct F8E4M3 {
  using Stored = uint8_t;
  static Vec widen(const Stored* p) {
    const UintVec bits = __builtin_convertvector(*reinterpret_cast<const ByteAt*>(p), UintVec);
    const Vec magnitude = (Vec)((bits & 0x7fu) << 20) * 0x1p120f;
    return (Vec)((UintVec)magnitude | (bits & 0x80u) << 24);
  }
};

template <class Weight>
inline Vec widen_part(const typename Weight::Stored* p, int64_t count) {
  typename Weight::Stored padded[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) padded[i] = p[i];
  return Weight::widen(padded);
}

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

inline float dot(const float* a, const float* b, int64_t n) {
  Vec total = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) total = multiply_add(load(a + i), load(b + i), total);
  if (i < n) total = multiply_add(load_part(a + i, n - i), load_part(b + i, n - i), total);
  return sum(total);
}

void scores(const float* queries, int64_t group, const float* keys, int64_t count, int64_t dim, float* out,
            int64_t stride) {
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t g = 0; g < group; ++g) out[g * stride + j] = dot(queries + g * dim, keys + j * dim, dim);
  }
}

float softmax_weights(float* x, int64_t n, float scale) {
  float greatest = x[0];
  for (int64_t i = 1; i < n; ++i) greatest = x[i] > greatest ? x[i] : greatest;
  Vec total = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec e = exp_nonpositive((load(x + i) - greatest) * scale);
    store(x + i, e);
    total += e;
  }
  if (i < n) {
    const Vec e = exp_nonpositive((load_part(x + i, n - i) - greatest) * scale);
    store_part(x + i, e, n - i);
    total += load_part(x + i, n - i);
  }
  return sum(total);
}

void weighted_values(const float* weights, int64_t stride, int64_t group, const float* values, int64_t count,
                     int64_t dim, float* out) {
  for (int64_t g = 0; g < group; ++g) {
    const float* w = weights + g * stride;
    int64_t d = 0;
    for (; d + 4 * kLanes <= dim; d += 4 * kLanes) {
      float* o = out + g * dim + d;
      Vec a = load(o), b = load(o + kLanes), c = load(o + 2 * kLanes), e = load(o + 3 * kLanes);
      for (int64_t j = 0; j < count; ++j) {
        const float* v = values + j * dim + d;
        a = multiply_add(splat(w[j]), load(v), a);
        b = multiply_add(splat(w[j]), load(v + kLanes), b);
        c = multiply_add(splat(w[j]), load(v + 2 * kLanes), c);
        e = multiply_add(splat(w[j]), load(v + 3 * kLanes), e);
      }
      store(o, a), store(o + kLanes, b), store(o + 2 * kLanes, c), store(o + 3 * kLanes, e);
    }
    for (; d < dim; d += kLanes) {
      const int64_t width = dim - d < kLanes ? dim - d : kLanes;
      Vec a = load_part(out + g * dim + d, width);
      for (int64_t j = 0; j < count; ++j) a = multiply_add(splat(w[j]), load_part(values + j * dim + d, width), a);
      store_part(out + g * dim + d, a, width);
    }
  }
}

// silu(x) = x / (1 + exp(−x)), from exp(−|x|) so that nothing overflows.
inline Vec silu(Vec x) {
  const Vec small = exp_nonpositive(x > 0.0f ? -x : x);
  return x > 0.0f ? x / (1.0f + small) : x * small / (1.0f + small);
}

void silu_mul(float* gate, const float* up, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(gate + i, silu(load(gate + i)) * load(up + i));
  if (i < n) store_part(gate + i, silu(load_part(gate + i, n - i)) * load_part(up + i, n - i), n - i);
}

float sum_squares(const float* x, int64_t n) { return dot(x, x, n); }

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
const Kernels kernels = {matmul, packed_matmul, scores, softmax_weights, weighted_values, silu_mul, busy, sum_squares};

}  // namespace zaya::ops::ZAYA_ISA
