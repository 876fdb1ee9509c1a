#include <cmath>
#include <cstring>
#include <limits>

#include "train/kernels/kernels.h"

namespace zaya::train::kernels {
namespace {

constexpr int64_t kMaxDim = 1024;  // ConfigLimits::head_dim

// One token's head before its length is fixed, and that length's inverse times √D.
inline float inverse_length(const float* x, int64_t dim) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < dim; ++i) squares += x[i] * x[i];
  return std::sqrt(static_cast<float>(dim)) / std::fmax(std::sqrt(squares), std::numeric_limits<float>::epsilon());
}

template <class T>
inline void rotate_to(const float* x, float scale, int64_t dim, int64_t half, const float* cos, const float* sin,
                      T* out) {
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i] * scale, b = x[i + half] * scale;
    assign(out[i], a * cos[i] - b * sin[i]);
    assign(out[i + half], b * cos[i] + a * sin[i]);
  }
#pragma omp simd
  for (int64_t i = 2 * half; i < dim; ++i) assign(out[i], x[i] * scale);
}

// The gradient before the rotation, the other way around.
template <class T>
inline void rotate_back(const T* d, int64_t dim, int64_t half, const float* cos, const float* sin, float* out) {
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    const float a = to_float(d[i]), b = to_float(d[i + half]);
    out[i] = a * cos[i] + b * sin[i];
    out[i + half] = b * cos[i] - a * sin[i];
  }
#pragma omp simd
  for (int64_t i = 2 * half; i < dim; ++i) out[i] = to_float(d[i]);
}

// x ← the gradient before scaling to length √D, from the gradient after it: (√D/‖x‖)·(d − u·(u·d)) with u = x/‖x‖.
inline void length_backward(float* x, const float* d, float scale, int64_t dim) {
  const float unit = scale / std::sqrt(static_cast<float>(dim));  // 1/‖x‖
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (int64_t i = 0; i < dim; ++i) dot += x[i] * unit * d[i];
#pragma omp simd
  for (int64_t i = 0; i < dim; ++i) x[i] = scale * (d[i] - x[i] * unit * dot);
}

// The heads of one key/value group before their lengths are fixed: queries of the group first, then the key, [D] each.
template <class T>
inline void group_values(const CcaShape& s, int64_t t, int64_t group, const T* projected, const T* mixed,
                         const float* constant, float* out) {
  const int64_t per = s.heads / s.kv_heads, dim = s.dim;
  const T* row = projected + t * s.row();
  const T* key0 = row + (s.heads + group) * dim;
  const T* mixed_key = mixed + ((s.heads + group) * s.tokens + t) * dim;
  const float* key_constant = constant + (s.heads + group) * dim;
  float* key = out + per * dim;
  const float share = 1.0f / static_cast<float>(per);
#pragma omp simd
  for (int64_t i = 0; i < dim; ++i) key[i] = to_float(mixed_key[i]) + key_constant[i];
  for (int64_t j = 0; j < per; ++j) {
    const int64_t head = group * per + j;
    const T *query0 = row + head * dim, *mixed_query = mixed + (head * s.tokens + t) * dim;
    const float* query_constant = constant + head * dim;
    float* query = out + j * dim;
#pragma omp simd
    for (int64_t i = 0; i < dim; ++i) {
      const float mean = 0.5f * (to_float(query0[i]) + to_float(key0[i]));
      query[i] = to_float(mixed_query[i]) + query_constant[i] + mean;
      key[i] += share * mean;
    }
  }
}

}  // namespace

template <class T>
void cca_columns(Range tokens, const CcaShape& s, const T* projected, const int32_t* positions, T* columns) {
  const size_t bytes = static_cast<size_t>(s.dim) * sizeof(T);
  for (int64_t g = 0; g < s.groups(); ++g) {
    for (int64_t t = tokens.begin; t < tokens.end; ++t) {
      T* out = columns + (g * s.tokens + t) * s.taps * s.dim;
      for (int64_t j = 0; j < s.taps; ++j) {
        const int64_t back = s.taps - 1 - j;
        if (positions[t] >= back) {
          std::memcpy(out + j * s.dim, projected + (t - back) * s.row() + g * s.dim, bytes);
        } else {
          std::memset(out + j * s.dim, 0, bytes);
        }
      }
    }
  }
}

template <class T>
void cca_columns_backward(Range tokens, const CcaShape& s, const int32_t* positions, const T* dcolumns, T* dprojected) {
  for (int64_t g = 0; g < s.groups(); ++g) {
    for (int64_t t = tokens.begin; t < tokens.end; ++t) {
      T* out = dprojected + t * s.row() + g * s.dim;
      for (int64_t j = 0; j < s.taps; ++j) {
        // Token `later` read this token with tap j, if both are of one document.
        const int64_t back = s.taps - 1 - j, later = t + back;
        if (later >= s.tokens || positions[later] < back) continue;
        const T* in = dcolumns + ((g * s.tokens + later) * s.taps + j) * s.dim;
#pragma omp simd
        for (int64_t i = 0; i < s.dim; ++i) assign(out[i], to_float(out[i]) + to_float(in[i]));
      }
    }
  }
}

template <class T>
void cca_mix(Range tokens, const CcaShape& s, const T* projected, const int32_t* positions, const T* mixed,
             const float* constant, const float* temp, const float* cos, const float* sin, T* q, T* k, T* v) {
  const int64_t per = s.heads / s.kv_heads, dim = s.dim, half = s.rotary_half, values = s.kv_heads * dim;
  float work[(8 + 1) * kMaxDim];
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    const float *c = cos + t * half, *n = sin + t * half;
    for (int64_t g = 0; g < s.kv_heads; ++g) {
      group_values(s, t, g, projected, mixed, constant, work);
      for (int64_t j = 0; j < per; ++j) {
        const float* x = work + j * dim;
        rotate_to(x, inverse_length(x, dim), dim, half, c, n, q + ((g * per + j) * s.tokens + t) * dim);
      }
      const float* x = work + per * dim;
      rotate_to(x, inverse_length(x, dim) * temp[g], dim, half, c, n, k + (g * s.tokens + t) * dim);
    }
    const T* now = projected + t * s.row() + s.groups() * dim;
    for (int64_t i = 0; i < values; ++i) {
      T& to = v[((i / dim) * s.tokens + t) * dim + i % dim];
      if (i < values / 2) {
        to = now[i];
      } else if (positions[t] > 0) {
        to = now[i - s.row()];  // the token before
      } else {
        assign(to, 0);
      }
    }
  }
}

template <class T>
void cca_mix_backward(Range tokens, const CcaShape& s, const T* projected, const int32_t* positions, const T* mixed,
                      const float* constant, const float* temp, const float* cos, const float* sin, const T* dq,
                      const T* dk, const T* dv, T* dmixed, T* dprojected, float* sums) {
  const int64_t per = s.heads / s.kv_heads, dim = s.dim, half = s.rotary_half, values = s.kv_heads * dim;
  const float share = 1.0f / static_cast<float>(per);
  float* dtemp = sums + s.groups() * dim;
  float work[(8 + 1) * kMaxDim], d[kMaxDim], dkey0[kMaxDim];
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    const float *c = cos + t * half, *n = sin + t * half;
    T* drow = dprojected + t * s.row();
    for (int64_t g = 0; g < s.kv_heads; ++g) {
      group_values(s, t, g, projected, mixed, constant, work);
      float* x = work + per * dim;
      rotate_back(dk + (g * s.tokens + t) * dim, dim, half, c, n, d);
      const float scale = inverse_length(x, dim);
      float dot = 0;
#pragma omp simd reduction(+ : dot)
      for (int64_t i = 0; i < dim; ++i) {
        dot += d[i] * x[i];
        d[i] *= temp[g];
      }
      dtemp[g] += dot * scale;
      length_backward(x, d, scale, dim);
      T* dmixed_key = dmixed + ((s.heads + g) * s.tokens + t) * dim;
      float* sum_key = sums + (s.heads + g) * dim;
#pragma omp simd
      for (int64_t i = 0; i < dim; ++i) {
        assign(dmixed_key[i], x[i]);
        sum_key[i] += x[i];
        dkey0[i] = 0;
      }
      for (int64_t j = 0; j < per; ++j) {
        const int64_t head = g * per + j;
        float* y = work + j * dim;
        rotate_back(dq + (head * s.tokens + t) * dim, dim, half, c, n, d);
        length_backward(y, d, inverse_length(y, dim), dim);
        T *dmixed_query = dmixed + (head * s.tokens + t) * dim, *dquery0 = drow + head * dim;
        float* sum_query = sums + head * dim;
#pragma omp simd
        for (int64_t i = 0; i < dim; ++i) {
          assign(dmixed_query[i], y[i]);
          sum_query[i] += y[i];
          const float dmean = 0.5f * (y[i] + share * x[i]);
          assign(dquery0[i], dmean);
          dkey0[i] += dmean;
        }
      }
      T* out = drow + (s.heads + g) * dim;
#pragma omp simd
      for (int64_t i = 0; i < dim; ++i) assign(out[i], dkey0[i]);
    }
    T* dnow = drow + s.groups() * dim;
    const bool read_later = t + 1 < s.tokens && positions[t + 1] > 0;
    for (int64_t i = 0; i < values; ++i) {
      const int64_t head = i / dim;
      if (i < values / 2) {
        dnow[i] = dv[(head * s.tokens + t) * dim + i % dim];
      } else if (read_later) {
        dnow[i] = dv[(head * s.tokens + t + 1) * dim + i % dim];
      } else {
        assign(dnow[i], 0);
      }
    }
  }
}

#define ZAYA_INSTANTIATE(T)                                                                                         \
  template void cca_columns<T>(Range, const CcaShape&, const T*, const int32_t*, T*);                               \
  template void cca_columns_backward<T>(Range, const CcaShape&, const int32_t*, const T*, T*);                      \
  template void cca_mix<T>(Range, const CcaShape&, const T*, const int32_t*, const T*, const float*, const float*,  \
                           const float*, const float*, T*, T*, T*);                                                 \
  template void cca_mix_backward<T>(Range, const CcaShape&, const T*, const int32_t*, const T*, const float*,       \
                                    const float*, const float*, const float*, const T*, const T*, const T*, T*, T*, \
                                    float*);
ZAYA_INSTANTIATE(float)
ZAYA_INSTANTIATE(Bf16)

}  // namespace zaya::train::kernels
