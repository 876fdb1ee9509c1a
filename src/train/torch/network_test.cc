// The network's gradients, its fused operations, packing, and the optimizers.
#include "train/torch/network.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/utils.h>

#include <cmath>
#include <map>

#include "train/torch/optimizer.h"
#include "train/torch/weights.h"

namespace zaya::train {
namespace {

Architecture small(int64_t time0 = 2, int64_t time1 = 2) {
  Architecture architecture;
  checkpoint::ModelConfig& c = architecture.model;
  c.vocab_size = 48;
  c.hidden_size = 32;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 8;
  c.num_experts = 3;
  c.expert_width = 20;
  c.router_width = 12;
  c.conv_time0 = time0;
  c.conv_time1 = time1;
  c.max_positions = 256;
  c.layers.assign(3, {.sliding_window = 0, .rope_theta = 1e4, .rotary_dims = 4});
  return architecture;
}

// Weights away from ones and zeros, so that a forgotten scale or bias shows.
Weights random_weights(const Architecture& architecture, uint64_t seed = 1) {
  Weights weights = initial_weights(architecture, seed, 0.5);
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed + 77);
  const torch::NoGradGuard no_grad;
  for (const NamedParameter& p : parameters(weights, architecture)) {
    if (p.kind == ParameterKind::vector) p.tensor->add_(torch::zeros_like(*p.tensor).normal_(0, 0.2, generator));
    if (p.kind == ParameterKind::convolution || p.name.ends_with("out_proj.weight")) p.tensor->mul_(2);
  }
  require_gradients(weights, architecture);
  return weights;
}

std::vector<std::vector<int32_t>> documents(std::initializer_list<int> lengths, uint32_t seed = 3) {
  std::vector<std::vector<int32_t>> result;
  for (const int length : lengths) {
    auto& document = result.emplace_back();
    for (int t = 0; t < length; ++t) {
      seed = seed * 1664525u + 1013904223u;
      document.push_back(static_cast<int32_t>(seed >> 16) % 48);
    }
  }
  return result;
}

std::vector<std::vector<uint8_t>> all_loss(const std::vector<std::vector<int32_t>>& documents) {
  std::vector<std::vector<uint8_t>> result;
  for (const auto& document : documents) result.emplace_back(document.size(), uint8_t{1});
  return result;
}

struct Outcome {
  double loss = 0;
  std::map<std::string, Tensor> gradients;
};

Outcome run(Weights& weights, const Architecture& architecture, const std::vector<std::vector<int32_t>>& documents,
            const Compute& compute) {
  const Batch batch = make_batch(documents, all_loss(documents));
  const ForwardResult pass = forward(weights, architecture, batch, compute);
  const Tensor loss = loss_sum(weights, architecture, pass.hidden, batch, compute);
  loss.backward();
  Outcome result;
  result.loss = loss.item<double>();
  for (const NamedParameter& p : parameters(weights, architecture)) {
    if (!p.tensor->grad().defined()) continue;
    result.gradients[p.name] = p.tensor->grad().clone();
    p.tensor->mutable_grad().reset();
  }
  return result;
}

void expect_close(const Outcome& a, const Outcome& b, double tolerance) {
  EXPECT_NEAR(a.loss, b.loss, tolerance * std::abs(b.loss));
  ASSERT_EQ(a.gradients.size(), b.gradients.size());
  for (const auto& [name, gradient] : b.gradients) {
    const double error = (a.gradients.at(name) - gradient).norm().item<double>();
    EXPECT_LE(error, tolerance * (gradient.norm().item<double>() + 1e-3)) << name;
  }
}

TEST(Network, GradientsAreTheSlopesOfTheLoss) {
  // In steps small enough that no token changes its expert, which the loads show: across such a change the loss jumps.
  const Architecture architecture = small();
  Weights weights = random_weights(architecture);
  const auto text = documents({17, 5}, 4);
  for (const bool fused : {false, true}) {
    const Compute compute{.fused = fused};
    const Outcome at = run(weights, architecture, text, compute);
    auto generator = at::make_generator<at::CPUGeneratorImpl>(uint64_t{5});
    for (const NamedParameter& p : parameters(weights, architecture)) {
      if (!at.gradients.contains(p.name)) continue;
      const Tensor gradient = at.gradients.at(p.name);
      // Mostly along the gradient: the slope is then far above rounding.
      Tensor direction =
          gradient / gradient.norm().clamp_min(1e-12) +
          0.1 * torch::zeros_like(gradient).normal_(0, 1, generator) / std::sqrt(static_cast<double>(gradient.numel()));
      const double expected = (gradient * direction).sum().item<double>();
      const auto at_distance = [&](double distance) {
        const torch::NoGradGuard no_grad;
        const Tensor saved = p.tensor->clone();
        p.tensor->add_(direction, distance);
        const Batch batch = make_batch(text, all_loss(text));
        const ForwardResult pass = forward(weights, architecture, batch, compute);
        const double loss = loss_sum(weights, architecture, pass.hidden, batch, compute).item<double>();
        p.tensor->copy_(saved);
        return std::pair{loss, torch::stack(pass.loads)};
      };
      const Tensor loads = at_distance(0).second;
      double slope = std::nan("");
      for (const double h : {3e-3, 1e-3, 3e-4}) {
        std::vector<double> losses;
        bool same = true;
        for (const double distance : {h, -h, 2 * h, -2 * h}) {
          const auto [loss, moved] = at_distance(distance);
          losses.push_back(loss);
          same = same && moved.equal(loads);
        }
        slope = (8 * (losses[0] - losses[1]) - (losses[2] - losses[3])) / (12 * h);
        if (same) break;
        slope = std::nan("");
      }
      EXPECT_NEAR(slope, expected, 0.02 * std::abs(expected) + 0.01) << p.name << (fused ? " fused" : " plain");
    }
  }
}

TEST(Network, FusedOperationsComputeWhatTheDefinitionsDo) {
  for (const auto& [time0, time1] : {std::pair{2, 2}, std::pair{1, 3}, std::pair{3, 1}, std::pair{1, 1}}) {
    const Architecture architecture = small(time0, time1);
    Weights weights = random_weights(architecture);
    const auto text = documents({31, 1, 2, 9, 64});
    expect_close(run(weights, architecture, text, {.fused = true}), run(weights, architecture, text, {.fused = false}),
                 2e-5);
  }
}

TEST(Network, WindowsAndSkippedTokensToo) {
  Architecture architecture = small();
  architecture.model.layers[1].sliding_window = 5;
  Weights weights = random_weights(architecture);
  {
    const torch::NoGradGuard no_grad;
    weights.layers[2].balancing_biases[-1] = 0.2;  // the skip class wins now and then
  }
  const auto text = documents({31, 9});
  expect_close(run(weights, architecture, text, {.fused = true}), run(weights, architecture, text, {.fused = false}),
               2e-5);
  const Batch batch = make_batch(text, all_loss(text));
  const ForwardResult pass = forward(weights, architecture, batch, {});
  EXPECT_GT(pass.loads[2][-1].item<int64_t>(), 0);
  EXPECT_EQ(pass.loads[2].sum().item<int64_t>(), 40);
}

TEST(Network, APackedBatchIsItsDocumentsAlone) {
  const Architecture architecture = small();
  Weights weights = random_weights(architecture);
  const auto text = documents({20, 3, 1, 33, 12});
  for (const bool fused : {false, true}) {
    const Compute compute{.fused = fused};
    const Outcome packed = run(weights, architecture, text, compute);
    Outcome alone;
    for (const auto& document : text) {
      const Outcome one = run(weights, architecture, {document}, compute);
      alone.loss += one.loss;
      for (const auto& [name, gradient] : one.gradients) {
        Tensor& sum = alone.gradients[name];
        sum = sum.defined() ? sum + gradient : gradient;
      }
    }
    expect_close(packed, alone, 1e-5);
  }
}

TEST(Network, NothingLeaksBetweenDocuments) {
  // Not to rounding: a document's hidden values are the same bits whatever stands before it.
  const Architecture architecture = small();
  Weights weights = random_weights(architecture);
  auto first = documents({16, 9}, 1), second = first;
  for (int32_t& token : second[0]) token = (token + 1) % 48;
  const torch::NoGradGuard no_grad;
  const auto hidden = [&](const auto& text) {
    return forward(weights, architecture, make_batch(text, all_loss(text)), {}).hidden.narrow(0, 16, 9).clone();
  };
  // The experts' products see other neighbours, which may change the order of their sums.
  EXPECT_LE((hidden(first) - hidden(second)).abs().max().item<double>(), 1e-6);
}

TEST(Network, CheckpointedLayersGiveTheSameGradients) {
  const Architecture architecture = small();
  Weights weights = random_weights(architecture);
  const auto text = documents({20, 7});
  for (const bool fused : {false, true}) {
    const Outcome kept = run(weights, architecture, text, {.fused = fused});
    const Outcome again = run(weights, architecture, text, {.fused = fused, .checkpoint_layers = true});
    expect_close(again, kept, 1e-6);
  }
}

TEST(Network, Bf16StaysNearFp32) {
  const Architecture architecture = small();
  Weights weights = initial_weights(architecture, 1, 0.5);
  require_gradients(weights, architecture);
  const auto text = documents({40, 24});
  const Outcome exact = run(weights, architecture, text, {}),
                rounded = run(weights, architecture, text, {.bf16 = true});
  EXPECT_NEAR(rounded.loss, exact.loss, 0.01 * exact.loss);
  const std::string name = "model.embed_tokens.weight";
  const double error = (rounded.gradients.at(name) - exact.gradients.at(name)).norm().item<double>();
  EXPECT_LE(error, 0.1 * exact.gradients.at(name).norm().item<double>());
}

TEST(Network, AblationsTrainToo) {
  for (int which = 0; which < 3; ++which) {
    Architecture architecture = small();
    if (which == 0) architecture.attention = AttentionKind::gqa;
    if (which == 1) architecture.router = RouterKind::linear;
    if (which == 2) architecture.residual_scaling = false;
    Weights weights = initial_weights(architecture, 1, 0.5);
    require_gradients(weights, architecture);
    const Outcome result = run(weights, architecture, documents({20, 5}), {});
    EXPECT_TRUE(std::isfinite(result.loss));
    EXPECT_EQ(result.gradients.contains("model.layers.0.self_attn.qkv_proj.conv_qk_grouped.weight"), which != 0);
    EXPECT_EQ(result.gradients.contains("model.layers.0.mlp.gate.router_mlp.fc1.weight"), which != 1);
    EXPECT_EQ(result.gradients.contains("model.layers.0.post_mlp_residual_scale.residual_bias"), which != 2);
  }
}

TEST(Optimizer, NewtonSchulzMakesMatricesNearlyOrthogonal) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(uint64_t{2});
  for (const auto& [rows, columns] : {std::pair{24, 24}, std::pair{16, 40}, std::pair{40, 16}}) {
    const Tensor x = torch::zeros({3, rows, columns}).normal_(0, 1, generator);
    const Tensor y = newton_schulz(x, false);
    const Tensor small = rows < columns ? y.bmm(y.transpose(1, 2)) : y.transpose(1, 2).bmm(y);
    const Tensor values = std::get<0>(torch::linalg_eigh(small, "L")).sqrt();
    EXPECT_GT(values.min().item<double>(), 0.3);
    EXPECT_LT(values.max().item<double>(), 1.3);
    // The same singular vectors: each output's product with its input is symmetric and positive.
    const Tensor product = y[0].mm(x[0].t());
    EXPECT_LE((product - product.t()).abs().max().item<double>(), 1e-3 * product.abs().max().item<double>());
    EXPECT_GT(product.trace().item<double>(), 0);
  }
}

TEST(Optimizer, TheFirstStepIsTheFormulas) {
  const Architecture architecture = small();
  Weights weights = random_weights(architecture);
  Optimizer optimizer(weights, architecture, false);
  run(weights, architecture, documents({12}), {});
  const torch::NoGradGuard no_grad;
  auto generator = at::make_generator<at::CPUGeneratorImpl>(uint64_t{9});
  for (const NamedParameter& p : parameters(weights, architecture)) {
    if (p.tensor->requires_grad()) p.tensor->mutable_grad() = torch::zeros_like(*p.tensor).normal_(0, 1, generator);
  }
  const Tensor q = weights.layers[0].q.clone(), norm = weights.norm.clone();
  const Tensor q_gradient = weights.layers[0].q.grad().clone(), norm_gradient = weights.norm.grad().clone();
  const Tensor experts = weights.layers[1].gate_up.clone(), experts_gradient = weights.layers[1].gate_up.grad().clone();
  const OptimizerRecipe recipe{.muon_rate = 0.1, .adam_rate = 0.01, .muon_decay = 0, .clip = 0};
  optimizer.step(recipe, 0.5);
  const double scale = 0.05 * 0.2 * std::sqrt(32.0);
  const Tensor expected = q - scale * newton_schulz(q_gradient.unsqueeze(0), false)[0];
  EXPECT_LE((weights.layers[0].q - expected).abs().max().item<double>(), 1e-5);
  // Each half of each expert by itself.
  const Tensor half = experts_gradient[2].narrow(0, 20, 20);
  const Tensor up = experts[2].narrow(0, 20, 20) - scale * newton_schulz(half.unsqueeze(0), false)[0];
  EXPECT_LE((weights.layers[1].gate_up[2].narrow(0, 20, 20) - up).abs().max().item<double>(), 1e-5);
  // AdamW's first step is the rate in the gradient's direction.
  EXPECT_LE((weights.norm - (norm - 0.005 * norm_gradient.sign())).abs().max().item<double>(), 1e-5);
  EXPECT_FALSE(weights.norm.grad().defined());
}

TEST(Optimizer, BalancingMovesAgainstTheLoadAndLeavesTheSkipClass) {
  const Architecture architecture = small();
  Weights weights = initial_weights(architecture, 1);
  Optimizer optimizer(weights, architecture, false);
  optimizer.set_steps(1);
  std::vector<Tensor> loads(3, torch::tensor({90.0, 5.0, 5.0, 0.0}));
  optimizer.balance(loads, 1e-3);
  const Tensor biases = weights.layers[1].balancing_biases;
  EXPECT_NEAR(biases[0].item<double>(), -1e-3, 1e-6);
  EXPECT_NEAR(biases[1].item<double>(), 1e-3, 1e-6);
  EXPECT_EQ(biases[3].item<double>(), -1);
}

}  // namespace
}  // namespace zaya::train
