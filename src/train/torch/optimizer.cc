#include "train/torch/optimizer.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "train/torch/on_threads.h"

namespace zaya::train {
namespace {

constexpr double kEpsilon = 1e-8;

// A parameter as the matrices that it is made of: [count, rows, columns].
Tensor matrices_of(const NamedParameter& parameter, const Tensor& tensor) {
  if (tensor.dim() == 2) return tensor.unsqueeze(0);
  if (!parameter.name.ends_with("gate_up_proj")) return tensor;
  return tensor.view({tensor.size(0) * 2, tensor.size(1) / 2, tensor.size(2)});
}

}  // namespace

Tensor newton_schulz(const Tensor& x, bool bf16) {
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
  const bool tall = x.size(1) > x.size(2);
  Tensor y = tall ? x.transpose(1, 2) : x;
  y = y / (y.norm(2, {1, 2}, true) + 1e-7);
  if (bf16) y = y.to(torch::kBFloat16);
  y = y.contiguous();
  for (int i = 0; i < 5; ++i) {
    const Tensor s = y.bmm(y.transpose(1, 2));
    // a·y + (b·s + c·s²)·y in two products that add.
    y = at::baddbmm(y, at::baddbmm(s, s, s, b, c), y, a, 1);
  }
  y = y.to(torch::kFloat32);
  return tall ? y.transpose(1, 2) : y;
}

Optimizer::Optimizer(Weights& weights, const Architecture& architecture, bool bf16, size_t threads)
    : bf16_(bf16), threads_(threads) {
  for (const NamedParameter& parameter : parameters(weights, architecture)) {
    Entry entry{parameter, torch::zeros_like(*parameter.tensor), {}};
    if (parameter.kind != ParameterKind::matrix) entry.second = torch::zeros_like(*parameter.tensor);
    (parameter.kind == ParameterKind::matrix      ? matrices_
     : parameter.kind == ParameterKind::balancing ? balancing_
                                                  : others_)
        .push_back(std::move(entry));
  }
}

double Optimizer::step(const OptimizerRecipe& recipe, double factor) {
  const torch::NoGradGuard no_grad;
  ++steps_;
  std::vector<Tensor> gradients;
  for (const auto* list : {&matrices_, &others_}) {
    for (const Entry& entry : *list) {
      if (entry.parameter.tensor->grad().defined()) gradients.push_back(entry.parameter.tensor->grad());
    }
  }
  double squares = 0;
  for (const Tensor& norm : at::_foreach_norm(gradients)) {
    const double value = norm.item<double>();
    squares += value * value;
  }
  const double norm = std::sqrt(squares);
  if (recipe.clip > 0 && norm > recipe.clip) at::_foreach_mul_(gradients, recipe.clip / norm);
  muon(recipe, recipe.muon_rate * factor);
  adam(recipe, recipe.adam_rate * factor);
  zero_gradients();
  return norm;
}

void Optimizer::muon(const OptimizerRecipe& recipe, double rate) {
  // Matrices of one shape, up to transposition, share their products.
  std::map<std::pair<int64_t, int64_t>, std::vector<Entry*>> groups;
  for (Entry& entry : matrices_) {
    if (!entry.parameter.tensor->grad().defined()) continue;
    const Tensor m = matrices_of(entry.parameter, entry.first);
    groups[{m.size(1), m.size(2)}].push_back(&entry);
  }
  for (const auto& [shape, entries] : groups) {
    const double scale = 0.2 * std::sqrt(static_cast<double>(std::max(shape.first, shape.second)));
    on_threads(threads_, entries.size(), [&, &group = entries](size_t begin, size_t end) {
      if (begin == end) return;
      std::vector<Tensor> updates;
      for (size_t i = begin; i < end; ++i) {
        const Tensor gradient = group[i]->parameter.tensor->grad();
        group[i]->first.lerp_(gradient, 1 - recipe.muon_momentum);
        updates.push_back(matrices_of(group[i]->parameter, gradient.lerp(group[i]->first, recipe.muon_momentum)));
      }
      const Tensor steps = newton_schulz(torch::cat(updates), bf16_);
      int64_t first = 0;
      for (size_t i = begin; i < end; ++i) {
        Tensor p = matrices_of(group[i]->parameter, *group[i]->parameter.tensor);
        p.mul_(1 - rate * recipe.muon_decay);
        p.add_(steps.narrow(0, first, p.size(0)), -rate * scale);
        first += p.size(0);
      }
    });
  }
}

void Optimizer::adam(const OptimizerRecipe& recipe, double rate) {
  const double beta1 = recipe.adam_beta1, beta2 = recipe.adam_beta2;
  const auto step = static_cast<double>(steps_);
  std::vector<Tensor> values, gradients, first, second;
  for (Entry& entry : others_) {
    if (!entry.parameter.tensor->grad().defined()) continue;
    values.push_back(*entry.parameter.tensor);
    gradients.push_back(entry.parameter.tensor->grad());
    first.push_back(entry.first);
    second.push_back(entry.second);
  }
  if (values.empty()) return;
  if (recipe.adam_decay > 0) at::_foreach_mul_(values, 1 - rate * recipe.adam_decay);
  at::_foreach_lerp_(first, gradients, 1 - beta1);
  at::_foreach_mul_(second, beta2);
  at::_foreach_addcmul_(second, gradients, gradients, 1 - beta2);
  std::vector<Tensor> roots = at::_foreach_sqrt(second);
  at::_foreach_div_(roots, std::sqrt(1 - std::pow(beta2, step)));
  at::_foreach_add_(roots, kEpsilon);
  at::_foreach_addcdiv_(values, first, roots, -rate / (1 - std::pow(beta1, step)));
}

void Optimizer::balance(const std::vector<Tensor>& loads, double rate) {
  const torch::NoGradGuard no_grad;
  constexpr double beta1 = 0.9, beta2 = 0.999;
  const auto step = static_cast<double>(steps_);
  for (size_t i = 0; i < balancing_.size() && rate > 0; ++i) {
    Entry& entry = balancing_[i];
    const Tensor load = loads[i].to(torch::kFloat32);
    const int64_t experts = load.size(0) - 1;
    Tensor error = load / load.sum().clamp_min(1) - 1.0 / static_cast<double>(experts);
    error[experts] = 0;
    entry.first.lerp_(error, 1 - beta1);
    entry.second.mul_(beta2).addcmul_(error, error, 1 - beta2);
    const Tensor root = (entry.second / (1 - std::pow(beta2, step))).sqrt_().add_(kEpsilon);
    entry.parameter.tensor->addcdiv_(entry.first, root, -rate / (1 - std::pow(beta1, step)));
  }
}

std::vector<NamedTensor> Optimizer::state() {
  std::vector<NamedTensor> result;
  for (auto* list : {&matrices_, &others_, &balancing_}) {
    for (Entry& entry : *list) {
      result.push_back({"first." + entry.parameter.name, entry.first});
      if (entry.second.defined()) result.push_back({"second." + entry.parameter.name, entry.second});
    }
  }
  return result;
}

void Optimizer::zero_gradients() {
  for (auto* list : {&matrices_, &others_}) {
    for (Entry& entry : *list) entry.parameter.tensor->mutable_grad().reset();
  }
}

}  // namespace zaya::train
