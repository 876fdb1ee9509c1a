#include <cmath>
#include <cstring>

#include "train/kernels/kernels.h"

namespace zaya::train::kernels {
namespace {

// eˣ for x ≤ 88, in a form that compilers vectorise: 2ⁿ times a polynomial on [−ln2/2, ln2/2], error below 2e-7.
inline float fast_exp(float x) {
  x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
  const float n = std::nearbyint(x * 1.44269504f);
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

inline float sigmoid(float x) { return 1.0f / (1.0f + fast_exp(-x)); }

}  // namespace

template <class T>
void swiglu(Range rows, int64_t width, const T* hidden, T* out) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const T *gate = hidden + r * 2 * width, *up = gate + width;
    T* to = out + r * width;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) {
      const float g = to_float(gate[i]);
      assign(to[i], g * sigmoid(g) * to_float(up[i]));
    }
  }
}

template <class T>
void swiglu_backward(Range rows, int64_t width, const T* hidden, const T* dout, T* dhidden, T* out) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const T *gate = hidden + r * 2 * width, *up = gate + width, *d = dout + r * width;
    T *dgate = dhidden + r * 2 * width, *dup = dgate + width, *to = out + r * width;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) {
      const float g = to_float(gate[i]), u = to_float(up[i]), gradient = to_float(d[i]);
      const float s = sigmoid(g), act = g * s;
      assign(to[i], act * u);
      assign(dup[i], gradient * act);
      assign(dgate[i], gradient * u * (s + act * (1 - s)));
    }
  }
}

template <class T>
void gather(Range rows, int64_t width, const int64_t* index, const T* from, T* to) {
  const size_t bytes = static_cast<size_t>(width) * sizeof(T);
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    if (index[r] < 0) {
      std::memset(to + r * width, 0, bytes);
    } else {
      std::memcpy(to + r * width, from + index[r] * width, bytes);
    }
  }
}

template <class T>
void scatter_weighted(Range rows, int64_t width, const int64_t* index, const float* weight, const T* from, T* to) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    if (index[r] < 0) continue;
    const T* in = from + r * width;
    T* out = to + index[r] * width;
    const float w = weight != nullptr ? weight[index[r]] : 1;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) assign(out[i], to_float(in[i]) * w);
  }
}

template <class T>
void gather_weighted(Range rows, int64_t width, const int64_t* index, const float* weight, const T* dout, const T* ys,
                     T* dys, float* dweight) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    T* to = dys + r * width;
    if (index[r] < 0) {
      std::memset(to, 0, static_cast<size_t>(width) * sizeof(T));
      continue;
    }
    const T *d = dout + index[r] * width, *y = ys + r * width;
    const float w = weight[index[r]];
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < width; ++i) {
      const float gradient = to_float(d[i]);
      dot += gradient * to_float(y[i]);
      assign(to[i], gradient * w);
    }
    dweight[index[r]] = dot;
  }
}

template <class T>
void cross_entropy(Range rows, int64_t classes, const int64_t* targets, T* logits, float* losses) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    T* row = logits + r * classes;
    if (targets[r] < 0) {
      std::memset(row, 0, static_cast<size_t>(classes) * sizeof(T));
      losses[r] = 0;
      continue;
    }
    float highest = -INFINITY;
#pragma omp simd reduction(max : highest)
    for (int64_t i = 0; i < classes; ++i) {
      const float value = to_float(row[i]);
      highest = value > highest ? value : highest;
    }
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < classes; ++i) sum += fast_exp(to_float(row[i]) - highest);
    const float log_sum = std::log(sum) + highest;
    losses[r] = log_sum - to_float(row[targets[r]]);
#pragma omp simd
    for (int64_t i = 0; i < classes; ++i) assign(row[i], fast_exp(to_float(row[i]) - log_sum));
    T& target = row[targets[r]];
    assign(target, -(1 - std::exp(-losses[r])));
  }
}

#define ZAYA_INSTANTIATE(T)                                                                                       \
  template void swiglu<T>(Range, int64_t, const T*, T*);                                                          \
  template void swiglu_backward<T>(Range, int64_t, const T*, const T*, T*, T*);                                   \
  template void gather<T>(Range, int64_t, const int64_t*, const T*, T*);                                          \
  template void scatter_weighted<T>(Range, int64_t, const int64_t*, const float*, const T*, T*);                  \
  template void gather_weighted<T>(Range, int64_t, const int64_t*, const float*, const T*, const T*, T*, float*); \
  template void cross_entropy<T>(Range, int64_t, const int64_t*, T*, float*);
ZAYA_INSTANTIATE(float)
ZAYA_INSTANTIATE(Bf16)

}  // namespace zaya::train::kernels
