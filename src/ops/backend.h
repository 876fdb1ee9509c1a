// The model's own vocabulary: the coarse operations of a ZAYA1 forward pass (docs/model.md), with one implementation
// per backend. `reference` is the readable definition; every other backend is tested against it, operation by
// operation.
//
// Conventions: activations are FP32 and row-major, [n, width]; n counts the tokens of the step. Outputs never alias
// inputs unless an argument says "in place". Sizes are the caller's duty (the model checked them when it loaded).
// With FP32 activations (BackendOptions) a result for one token depends on that token's inputs and its sequence alone,
// never on the other rows of the step nor on where a prompt was cut into chunks, to the bit.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "ops/types.h"

namespace zaya::ops {

// The attention shape of one layer.
struct CcaShape {
  int64_t num_heads = 0;  // query heads
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t conv_time0 = 2;      // depthwise kernel
  int64_t conv_time1 = 2;      // grouped kernel, one group per head (query and key heads alike)
  int64_t rotary_dims = 0;     // leading dims of a head that rotate, even
  int64_t sliding_window = 0;  // positions a query sees, its own included; 0 = all

  int64_t q_width() const { return num_heads * head_dim; }
  int64_t kv_width() const { return num_kv_heads * head_dim; }
  int64_t channels() const { return q_width() + kv_width(); }
  int64_t history() const { return conv_time0 + conv_time1 - 2; }
};

// Weights of compressed convolutional attention. A packed grouped convolution asks for a head_dim that is a multiple of
// 16.
struct CcaWeights {
  const float* depthwise = nullptr;       // [channels, conv_time0], oldest tap first
  const float* depthwise_bias = nullptr;  // [channels]
  Matrix grouped;                         // [channels, conv_time1 · head_dim], taps before dims; F32 or packed
  const float* grouped_bias = nullptr;    // [channels]
  const float* temperature = nullptr;     // [num_kv_heads], linear
};

struct RouterWeights {
  Matrix down;  // [router_width, hidden]
  const float* down_bias = nullptr;
  const float* state_scale = nullptr;  // [router_width]; null in the first layer
  const float* norm = nullptr;         // [router_width]
  double norm_eps = 0;
  Matrix fc1, fc2;  // [router_width, router_width]
  const float* fc1_bias = nullptr;
  const float* fc2_bias = nullptr;
  Matrix out;                             // [classes, router_width]; the last class is the skip expert
  const float* balancing_bias = nullptr;  // [classes]
};

struct Expert {
  Matrix gate, up;  // [expert_width, hidden]
  Matrix down;      // [hidden, expert_width]
};

// One product: row r of out at out + r · stride, w->rows long; bias may be null.
struct Projection {
  const Matrix* w = nullptr;
  const float* bias = nullptr;
  float* out = nullptr;
  int64_t stride = 0;
};

// The head's matrix in few bits (packed/coarse.h).
struct CoarseHead {
  const std::byte* data = nullptr;      // null: there is none
  const float* column_scale = nullptr;  // [hidden]
  const float* row_scale = nullptr;     // [vocab]
  const float* error = nullptr;         // [vocab]: the length of what each row errs by
};

// The LM head. A coarse copy makes it two stages: the copy is read whole, and the rows that may be the likeliest token
// are computed again from the exact weights. The others keep their coarse logits.
struct Head {
  Matrix exact;                 // [vocab, hidden]
  const float* bias = nullptr;  // [vocab] or null
  CoarseHead coarse;
};

// A coarse logit errs by e·x, e the row's errors: these have nothing to do with x, so the error is of the size
// |e||x|/√width, and normal. The likeliest token is missed when its own error is this many times as large: once in 10⁹
// tokens.
inline constexpr float kHeadMargin = 6;

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;
  virtual int threads() const = 0;

  // How a product of this matrix with n rows of activations would be computed, in a few words for people.
  virtual std::string kernel_for(const Matrix&, int64_t /*n*/) const { return name(); }
  // The same of the head: of its first stage, if it has two.
  virtual std::string kernel_for_head(const Head&, int64_t /*n*/) const { return name(); }

  // out[i] = (embedding[token_i] + bias) · scale.   out [n, hidden]
  virtual void embed(const Matrix& embedding, std::span<const int32_t> tokens, const float* scale, const float* bias,
                     float* out) = 0;

  // out = x / sqrt(mean(x²) + eps) · weight, per row.   x, out [n, width]
  virtual void rms_norm(const float* x, int64_t n, int64_t width, const float* weight, double eps, float* out) = 0;

  // out = W x (+ bias), per row, for matrices that share their input.   x [n, cols]
  virtual void project(std::span<const Projection> projections, const float* x, int64_t n) = 0;

  void project(const Matrix& w, const float* bias, const float* x, int64_t n, float* out, int64_t out_stride) {
    const Projection one{&w, bias, out, out_stride};
    project({&one, 1}, x, n);
  }

  // Logits [n, vocab] of x [n, hidden]. Returns how many of them are exact: n · vocab in one stage.
  virtual int64_t head(const Head& head, const float* x, int64_t n, float* logits) {
    project(head.exact, head.bias, x, n, logits, head.exact.rows);
    return n * head.exact.rows;
  }

  // Compressed convolutional attention between its projections and its scores (arXiv 2510.04476; docs/model.md):
  // convolutions over time, mean terms, length normalisation, temperature, rotation. Appends keys and values to each
  // run's cache and moves its convolution history and delayed value forward.
  //   c0 [n, channels]: projected queries then keys;  value_current, value_delayed [n, kv_width / 2]
  //   cos, sin [n, rotary_dims / 2] for each row's position;  q_out [n, q_width]
  virtual void cca(const CcaShape& shape, const CcaWeights& weights, std::span<const Run> runs, const float* c0,
                   const float* value_current, const float* value_delayed, const float* cos, const float* sin,
                   float* q_out) = 0;

  // Causal softmax attention of each row over its own sequence's cache, scale 1/√head_dim.   q, out [n, q_width]
  virtual void attend(const CcaShape& shape, std::span<const Run> runs, const float* q, float* out) = 0;

  // residual = (branch + branch_bias) · branch_scale + (residual + residual_bias) · residual_scale, in place.
  virtual void merge(const ResidualScales& scales, const float* branch, int64_t n, int64_t width, float* residual) = 0;

  // merge(), and normed = rms_norm(residual): the same bits as of the two calls, in one pass over the rows.
  //   normed [n, width]
  virtual void merge_norm(const ResidualScales& scales, const float* branch, int64_t n, int64_t width, float* residual,
                          const float* weight, double eps, float* normed) {
    merge(scales, branch, n, width, residual);
    rms_norm(residual, n, width, weight, eps, normed);
  }

  // The MLP router. state [n, router_width] holds the previous layer's router state and receives this layer's (ignored
  // on input when weights.state_scale is null). Per row the `top_k` best classes by biased probability:
  //   choice [n, top_k] (the skip class included, = classes - 1);  weight [n, top_k]: unbiased probabilities
  virtual void route(const RouterWeights& weights, const float* x, int64_t n, int64_t top_k, float* state,
                     int32_t* choice, float* weight) = 0;

  // out = Σ over top_k of weight · down(silu(gate x) · up x) of the chosen expert; the skip class adds nothing.
  //   x, out [n, hidden]
  virtual void experts(std::span<const Expert> experts, const float* x, int64_t n, int64_t top_k, const int32_t* choice,
                       const float* weight, float* out) = 0;
};

// Largest magnitude below which a query or key vector is not scaled up to its full length: FP32's machine epsilon, as
// the reference implementation clamps it.
inline constexpr float kNormFloor = 1.1920928955078125e-7f;

// What a product's inputs may be rounded to. With f32 the bits of a token's result depend on nothing but its own
// inputs; with bf16 products of packed weights with several tokens, and attention over several, may run on AMX tiles,
// and then a token's low bits depend on whether it came alone; those of 4- and 8-bit weights with few tokens (with all,
// where there are no tiles) take activations as codes of 15 bits where the processor has AVX512_VNNI or AVX2, one scale
// for 64 columns: finer than BF16. int8 is the same with codes of 8 bits, and of 8 bits on tiles too.
enum class Activations { f32, bf16, int8 };

struct BackendOptions {
  int threads = 0;  // 0 = all physical cores this process may use
  Activations activations = Activations::f32;
};

// "cpu" (fast) or "reference"; not_found for any other name.
Result<std::unique_ptr<Backend>> make_backend(std::string_view name, const BackendOptions& options = {});

}  // namespace zaya::ops
