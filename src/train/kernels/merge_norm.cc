#include <cmath>

#include "train/kernels/kernels.h"

namespace zaya::train::kernels {

template <class T>
void merge_norm(Range rows, int64_t width, const T* branch, const float* residual, const MergeVectors& merge,
                const float* norm, float epsilon, float* stream, T* normed, float* rstd) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const float* in = residual + r * width;
    float* out = stream + r * width;
    float squares = 0;
    if (branch != nullptr) {
      const T* b = branch + r * width;
#pragma omp simd reduction(+ : squares)
      for (int64_t i = 0; i < width; ++i) {
        const float value = (to_float(b[i]) + merge.branch_bias[i]) * merge.branch_scale[i] +
                            (in[i] + merge.residual_bias[i]) * merge.residual_scale[i];
        out[i] = value;
        squares += value * value;
      }
    } else {
#pragma omp simd reduction(+ : squares)
      for (int64_t i = 0; i < width; ++i) squares += in[i] * in[i];
    }
    const float scale = 1 / std::sqrt(squares / static_cast<float>(width) + epsilon);
    rstd[r] = scale;
    const float* values = branch != nullptr ? out : in;
    T* y = normed + r * width;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) assign(y[i], values[i] * scale * norm[i]);
  }
}

template <class T>
void merge_norm_backward(Range rows, int64_t width, const T* branch, const float* residual, const MergeVectors& merge,
                         const float* norm, const float* stream, const float* rstd, const T* dnormed,
                         const float* dstream, T* dbranch, float* dresidual, float* sums) {
  float *sum_norm = sums, *sum_g = sums + width, *sum_branch = sums + 2 * width, *sum_residual = sums + 3 * width;
  float* g = sums + 4 * width;
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const float* x = stream + r * width;
    const T* dy = dnormed + r * width;
    const float scale = rstd[r];
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < width; ++i) {
      const float d = to_float(dy[i]), unit = x[i] * scale;
      sum_norm[i] += d * unit;
      dot += d * norm[i] * unit;
    }
    dot /= static_cast<float>(width);
    if (dstream != nullptr) {
      const float* ds = dstream + r * width;
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) g[i] = ds[i] + scale * (to_float(dy[i]) * norm[i] - x[i] * scale * dot);
    } else {
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) g[i] = scale * (to_float(dy[i]) * norm[i] - x[i] * scale * dot);
    }
    float* dr = dresidual + r * width;
    if (branch == nullptr) {
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) dr[i] = g[i];
      continue;
    }
    const T* b = branch + r * width;
    const float* in = residual + r * width;
    T* db = dbranch + r * width;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) {
      const float value = g[i];
      dr[i] = value * merge.residual_scale[i];
      assign(db[i], value * merge.branch_scale[i]);
      sum_g[i] += value;
      sum_branch[i] += value * to_float(b[i]);
      sum_residual[i] += value * in[i];
    }
  }
}

#define ZAYA_INSTANTIATE(T)                                                                                       \
  template void merge_norm<T>(Range, int64_t, const T*, const float*, const MergeVectors&, const float*, float,   \
                              float*, T*, float*);                                                                \
  template void merge_norm_backward<T>(Range, int64_t, const T*, const float*, const MergeVectors&, const float*, \
                                       const float*, const float*, const T*, const float*, T*, float*, float*);
ZAYA_INSTANTIATE(float)
ZAYA_INSTANTIATE(Bf16)

}  // namespace zaya::train::kernels
