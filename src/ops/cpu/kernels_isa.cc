// The inner loops of the cpu backend over row-major weights, keys and values (see vectors_isa.h).

#include "ops/cpu/elementwise_isa.h"
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
  static Vec widen(const Stored* p) { return (Vec)(widen_halves(p) << 16); }
};

// Moves the exponent and mantissa to FP32's place, then corrects the exponent's bias by an exact multiplication, which
// also makes subnormals right.
struct F16 {
  using Stored = uint16_t;
  static Vec widen(const Stored* p) {
    const UintVec bits = widen_halves(p);
    const Vec magnitude = (Vec)((bits & 0x7fffu) << 13) * 0x1p112f;
    return (Vec)((UintVec)magnitude | (bits & 0x8000u) << 16);
  }
};

struct F8E4M3 {
  using Stored = uint8_t;
  static Vec widen(const Stored* p) {
    const UintVec bits = widen_unsigned(p);
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

#if defined(__FMA__)
// sum() of as many vectors as they have lanes at once, by the same tree: lane i of the result is that of totals[i].
inline Vec sum_lanes(const Vec* totals) {
#if defined(__AVX512F__)
  __m512 heads[4];  // 128 bits for each g, of totals[4g + j]
  for (int j = 0; j < 4; ++j) {
    const auto halves = [&](int g) {  // lanes i and i + 8 of two vectors
      const __m512 a = (__m512)totals[4 * g + j], b = (__m512)totals[4 * g + 4 + j];
      return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    };
    const __m512 a = halves(0), b = halves(2);
    heads[j] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  const auto pairs = [&](int j) {
    return _mm512_add_ps(_mm512_shuffle_ps(heads[j], heads[j + 1], 0x44),
                         _mm512_shuffle_ps(heads[j], heads[j + 1], 0xee));
  };
  const __m512 a = pairs(0), b = pairs(2);
  return (Vec)_mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
#else
  __m256 heads[4];  // 128 bits of totals[j], then of totals[4 + j]
  for (int j = 0; j < 4; ++j) {
    const __m256 a = (__m256)totals[j], b = (__m256)totals[4 + j];
    heads[j] = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
  }
  const auto pairs = [&](int j) {
    return _mm256_add_ps(_mm256_shuffle_ps(heads[j], heads[j + 1], 0x44),
                         _mm256_shuffle_ps(heads[j], heads[j + 1], 0xee));
  };
  const __m256 a = pairs(0), b = pairs(2);
  return (Vec)_mm256_add_ps(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xdd));
#endif
}
#endif

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

// Slots of keys or values (ops/kv.h): their numbers as some reader's `Stored`, and what these are to be multiplied
// with.
struct KvF32 : F32 {
  static constexpr int64_t kHeader = 0;
  static float step(const std::byte*) { return 1; }
};
struct KvBf16 : Bf16 {
  static constexpr int64_t kHeader = 0;
  static float step(const std::byte*) { return 1; }
};
struct KvI8 {
  using Stored = int8_t;
  static constexpr int64_t kHeader = 4;
  static Vec widen(const Stored* p) { return __builtin_convertvector(widen_signed(p), Vec); }
  static float step(const std::byte* slot) {
    float step;
    __builtin_memcpy(&step, slot, 4);
    return step;
  }
};

template <class Slot>
inline const typename Slot::Stored* numbers(const std::byte* slot) {
  return reinterpret_cast<const typename Slot::Stored*>(slot + Slot::kHeader);
}
template <class Slot>
constexpr int64_t slot_bytes(int64_t dim) {
  return Slot::kHeader + dim * static_cast<int64_t>(sizeof(typename Slot::Stored));
}

// Calls body(Slot()) for the slots of this type.
template <class Body>
inline void with_slots(KvType type, const Body& body) {
  switch (type) {
    case KvType::f32: return body(KvF32());
    case KvType::bf16: return body(KvBf16());
    case KvType::i8: return body(KvI8());
  }
}

// Queries [Group, dim] against `count` keys: each key is widened once for all of them.
template <class Slot, int Group>
inline void scores_of(const float* queries, const std::byte* keys, int64_t count, int64_t dim, float* out,
                      int64_t stride) {
  for (int64_t j = 0; j < count; ++j) {
    const std::byte* slot = keys + j * slot_bytes<Slot>(dim);
    const typename Slot::Stored* key = numbers<Slot>(slot);
    Vec totals[Group] = {};
    int64_t d = 0;
    for (; d + kLanes <= dim; d += kLanes) {
      const Vec k = Slot::widen(key + d);
      for (int g = 0; g < Group; ++g) totals[g] = multiply_add(load(queries + g * dim + d), k, totals[g]);
    }
    if (d < dim) {
      const Vec k = widen_part<Slot>(key + d, dim - d);
      for (int g = 0; g < Group; ++g) totals[g] = multiply_add(load_part(queries + g * dim + d, dim - d), k, totals[g]);
    }
    const float step = Slot::step(slot);
    for (int g = 0; g < Group; ++g) out[g * stride + j] = sum(totals[g]) * step;
  }
}

#if defined(__FMA__)
// Some queries against as many keys at a time as make a vector of products. Returns how many keys are done.
template <class Slot, int Group>
inline int64_t scores_by_lanes(const float* queries, const std::byte* keys, int64_t count, int64_t dim, float* out,
                               int64_t stride) {
  constexpr int kKeys = kLanes / Group;
  int64_t j = 0;
  for (; dim % kLanes == 0 && j + kKeys <= count; j += kKeys) {
    const std::byte* slots[kKeys];
    Vec totals[Group][kKeys] = {};
    for (int k = 0; k < kKeys; ++k) slots[k] = keys + (j + k) * slot_bytes<Slot>(dim);
    for (int64_t d = 0; d < dim; d += kLanes) {
      Vec k[kKeys];
      for (int i = 0; i < kKeys; ++i) k[i] = Slot::widen(numbers<Slot>(slots[i]) + d);
      for (int g = 0; g < Group; ++g) {
        const Vec query = load(queries + g * dim + d);
        for (int i = 0; i < kKeys; ++i) totals[g][i] = multiply_add(query, k[i], totals[g][i]);
      }
    }
    float sums[Group][kKeys], steps[kKeys];
    store(sums[0], sum_lanes(totals[0]));
    for (int k = 0; k < kKeys; ++k) steps[k] = Slot::step(slots[k]);
    for (int g = 0; g < Group; ++g) {
      for (int k = 0; k < kKeys; ++k) out[g * stride + j + k] = sums[g][k] * steps[k];
    }
  }
  return j;
}
#endif

#if defined(__FMA__)
// As many queries as a vector has lanes, of several tokens: one key at a time, and the queries where constants address
// them (by their own stride, addresses did not fit the registers).
constexpr int64_t kMostDim = 256;
inline bool in_lane_blocks(int64_t dim) { return dim % kLanes == 0 && dim <= kMostDim; }

template <class Slot>
inline void lane_scores(const float* queries, const std::byte* keys, int64_t count, int64_t dim, float* out,
                        int64_t stride) {
  alignas(64) float panel[kMostDim * kLanes];  // [dim / kLanes][query][kLanes]
  for (int64_t d = 0; d < dim; d += kLanes) {
    for (int64_t g = 0; g < kLanes; ++g) store(panel + d * kLanes + g * kLanes, load(queries + g * dim + d));
  }
  for (int64_t j = 0; j < count; ++j) {
    const std::byte* slot = keys + j * slot_bytes<Slot>(dim);
    const float* q = panel;
    Vec totals[kLanes] = {};
    for (int64_t d = 0; d < dim; d += kLanes, q += kLanes * kLanes) {
      const Vec k = Slot::widen(numbers<Slot>(slot) + d);
      for (int g = 0; g < kLanes; ++g) totals[g] = multiply_add(load(q + g * kLanes), k, totals[g]);
    }
    float sums[kLanes];
    store(sums, sum_lanes(totals) * Slot::step(slot));
    for (int g = 0; g < kLanes; ++g) out[g * stride + j] = sums[g];
  }
}
#endif

template <class Slot, int Group>
inline void group_scores(const float* queries, const std::byte* keys, int64_t count, int64_t dim, float* out,
                         int64_t stride) {
  int64_t done = 0;
#if defined(__FMA__)
  done = scores_by_lanes<Slot, Group>(queries, keys, count, dim, out, stride);
#endif
  scores_of<Slot, Group>(queries, keys + done * slot_bytes<Slot>(dim), count - done, dim, out + done, stride);
}

void scores(KvType type, const float* queries, int64_t group, const std::byte* keys, int64_t count, int64_t dim,
            float* out, int64_t stride) {
  with_slots(type, [&](auto slot) {
    using Slot = decltype(slot);
    int64_t g = 0;
#if defined(__FMA__)
    for (; in_lane_blocks(dim) && g + kLanes <= group; g += kLanes) {
      lane_scores<Slot>(queries + g * dim, keys, count, dim, out + g * stride, stride);
    }
#endif
    for (; g + 4 <= group; g += 4) {
      group_scores<Slot, 4>(queries + g * dim, keys, count, dim, out + g * stride, stride);
    }
    for (; g + 2 <= group; g += 2) {
      group_scores<Slot, 2>(queries + g * dim, keys, count, dim, out + g * stride, stride);
    }
    for (; g < group; ++g) scores_of<Slot, 1>(queries + g * dim, keys, count, dim, out + g * stride, stride);
  });
}

SoftmaxSums softmax_weights(float* x, int64_t n, float scale) {
  Vec most = splat(x[0]);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) most = load(x + i) > most ? load(x + i) : most;
  float greatest = x[0];
  for (; i < n; ++i) greatest = x[i] > greatest ? x[i] : greatest;
  for (int lane = 0; lane < kLanes; ++lane) greatest = most[lane] > greatest ? most[lane] : greatest;
  Vec total = {};
  i = 0;
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
  return {greatest * scale, sum(total)};
}

// `Vectors` vectors of the values from number d on, for Group rows of weights: a value is widened once for all of them.
template <class Slot, int Group, int Vectors>
inline void add_values(const float* weights, int64_t stride, const std::byte* values, int64_t count, int64_t dim,
                       int64_t d, float* out) {
  Vec totals[Group][Vectors];
  for (int g = 0; g < Group; ++g) {
    for (int v = 0; v < Vectors; ++v) totals[g][v] = load(out + g * dim + d + v * kLanes);
  }
  for (int64_t j = 0; j < count; ++j) {
    const std::byte* slot = values + j * slot_bytes<Slot>(dim);
    const typename Slot::Stored* value = numbers<Slot>(slot) + d;
    const float step = Slot::step(slot);
    Vec widened[Vectors];
    for (int v = 0; v < Vectors; ++v) widened[v] = Slot::widen(value + v * kLanes);
    for (int g = 0; g < Group; ++g) {
      const Vec weight = splat(weights[g * stride + j] * step);
      for (int v = 0; v < Vectors; ++v) totals[g][v] = multiply_add(weight, widened[v], totals[g][v]);
    }
  }
  for (int g = 0; g < Group; ++g) {
    for (int v = 0; v < Vectors; ++v) store(out + g * dim + d + v * kLanes, totals[g][v]);
  }
}

template <class Slot, int Group>
inline void add_all_values(const float* weights, int64_t stride, const std::byte* values, int64_t count, int64_t dim,
                           float* out) {
  constexpr int kVectors = kLanes == 16 && Group == 4 ? 4 : 2;
  int64_t d = 0;
  for (; d + kVectors * kLanes <= dim; d += kVectors * kLanes) {
    add_values<Slot, Group, kVectors>(weights, stride, values, count, dim, d, out);
  }
  for (; d + kLanes <= dim; d += kLanes) add_values<Slot, Group, 1>(weights, stride, values, count, dim, d, out);
  if (d == dim) return;
  for (int g = 0; g < Group; ++g) {
    float* o = out + g * dim + d;
    Vec total = load_part(o, dim - d);
    for (int64_t j = 0; j < count; ++j) {
      const std::byte* slot = values + j * slot_bytes<Slot>(dim);
      const Vec value = widen_part<Slot>(numbers<Slot>(slot) + d, dim - d);
      total = multiply_add(splat(weights[g * stride + j] * Slot::step(slot)), value, total);
    }
    store_part(o, total, dim - d);
  }
}

#if defined(__FMA__)
// As lane_scores.
template <class Slot>
inline void add_lane_values(const float* weights, int64_t stride, const std::byte* values, int64_t count, int64_t dim,
                            float* out) {
  constexpr int64_t kMost = 64;
  for (int64_t first = 0; first < count; first += kMost) {
    const int64_t n = count - first < kMost ? count - first : kMost;
    alignas(64) float panel[kLanes * kMost];  // [query][value], with the values' steps
    const std::byte* slots = values + first * slot_bytes<Slot>(dim);
    for (int64_t j = 0; j < n; ++j) {
      const float step = Slot::step(slots + j * slot_bytes<Slot>(dim));
      for (int64_t g = 0; g < kLanes; ++g) panel[g * kMost + j] = weights[g * stride + first + j] * step;
    }
    for (int64_t d = 0; d < dim; d += kLanes) {
      Vec totals[kLanes];
      for (int g = 0; g < kLanes; ++g) totals[g] = load(out + g * dim + d);
      for (int64_t j = 0; j < n; ++j) {
        const Vec widened = Slot::widen(numbers<Slot>(slots + j * slot_bytes<Slot>(dim)) + d);
        for (int g = 0; g < kLanes; ++g) totals[g] = multiply_add(splat(panel[g * kMost + j]), widened, totals[g]);
      }
      for (int g = 0; g < kLanes; ++g) store(out + g * dim + d, totals[g]);
    }
  }
}
#endif

void weighted_values(KvType type, const float* weights, int64_t stride, int64_t group, const std::byte* values,
                     int64_t count, int64_t dim, float* out) {
  with_slots(type, [&](auto slot) {
    int64_t g = 0;
#if defined(__FMA__)
    for (; in_lane_blocks(dim) && g + kLanes <= group; g += kLanes) {
      add_lane_values<decltype(slot)>(weights + g * stride, stride, values, count, dim, out + g * dim);
    }
#endif
    for (; g + 4 <= group; g += 4) {
      add_all_values<decltype(slot), 4>(weights + g * stride, stride, values, count, dim, out + g * dim);
    }
    for (; g + 2 <= group; g += 2) {
      add_all_values<decltype(slot), 2>(weights + g * stride, stride, values, count, dim, out + g * dim);
    }
    for (; g < group; ++g) {
      add_all_values<decltype(slot), 1>(weights + g * stride, stride, values, count, dim, out + g * dim);
    }
  });
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
    .round_bf16 = round_bf16,
    .busy = busy,
};

}  // namespace zaya::ops::ZAYA_ISA
