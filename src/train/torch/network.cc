#include "train/torch/network.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/utils.h>

#include <cmath>
#include <deque>
#include <functional>
#include <utility>

#include "train/torch/fused.h"
#include "train/torch/ops.h"

namespace zaya::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

// docs/model.md, section 4, step 6; angles in FP32 as transformers computes them.
fused::Layout layout_of(const checkpoint::LayerConfig& layer, const Tensor& positions) {
  const auto options = positions.options().dtype(torch::kFloat32);
  const int64_t dims = layer.rotary_dims;
  const Tensor exponent = torch::arange(0, dims, 2, options) / static_cast<double>(std::max<int64_t>(dims, 1));
  const Tensor angle = positions.to(torch::kFloat32).unsqueeze(1) * torch::pow(layer.rope_theta, exponent).reciprocal();
  return {positions.to(torch::kInt32), angle.cos(), angle.sin()};
}

// What one layer hands to the next.
struct State {
  Tensor stream;  // [N, H] FP32
  Tensor normed;  // [N, H]: the stream after the norm that the next layer begins with, or the final one
  Tensor router;  // [N, R]; undefined before the first layer and with the linear router
};

fused::Normed merge_norm(const Tensor& branch, const Tensor& residual, const MergeWeights& merge, const Tensor& norm,
                         double epsilon, const Compute& compute) {
  if (compute.fused) return fused::merge_norm(branch, residual, merge, norm, epsilon, compute.bf16);
  const Tensor stream = branch.defined() ? ops::merge(branch, residual, merge) : residual;
  return {stream, ops::rms_norm(stream, norm, epsilon)};
}

class LayerForward {
 public:
  // `next_norm` is the norm that follows this layer.
  LayerForward(const Architecture& architecture, const LayerWeights& weights, const Tensor& next_norm,
               const Batch& batch, const fused::Layout& layout, int64_t window, const Compute& compute)
      : architecture_(architecture),
        config_(architecture.model),
        w_(weights),
        next_norm_(next_norm),
        batch_(batch),
        layout_(layout),
        window_(window),
        compute_(compute) {}

  State run(const State& in, Tensor* load) const {
    const double epsilon = config_.rms_norm_eps;
    const auto [stream, x] =
        merge_norm(attend(in.normed), in.stream, w_.after_attention, w_.expert_norm, epsilon, compute_);
    State out;
    const Tensor p = route(x.to(torch::kFloat32), in.router, out.router);
    const Tensor biased = p.detach() + w_.balancing_biases;
    const int64_t k = config_.experts_per_token;
    const Tensor choice = k == 1 ? biased.argmax(1, true) : std::get<1>(biased.topk(k, 1));
    if (load != nullptr) {
      const Tensor counted = choice.narrow(0, 0, batch_.size() - batch_.padding);
      *load = counted.reshape({-1}).bincount({}, config_.router_classes());
    }
    const Tensor weight = p.gather(1, choice);
    const Tensor branch = compute_.fused && k == 1
                              ? fused::experts(x, choice, weight, w_.gate_up, w_.down)
                              : ops::experts(x, choice, weight, w_.gate_up, w_.down, compute_.bf16);
    fused::Normed next = merge_norm(branch, stream, w_.after_experts, next_norm_, epsilon, compute_);
    out.stream = next.stream;
    out.normed = next.normed;
    return out;
  }

 private:
  Tensor attend(const Tensor& x) const {
    const bool bf16 = compute_.bf16, cca = architecture_.attention == AttentionKind::cca;
    if (compute_.fused && fused::covers(architecture_)) {
      return ops::linear(fused::cca(x, w_, architecture_, batch_, layout_, window_), w_.o, {}, bf16);
    }
    const int64_t n = x.size(0), heads = config_.num_heads, kv_heads = config_.num_kv_heads, dim = config_.head_dim;
    const Tensor q0 = ops::linear(x, w_.q, w_.q_bias, bf16), k0 = ops::linear(x, w_.k, w_.k_bias, bf16);
    Tensor q = q0.view({n, heads, dim}), k = k0.view({n, kv_heads, dim});
    const Tensor now = ops::linear(x, w_.v_current, w_.v_current_bias, bf16);
    Tensor before = ops::linear(x, w_.v_delayed, w_.v_delayed_bias, bf16);
    if (cca) {
      const Tensor mixed =
          ops::convolve(torch::cat({q0, k0}, 1).to(torch::kFloat32), w_, batch_, heads + kv_heads, bf16);
      const Tensor repeated = k.to(torch::kFloat32).repeat_interleave(heads / kv_heads, 1);
      const Tensor mean_q = (q.to(torch::kFloat32) + repeated) * 0.5;
      const Tensor mean_k = mean_q.view({n, kv_heads, heads / kv_heads, dim}).mean(2);
      q = mixed.narrow(1, 0, heads * dim).view({n, heads, dim}) + mean_q;
      k = mixed.narrow(1, heads * dim, kv_heads * dim).view({n, kv_heads, dim}) + mean_k;
      before = ops::shifted(before, 1, w_.v_delayed_bias, batch_);
    }
    q = ops::rotate(ops::to_length(q), layout_.cos, layout_.sin);
    k = ops::rotate(ops::to_length(k) * w_.temp.unsqueeze(1), layout_.cos, layout_.sin);
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
  const Tensor& next_norm_;
  const Batch& batch_;
  const fused::Layout& layout_;
  int64_t window_;
  Compute compute_;
};

// A layer whose inside is forgotten after the forward pass and computed again in the backward pass, where the
// parameters receive their gradients directly.
class Checkpointed : public Function<Checkpointed> {
 public:
  using Run = std::function<State(const State&)>;

  static tensor_list forward(AutogradContext* context, const Tensor& stream, const Tensor& normed,
                             const std::optional<Tensor>& given, Run* run) {
    const Tensor router = given.value_or(Tensor());
    State out;
    {
      const torch::NoGradGuard no_grad;
      out = (*run)({stream, normed, router});
    }
    context->save_for_backward({stream, normed, router});
    context->saved_data["run"] = reinterpret_cast<int64_t>(run);
    tensor_list result = {out.stream, out.normed};
    if (out.router.defined()) result.push_back(out.router);
    return result;
  }

  static tensor_list backward(AutogradContext* context, tensor_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto* run = reinterpret_cast<Run*>(context->saved_data["run"].toInt());
    const auto leaf = [](const Tensor& x) { return x.defined() ? x.detach().requires_grad_() : x; };
    const State in{leaf(saved[0]), leaf(saved[1]), leaf(saved[2])};
    State out;
    {
      const torch::AutoGradMode grad(true);
      out = (*run)(in);
    }
    const Tensor outputs[] = {out.stream, out.normed, out.router};
    tensor_list reached, given;
    for (size_t i = 0; i < gradients.size(); ++i) {
      if (!gradients[i].defined()) continue;
      reached.push_back(outputs[i]);
      given.push_back(gradients[i]);
    }
    torch::autograd::backward(reached, given);
    const auto gradient = [](const Tensor& x) { return x.defined() ? x.grad() : Tensor(); };
    return {gradient(in.stream), gradient(in.normed), gradient(in.router), Tensor()};
  }
};

// What the backward pass of checkpointed layers reads: it must live as long as the graph.
struct Tape {
  std::deque<Checkpointed::Run> runs;
  std::deque<std::pair<checkpoint::LayerConfig, fused::Layout>>
      layouts;  // one per kind of layer, of which there are two

  const fused::Layout& layout(const checkpoint::LayerConfig& layer, const Tensor& positions) {
    for (const auto& [kind, known] : layouts) {
      if (kind == layer) return known;
    }
    return layouts.emplace_back(layer, layout_of(layer, positions)).second;
  }
};

}  // namespace

Batch make_batch(const std::vector<std::vector<int32_t>>& documents, const std::vector<std::vector<uint8_t>>& loss,
                 int64_t multiple, torch::Device device) {
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
  while (static_cast<int64_t>(tokens.size()) % multiple != 0) {
    tokens.push_back(0);
    positions.push_back(batch.padding++);
  }
  if (batch.padding > 0) batch.starts.push_back(static_cast<int64_t>(tokens.size()));
  const auto on_device = [&](const std::vector<int64_t>& values) {
    return torch::tensor(values, torch::kInt64).to(device);
  };
  batch.tokens = on_device(tokens);
  batch.positions = on_device(positions);
  batch.target_rows = on_device(rows);
  batch.targets = on_device(targets);
  return batch;
}

ForwardResult forward(const Weights& weights, const Architecture& architecture, const Batch& batch,
                      const Compute& given) {
  const checkpoint::ModelConfig& config = architecture.model;
  Compute compute = given;
  compute.fused = given.fused && batch.tokens.is_cpu();
  ForwardResult result;
  result.loads.resize(weights.layers.size());
  auto tape = std::make_shared<Tape>();
  const Tensor embedded = at::embedding(weights.embedding, batch.tokens);
  const Tensor& first_norm = weights.layers.empty() ? weights.norm : weights.layers[0].input_norm;
  const fused::Normed start = merge_norm({}, (embedded + weights.input_bias) * weights.input_scale, {}, first_norm,
                                         config.rms_norm_eps, compute);
  State state{start.stream, start.normed, {}};
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const checkpoint::LayerConfig& layer = config.layers[i];
    const Tensor& next_norm = i + 1 < weights.layers.size() ? weights.layers[i + 1].input_norm : weights.norm;
    const LayerForward run(architecture, weights.layers[i], next_norm, batch, tape->layout(layer, batch.positions),
                           layer.sliding_window, compute);
    if (!compute.checkpoint_layers) {
      state = run.run(state, &result.loads[i]);
      continue;
    }
    tape->runs.push_back([run, load = &result.loads[i]](const State& in) {
      return run.run(in, torch::GradMode::is_enabled() ? nullptr : load);
    });
    // An absent tensor must come as no tensor at all.
    const auto router = state.router.defined() ? std::optional<Tensor>(state.router) : std::nullopt;
    const tensor_list out = Checkpointed::apply(state.stream, state.normed, router, &tape->runs.back());
    state = {out[0], out[1], out.size() > 2 ? out[2] : Tensor()};
  }
  result.tape = std::move(tape);
  result.hidden = state.normed;
  return result;
}

Tensor logits(const Weights& weights, const Tensor& hidden, const Compute& compute) {
  const Tensor& head = weights.head.defined() ? weights.head : weights.embedding;
  return ops::linear(hidden, head, weights.head_bias, compute.bf16).to(torch::kFloat32);
}

Tensor loss_sum(const Weights& weights, const Architecture&, const Tensor& hidden, const Batch& batch,
                const Compute& compute, Tensor* losses) {
  const Tensor rows = hidden.index_select(0, batch.target_rows);
  if (compute.fused && rows.is_cpu() && !weights.head_bias.defined()) {
    return fused::head_loss(rows, weights.head.defined() ? weights.head : weights.embedding, batch.targets, losses);
  }
  return ops::cross_entropy_sum(logits(weights, rows, compute), batch.targets, losses);
}

}  // namespace zaya::train
