#include "train/torch/network.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/utils.h>

#include <cmath>
#include <deque>
#include <functional>
#include <utility>

#include "train/torch/ops.h"

namespace zaya::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

struct Rotation {
  Tensor cos, sin;  // [N, rotary dims / 2]
};

// docs/model.md, section 4, step 6; angles in FP32 as transformers computes them.
Rotation rotation_of(const checkpoint::LayerConfig& layer, const Tensor& positions) {
  const auto options = positions.options().dtype(torch::kFloat32);
  const int64_t dims = layer.rotary_dims;
  const Tensor exponent = torch::arange(0, dims, 2, options) / static_cast<double>(std::max<int64_t>(dims, 1));
  const Tensor angle = positions.to(torch::kFloat32).unsqueeze(1) * torch::pow(layer.rope_theta, exponent).reciprocal();
  return {angle.cos(), angle.sin()};
}

struct State {
  Tensor stream, router;  // [N, H], [N, R]; router is undefined before the first layer
};

class LayerForward {
 public:
  LayerForward(const Architecture& architecture, const LayerWeights& weights, const Batch& batch,
               const Rotation& rotation, int64_t window, const Compute& compute)
      : architecture_(architecture), config_(architecture.model), w_(weights), batch_(batch), rotation_(rotation),
        window_(window), compute_(compute) {}

  State run(const State& in, Tensor* load) const {
    const double epsilon = config_.rms_norm_eps;
    const Tensor attention = attend(ops::rms_norm(in.stream, w_.input_norm, epsilon));
    State out;
    out.stream = ops::merge(attention, in.stream, w_.after_attention);
    const Tensor x = ops::rms_norm(out.stream, w_.expert_norm, epsilon);
    const Tensor p = route(x, in.router, out.router);
    const Tensor choice =
        std::get<1>((p.detach() + w_.balancing_biases).topk(config_.experts_per_token, 1));
    if (load != nullptr) *load = choice.reshape({-1}).bincount({}, config_.router_classes());
    const Tensor branch = ops::experts(x, choice, p.gather(1, choice), w_.gate_up, w_.down, compute_.bf16);
    out.stream = ops::merge(branch, out.stream, w_.after_experts);
    return out;
  }

 private:
  Tensor attend(const Tensor& x) const {
    const bool bf16 = compute_.bf16, cca = architecture_.attention == AttentionKind::cca;
    const int64_t n = x.size(0), heads = config_.num_heads, kv_heads = config_.num_kv_heads, dim = config_.head_dim;
    const Tensor q0 = ops::linear(x, w_.q, w_.q_bias, bf16), k0 = ops::linear(x, w_.k, w_.k_bias, bf16);
    Tensor q = q0.view({n, heads, dim}), k = k0.view({n, kv_heads, dim});
    const Tensor now = ops::linear(x, w_.v_current, w_.v_current_bias, bf16);
    Tensor before = ops::linear(x, w_.v_delayed, w_.v_delayed_bias, bf16);
    if (cca) {
      const Tensor mixed = ops::convolve(torch::cat({q0, k0}, 1).to(torch::kFloat32), w_, batch_, heads + kv_heads, bf16);
      const Tensor repeated = k.to(torch::kFloat32).repeat_interleave(heads / kv_heads, 1);
      const Tensor mean_q = (q.to(torch::kFloat32) + repeated) * 0.5;
      const Tensor mean_k = mean_q.view({n, kv_heads, heads / kv_heads, dim}).mean(2);
      q = mixed.narrow(1, 0, heads * dim).view({n, heads, dim}) + mean_q;
      k = mixed.narrow(1, heads * dim, kv_heads * dim).view({n, kv_heads, dim}) + mean_k;
      before = ops::shifted(before, 1, w_.v_delayed_bias, batch_);
    }
    q = ops::rotate(ops::to_length(q), rotation_.cos, rotation_.sin);
    k = ops::rotate(ops::to_length(k) * w_.temp.unsqueeze(1), rotation_.cos, rotation_.sin);
    const Tensor v = torch::cat({now, before}, 1).view({n, kv_heads, dim});
    const auto type = v.scalar_type();
    return ops::linear(ops::attend(q.to(type), k.to(type), v, batch_, window_), w_.o, w_.o_bias, bf16);
  }

  // Probabilities of the classes [N, E + 1], and the state for the next layer.
  Tensor route(const Tensor& x, const Tensor& before, Tensor& state) const {
    if (architecture_.router == RouterKind::linear) return at::softmax(at::linear(x, w_.router_out), 1);
    state = at::linear(x, w_.router_down, w_.router_down_bias);
    if (before.defined()) state = state + before * w_.router_state_scale;
    Tensor z = ops::rms_norm(state, w_.router_norm, config_.rms_norm_eps);
    z = at::gelu(at::linear(z, w_.router_fc1, w_.router_fc1_bias));
    z = at::gelu(at::linear(z, w_.router_fc2, w_.router_fc2_bias));
    return at::softmax(at::linear(z, w_.router_out), 1);
  }

  const Architecture& architecture_;
  const checkpoint::ModelConfig& config_;
  const LayerWeights& w_;
  const Batch& batch_;
  const Rotation& rotation_;
  int64_t window_;
  Compute compute_;
};

// A layer whose inside is forgotten after the forward pass and computed again in the backward pass, where the
// parameters receive their gradients directly.
class Checkpointed : public Function<Checkpointed> {
 public:
  using Run = std::function<State(const State&)>;

  static tensor_list forward(AutogradContext* context, const Tensor& stream, const Tensor& router, Run* run) {
    State out;
    {
      const torch::NoGradGuard no_grad;
      out = (*run)({stream, router});
    }
    context->save_for_backward({stream, router});
    context->saved_data["run"] = reinterpret_cast<int64_t>(run);
    return out.router.defined() ? tensor_list{out.stream, out.router} : tensor_list{out.stream};
  }

  static tensor_list backward(AutogradContext* context, tensor_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto* run = reinterpret_cast<Run*>(context->saved_data["run"].toInt());
    State in{saved[0].detach().requires_grad_(), saved[1]};
    if (in.router.defined()) in.router = in.router.detach().requires_grad_();
    State out;
    {
      const torch::AutoGradMode grad(true);
      out = (*run)(in);
    }
    tensor_list outputs, given;
    const auto add = [&](const Tensor& output, const Tensor& gradient) {
      if (!gradient.defined()) return;
      outputs.push_back(output);
      given.push_back(gradient);
    };
    add(out.stream, gradients[0]);
    if (gradients.size() > 1) add(out.router, gradients[1]);
    torch::autograd::backward(outputs, given);
    return {in.stream.grad(), in.router.defined() ? in.router.grad() : Tensor(), Tensor()};
  }
};

// What the backward pass of checkpointed layers reads: it must live as long as the graph.
struct Tape {
  std::deque<Checkpointed::Run> runs;
  std::deque<std::pair<checkpoint::LayerConfig, Rotation>> rotations;  // one per kind of layer; a model has two at most

  const Rotation& rotation(const checkpoint::LayerConfig& layer, const Tensor& positions) {
    for (const auto& [kind, known] : rotations) {
      if (kind == layer) return known;
    }
    return rotations.emplace_back(layer, rotation_of(layer, positions)).second;
  }
};

}  // namespace

Batch make_batch(const std::vector<std::vector<int32_t>>& documents, const std::vector<std::vector<uint8_t>>& loss,
                 torch::Device device) {
  Batch batch;
  std::vector<int64_t> tokens, positions, rows, targets;
  for (size_t d = 0; d < documents.size(); ++d) {
    const auto start = static_cast<int64_t>(tokens.size());
    batch.starts.push_back(start);
    for (size_t t = 0; t < documents[d].size(); ++t) {
      tokens.push_back(documents[d][t]);
      positions.push_back(static_cast<int64_t>(t));
      if (t == 0 || loss[d][t] == 0) continue;
      rows.push_back(start + static_cast<int64_t>(t) - 1);
      targets.push_back(documents[d][t]);
    }
  }
  batch.starts.push_back(static_cast<int64_t>(tokens.size()));
  const auto on_device = [&](const std::vector<int64_t>& values) { return torch::tensor(values, torch::kInt64).to(device); };
  batch.tokens = on_device(tokens);
  batch.positions = on_device(positions);
  batch.target_rows = on_device(rows);
  batch.targets = on_device(targets);
  return batch;
}

ForwardResult forward(const Weights& weights, const Architecture& architecture, const Batch& batch,
                      const Compute& compute) {
  const checkpoint::ModelConfig& config = architecture.model;
  ForwardResult result;
  result.loads.resize(weights.layers.size());
  State state;
  state.stream = (at::embedding(weights.embedding, batch.tokens) + weights.input_bias) * weights.input_scale;
  auto tape = std::make_shared<Tape>();
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const checkpoint::LayerConfig& layer = config.layers[i];
    const LayerForward run(architecture, weights.layers[i], batch, tape->rotation(layer, batch.positions),
                           layer.sliding_window, compute);
    if (!compute.checkpoint_layers) {
      state = run.run(state, &result.loads[i]);
      continue;
    }
    tape->runs.push_back([run, load = &result.loads[i]](const State& in) {
      return run.run(in, torch::GradMode::is_enabled() ? nullptr : load);
    });
    const tensor_list out = Checkpointed::apply(state.stream, state.router, &tape->runs.back());
    state = {out[0], out.size() > 1 ? out[1] : Tensor()};
  }
  result.tape = std::move(tape);
  result.hidden = ops::rms_norm(state.stream, weights.norm, config.rms_norm_eps);
  return result;
}

Tensor logits(const Weights& weights, const Tensor& hidden, const Compute& compute) {
  const Tensor& head = weights.head.defined() ? weights.head : weights.embedding;
  return ops::linear(hidden, head, weights.head_bias, compute.bf16).to(torch::kFloat32);
}

Tensor loss_sum(const Weights& weights, const Architecture&, const Tensor& hidden, const Batch& batch,
                const Compute& compute, Tensor* losses) {
  const Tensor rows = hidden.index_select(0, batch.target_rows);
  return ops::cross_entropy_sum(logits(weights, rows, compute), batch.targets, losses);
}

}  // namespace zaya::train
