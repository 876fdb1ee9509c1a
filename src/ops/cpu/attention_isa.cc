// Attention by vectors: queries against keys, the softmax, and weighted sums of values (see vectors_isa.h).

#include "ops/cpu/attention_isa.h"

#include "ops/cpu/readers_isa.h"

namespace zaya::ops::ZAYA_ISA {
namespace {

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

}  // namespace

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

}  // namespace zaya::ops::ZAYA_ISA
