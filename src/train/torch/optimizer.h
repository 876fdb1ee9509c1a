// The optimizers of ZAYA1's training (arXiv 2605.05365; arXiv 2511.17127): Muon on matrices, AdamW on everything else,
// and the controller of the router's balancing biases.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "train/recipe.h"
#include "train/torch/weights.h"

namespace zaya::train {

// x orthogonalised: five steps of x ← a·x + (b·s + c·s²)·x with s = x xᵀ, from x / ‖x‖ (Frobenius), with the
// coefficients 3.4445, −4.7750, 2.0315 (Jordan et al. 2024, "Muon"). x is [count, rows, columns], each matrix by
// itself; BF16 when asked for, else FP32. The result has singular values near one.
Tensor newton_schulz(const Tensor& x, bool bf16);

// The state and the steps of all parameters. Everything is FP32.
class Optimizer {
 public:
  // `threads` share Muon's matrices.
  Optimizer(Weights& weights, const Architecture& architecture, bool bf16, size_t threads = 1);

  // One step from the parameters' gradients, which are cleared. `factor` scales the learning rates. Returns the norm of
  // all gradients before clipping.
  //
  // Muon: momentum m ← μ·m + (1 − μ)·g, Nesterov's g' = (1 − μ)·g + μ·m, orthogonalised, times 0.2·√max(rows, columns):
  // an orthogonal matrix's entries have a root mean square of 1/√max, so every update has AdamW's typical 0.2
  // (Liu et al. 2025, arXiv 2502.16982, section 2.2). Experts are single matrices of their stack; the halves of
  // gate_up are two.
  // AdamW: decoupled decay, bias-corrected moments.
  double step(const OptimizerRecipe& recipe, double factor);

  // The router's balance: the error load_j / Σ load − 1/E of each expert is AdamW's gradient for its balancing bias
  // (arXiv 2605.05365); betas 0.9 and 0.999, no decay. The skip class's bias stays. loads: per layer [E + 1], over the
  // whole global batch.
  void balance(const std::vector<Tensor>& loads, double rate);

  // All state by name, for saving, and to be loaded into (copy_) for resuming.
  std::vector<NamedTensor> state();
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

  void zero_gradients();

 private:
  struct Entry {
    NamedParameter parameter;
    Tensor first, second;  // momentum; AdamW's squares (undefined with Muon)
  };
  void muon(const OptimizerRecipe& recipe, double rate);
  void adam(const OptimizerRecipe& recipe, double rate);

  std::vector<Entry> matrices_, others_, balancing_;
  bool bf16_;
  size_t threads_;
  int64_t steps_ = 0;
};

}  // namespace zaya::train
