// gradients and logits: what tools/train/parity.py compares with transformers.
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/utils.h>

#include <chrono>
#include <cmath>
#include <cstdio>

#include "train/torch/commands.h"
#include "train/torch/guard.h"
#include "train/torch/network.h"
#include "train/torch/weights.h"

namespace zaya::train {
namespace {

struct Loaded {
  Architecture architecture;
  Weights weights;
};

Result<Loaded> load(const std::filesystem::path& model, const std::vector<int32_t>& tokens) {
  ZAYA_ASSIGN(const auto checkpoint, checkpoint::Checkpoint::open(model));
  Loaded loaded;
  loaded.architecture.model = checkpoint.config();
  ZAYA_ASSIGN(loaded.weights, load_weights(checkpoint));
  for (const int32_t token : tokens) {
    if (token < 0 || token >= checkpoint.config().vocab_size) {
      return Status(Code::invalid_argument,
                    fmt::format("token {} is not one of the model's {}", token, checkpoint.config().vocab_size));
    }
  }
  if (tokens.empty()) return Status(Code::invalid_argument, "there are no tokens", "--tokens 2,5,9");
  return loaded;
}

Batch document(const std::vector<int32_t>& tokens) {
  return make_batch({tokens}, {std::vector<uint8_t>(tokens.size(), 1)});
}

}  // namespace

Status write_gradients(const GradientsOptions& options) {
  return guarded([&]() -> Status {
    prepare(options.compute.threads);
    ZAYA_ASSIGN(Loaded loaded, load(options.model, options.tokens));
    if (options.tokens.size() < 2) return Status(Code::invalid_argument, "a loss needs two tokens at least");
    require_gradients(loaded.weights, loaded.architecture);
    const Batch batch = document(options.tokens);
    const Compute compute = compute_of(options.compute);
    const auto loss_of = [&](ForwardResult& pass) {
      pass = forward(loaded.weights, loaded.architecture, batch, compute);
      return loss_sum(loaded.weights, loaded.architecture, pass.hidden, batch, compute) /
             static_cast<double>(batch.targets.size(0));
    };
    ForwardResult pass;
    if (options.steps == 0) {
      const Tensor loss = loss_of(pass);
      loss.backward();
      std::vector<NamedTensor> gradients = {{"loss", loss}};
      for (const NamedParameter& p : parameters(loaded.weights, loaded.architecture)) {
        if (p.tensor->grad().defined()) gradients.push_back({p.name, p.tensor->grad()});
      }
      return save_tensors(options.out, gradients);
    }
    // torch.optim.AdamW's defaults, written out: the optimizers of training proper are tested against their own
    // formulas, this against torch's.
    constexpr double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, decay = 0.01;
    std::vector<NamedParameter> all = parameters(loaded.weights, loaded.architecture);
    std::vector<Tensor> first(all.size()), second(all.size());
    for (int step = 1; step <= options.steps; ++step) {
      const Tensor loss = loss_of(pass);
      fmt::print("{:.9g}\n", loss.item<float>());
      loss.backward();
      const torch::NoGradGuard no_grad;
      for (size_t i = 0; i < all.size(); ++i) {
        Tensor& p = *all[i].tensor;
        if (!p.grad().defined()) continue;
        if (!first[i].defined()) {
          first[i] = torch::zeros_like(p);
          second[i] = torch::zeros_like(p);
        }
        p.mul_(1 - options.rate * decay);
        first[i].lerp_(p.grad(), 1 - beta1);
        second[i].mul_(beta2).addcmul_(p.grad(), p.grad(), 1 - beta2);
        const Tensor root = (second[i] / (1 - std::pow(beta2, step))).sqrt_().add_(epsilon);
        p.addcdiv_(first[i], root, -options.rate / (1 - std::pow(beta1, step)));
        p.mutable_grad().reset();
      }
    }
    return save_checkpoint(options.out, loaded.architecture, loaded.weights, false);
  });
}

Status write_logits(const std::filesystem::path& model, const std::vector<int32_t>& tokens,
                    const std::filesystem::path& out, const ComputeOptions& options) {
  return guarded([&]() -> Status {
    prepare(options.threads);
    const torch::NoGradGuard no_grad;
    ZAYA_ASSIGN(Loaded loaded, load(model, tokens));
    const Compute compute = compute_of(options);
    const ForwardResult pass = forward(loaded.weights, loaded.architecture, document(tokens), compute);
    return save_tensors(out, {{"logits", logits(loaded.weights, pass.hidden, compute)}});
  });
}

Result<double> measure_peak(const ComputeOptions& options) {
  return guarded([&]() -> Result<double> {
    prepare(options.threads);
    const torch::NoGradGuard no_grad;
    constexpr int64_t n = 2048;
    const Tensor a = torch::randn({n, n}, options.bf16 ? torch::kBFloat16 : torch::kFloat32), b = torch::randn_like(a);
    Tensor c = torch::empty_like(a);
    double best = 0;
    for (int i = 0; i < 12; ++i) {
      const auto start = std::chrono::steady_clock::now();
      at::mm_out(c, a, b);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      best = std::max(best, 2.0 * n * n * n / seconds / 1e9);
    }
    return best;
  });
}

}  // namespace zaya::train
