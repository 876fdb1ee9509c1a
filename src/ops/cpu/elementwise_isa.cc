// The cpu backend's passes over activations (see vectors_isa.h). A pass over a row also sums its squares where the next
// one divides by their root: the row is then still in the first-level cache.

#include "ops/cpu/elementwise_isa.h"

#include "ops/cpu/vectors_isa.h"

namespace zaya::ops::ZAYA_ISA {
namespace {

// body(i, lanes): the vectors from i on of n numbers; lanes is kLanes but for the last one.
template <class Body>
inline void for_vectors(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, n - i);
}

inline Vec load_up_to(const float* p, int64_t lanes) { return lanes == kLanes ? load(p) : load_part(p, lanes); }
inline void store_up_to(float* p, Vec v, int64_t lanes) {
  if (lanes == kLanes) {
    store(p, v);
  } else {
    store_part(p, v, lanes);
  }
}

// Σ value², value(i, lanes) being the vector from i on, zero beyond its lanes. Four chains: one would wait for itself.
template <class Value>
inline float squares_of(int64_t n, const Value& value) {
  Vec chains[4] = {};
  const auto add = [&](Vec& chain, int64_t i, int64_t lanes) {
    const Vec v = value(i, lanes);
    chain = multiply_add(v, v, chain);
  };
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) add(chains[j], i + j * kLanes, kLanes);
  }
  for (; i + kLanes <= n; i += kLanes) add(chains[0], i, kLanes);
  if (i < n) add(chains[1], i, n - i);
  return sum((chains[0] + chains[1]) + (chains[2] + chains[3]));
}

inline Vec absolute(Vec x) { return (Vec)((UintVec)x & 0x7fffffffu); }

// silu(x) = x / (1 + exp(−x)), from exp(−|x|) so that nothing overflows.
inline Vec silu(Vec x) {
  const Vec small = exp_nonpositive(-absolute(x));
  return (x > 0.0f ? x : x * small) / (1.0f + small);
}

// x · Φ(x) = max(x, 0) − |x| / 2 · erfc(|x| / √2): below zero nothing cancels. erfc(z) = t·P(t)·exp(−z²) with
// t = 1 / (1 + 0.4 z), the form of Abramowitz & Stegun 7.1.26; this P, one degree higher, is fitted by weighted least
// squares (Lawson's iteration) to make the greatest error of the product least: 5.5e-9, where theirs leaves 2.3e-7.
inline Vec gelu(Vec x) {
  const Vec size = absolute(x);
  const Vec t = 1.0f / multiply_add(size, splat(0.4f * 0.70710678f), splat(1.0f));
  Vec p = splat(-0.2061743f);
  p = multiply_add(p, t, splat(0.73302961f));
  p = multiply_add(p, t, splat(-0.40923382f));
  p = multiply_add(p, t, splat(0.49882467f));
  p = multiply_add(p, t, splat(0.14973001f));
  p = multiply_add(p, t, splat(0.23382356f));
  const Vec erfc = p * t * exp_nonpositive(-0.5f * size * size);
  return (x > 0.0f ? x : Vec{}) - 0.5f * size * erfc;
}

}  // namespace

void silu_mul(float* gate, const float* up, int64_t n) {
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    store_up_to(gate + i, silu(load_up_to(gate + i, lanes)) * load_up_to(up + i, lanes), lanes);
  });
}

void gelu(float* x, int64_t n) {
  for_vectors(n, [&](int64_t i, int64_t lanes) { store_up_to(x + i, gelu(load_up_to(x + i, lanes)), lanes); });
}

float sum_squares(const float* x, int64_t n) {
  return squares_of(n, [&](int64_t i, int64_t lanes) { return load_up_to(x + i, lanes); });
}

void normalise(const float* x, float factor, const float* weight, float* out, int64_t n) {
  const Vec factors = splat(factor);
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    store_up_to(out + i, load_up_to(x + i, lanes) * factors * load_up_to(weight + i, lanes), lanes);
  });
}

float merge(const ResidualScales& s, const float* branch, float* residual, int64_t n) {
  const ResidualScales by = s;  // in registers, whatever is written
  return squares_of(n, [&](int64_t i, int64_t lanes) {
    const auto at = [&](const float* p) { return load_up_to(p + i, lanes); };
    const Vec stream = (at(residual) + at(by.residual_bias)) * at(by.residual_scale);
    const Vec merged = multiply_add(at(branch) + at(by.branch_bias), at(by.branch_scale), stream);
    store_up_to(residual + i, merged, lanes);
    return merged;
  });
}

float add_state(const float* down, const float* scale, float* state, int64_t n) {
  return squares_of(n, [&](int64_t i, int64_t lanes) {
    Vec next = load_up_to(down + i, lanes);
    if (scale != nullptr) next = multiply_add(load_up_to(state + i, lanes), load_up_to(scale + i, lanes), next);
    store_up_to(state + i, next, lanes);
    return next;
  });
}

void scaled(const float* x, float factor, float* out, int64_t n) {
  for_vectors(n,
              [&](int64_t i, int64_t lanes) { store_up_to(out + i, splat(factor) * load_up_to(x + i, lanes), lanes); });
}

void add_scaled(const float* x, float factor, float* out, int64_t n) {
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    store_up_to(out + i, multiply_add(splat(factor), load_up_to(x + i, lanes), load_up_to(out + i, lanes)), lanes);
  });
}

void depthwise(const float* x, int64_t stride, const float* weights, int64_t taps, const float* bias, int64_t steps,
               int64_t dim, float* out) {
  for (int64_t s = 0; s < steps; ++s, x += stride, out += dim) {
    for_vectors(dim, [&](int64_t i, int64_t lanes) {
      Vec total = load_up_to(bias + i, lanes);
      for (int64_t tap = 0; tap < taps; ++tap) {
        const Vec input = load_up_to(x + tap * stride + i, lanes);
        total = multiply_add(load_up_to(weights + tap * dim + i, lanes), input, total);
      }
      store_up_to(out + i, total, lanes);
    });
  }
}

float add_mean(const float* x, int64_t group, const float* y, float* out, int64_t dim) {
  const Vec share = splat(0.5f / static_cast<float>(group));
  return squares_of(dim, [&](int64_t i, int64_t lanes) {
    const Vec other = load_up_to(y + i, lanes);
    Vec total = {};
    for (int64_t g = 0; g < group; ++g) total += load_up_to(x + g * dim + i, lanes) + other;
    const Vec moved = multiply_add(total, share, load_up_to(out + i, lanes));
    store_up_to(out + i, moved, lanes);
    return moved;
  });
}

void rotate(const float* x, float factor, const float* cos, const float* sin, int64_t half, float* out, int64_t dim) {
  const Vec factors = splat(factor);
  for_vectors(half, [&](int64_t i, int64_t lanes) {
    const Vec a = load_up_to(x + i, lanes) * factors, b = load_up_to(x + half + i, lanes) * factors;
    const Vec c = load_up_to(cos + i, lanes), s = load_up_to(sin + i, lanes);
    store_up_to(out + i, a * c - b * s, lanes);
    store_up_to(out + half + i, multiply_add(b, c, a * s), lanes);
  });
  for_vectors(dim - 2 * half, [&](int64_t i, int64_t lanes) {
    store_up_to(out + 2 * half + i, load_up_to(x + 2 * half + i, lanes) * factors, lanes);
  });
}

LogitBounds logit_bounds(const float* logits, const float* error, float margin, int64_t n) {
  LogitBounds bounds{logits[0] - margin * error[0], logits[0] + margin * error[0]};
  Vec lower = splat(bounds.lower), upper = splat(bounds.upper);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec logit = load(logits + i), distance = splat(margin) * load(error + i);
    const Vec low = logit - distance, high = logit + distance;
    lower = low > lower ? low : lower;
    upper = high > upper ? high : upper;
  }
  const auto take = [&](float low, float high) {
    if (low > bounds.lower) bounds.lower = low;
    if (high > bounds.upper) bounds.upper = high;
  };
  for (int lane = 0; lane < kLanes; ++lane) take(lower[lane], upper[lane]);
  for (; i < n; ++i) take(logits[i] - margin * error[i], logits[i] + margin * error[i]);
  return bounds;
}

void round_bf16(const float* x, std::byte* out, int64_t n) {
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    const UintVec bits = (UintVec)load_up_to(x + i, lanes);
    const auto rounded = __builtin_convertvector((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16, HalfAt);
    __builtin_memcpy(out + 2 * i, &rounded, 2 * static_cast<size_t>(lanes));
  });
}

}  // namespace zaya::ops::ZAYA_ISA
