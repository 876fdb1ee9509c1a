// The router of the cpu backend: its first product, then one phase over blocks of tokens, whose activations stay in the
// second-level cache; the matrices are small.
#include <algorithm>

#include "ops/cpu/cpu_backend.h"
#include "ops/select_experts.h"

namespace zaya::ops {

void CpuBackend::route(const RouterWeights& w, const float* x, int64_t n, int64_t top_k, float* state, int32_t* choice,
                       float* weight) {
  const int64_t width = w.down.rows, classes = w.out.rows;
  float* down = router_.get(n * width);
  project(w.down, w.down_bias, x, n, down, width);

  const auto route_block = [&](int64_t begin, int64_t end, int worker) {
    const int64_t count = end - begin, half_floats = bf16_elements(count, width) / 2;
    float* halves = strips_[static_cast<size_t>(worker)].get(half_floats + count * (width + classes));
    float* a = down + begin * width;
    float* b = halves + half_floats;
    float* logits = b + count * width;
    const auto product = [&](const Matrix& matrix, const float* bias, const float* from, float* to) {
      Input input{.x = from, .half = {}};
      if (on_bf16_tiles(matrix, n)) {
        input.half = {reinterpret_cast<uint16_t*>(halves), tiles_across(width)};
        tiles_->to_bf16(from, count, width, width, input.half, 0, 0);
      }
      multiply(matrix, bias, 0, matrix.rows, input, count, to, matrix.rows, worker);
    };
    for (int64_t i = 0; i < count; ++i) {
      float* carried = state + (begin + i) * width;
      const float squares = kernels_.add_state(a + i * width, w.state_scale, carried, width);
      normalise(carried, squares, width, w.norm, w.norm_eps, a + i * width);
    }
    product(w.fc1, w.fc1_bias, a, b);
    kernels_.gelu(b, count * width);
    product(w.fc2, w.fc2_bias, b, a);
    kernels_.gelu(a, count * width);
    product(w.out, nullptr, a, logits);
    for (int64_t i = 0; i < count; ++i) {
      select_experts({logits + i * classes, static_cast<size_t>(classes)}, w.balancing_bias, top_k,
                     choice + (begin + i) * top_k, weight + (begin + i) * top_k);
    }
  };
  spread(
      n, (2 * width + classes) * width,
      [&](int64_t begin, int64_t end, int worker) {
        for (; begin < end; begin += kBlockTokens) route_block(begin, std::min(end, begin + kBlockTokens), worker);
      },
      on_bf16_tiles(w.fc1, n) ? 2 * kTileRows : kRowTile);
}

}  // namespace zaya::ops
