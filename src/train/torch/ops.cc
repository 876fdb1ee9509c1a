#include "train/torch/ops.h"

#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <limits>

namespace zaya::train::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

// Tokens sorted by the expert they chose: one product per expert instead of one per token.
struct Dispatch {
  Tensor order;                 // [rows] int64: positions of the flattened choices, expert by expert, skips left out
  std::vector<int64_t> bounds;  // first row of each expert, and the end: E + 1
};

Dispatch dispatch(const Tensor& choice, int64_t experts) {
  const Tensor flat = choice.reshape({-1});
  const Tensor order = flat.argsort(/*stable=*/true, /*dim=*/0, /*descending=*/false);
  const Tensor counts = flat.bincount({}, experts + 1).to(torch::kCPU);
  Dispatch result;
  result.bounds.push_back(0);
  for (int64_t e = 0; e < experts; ++e) result.bounds.push_back(result.bounds.back() + counts[e].item<int64_t>());
  result.order = order.narrow(0, 0, result.bounds.back());
  return result;
}

// y = Σ weight · W_down (silu(g) · u), written by hand: autograd would keep every expert's slices apart and scatter
// each.
class Experts : public Function<Experts> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight, const Tensor& gate_up,
                        const Tensor& down, const Tensor& choice) {
    const int64_t k = choice.size(1), width = down.size(2);
    const Dispatch sorted = dispatch(choice, gate_up.size(0));
    const Tensor rows = k == 1 ? sorted.order : sorted.order.div(k, "floor");
    const Tensor xs = x.index_select(0, rows);
    const Tensor hidden = torch::empty({xs.size(0), 2 * width}, xs.options());
    const Tensor ys = torch::empty_like(xs);
    Tensor act = torch::empty({xs.size(0), width}, xs.options());
    for (size_t e = 0; e + 1 < sorted.bounds.size(); ++e) {
      const int64_t first = sorted.bounds[e], count = sorted.bounds[e + 1] - first;
      if (count == 0) continue;
      const auto index = static_cast<int64_t>(e);
      Tensor h = hidden.narrow(0, first, count), a = act.narrow(0, first, count), y = ys.narrow(0, first, count);
      at::mm_out(h, xs.narrow(0, first, count), gate_up[index].t());
      at::mul_out(a, at::silu(h.narrow(1, 0, width)), h.narrow(1, width, width));
      at::mm_out(y, a, down[index].t());
    }
    const Tensor ps = weight.reshape({-1}).index_select(0, sorted.order);
    Tensor out = torch::zeros(x.sizes(), x.options().dtype(torch::kFloat32));
    // Not mul_: to() copies nothing where ys is FP32 already, and the backward pass reads ys unweighted.
    out.index_add_(0, rows, ys.to(torch::kFloat32).mul(ps.unsqueeze(1)));
    context->save_for_backward({xs, hidden, ys, ps, sorted.order, rows, gate_up, down});
    context->saved_data["bounds"] = sorted.bounds;
    context->saved_data["weights"] = weight.sizes().vec();
    context->saved_data["shape"] = x.sizes().vec();
    return out;
  }

  static tensor_list backward(AutogradContext* context, tensor_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &xs = saved[0], &hidden = saved[1], &ys = saved[2], &ps = saved[3], &order = saved[4],
                 &rows = saved[5], &gate_up = saved[6], &down = saved[7];
    const std::vector<int64_t> bounds = context->saved_data["bounds"].toIntVector();
    const int64_t width = down.size(2);
    const Tensor dout = gradients[0].index_select(0, rows);
    Tensor dweight = torch::zeros(context->saved_data["weights"].toIntVector(), dout.options());
    dweight.view({-1}).index_put_({order}, dout.mul(ys).sum(1));
    const Tensor dys = dout.mul(ps.unsqueeze(1)).to(xs.scalar_type());
    const Tensor dxs = torch::empty_like(xs);
    Tensor dgate_up = torch::zeros_like(gate_up), ddown = torch::zeros_like(down);
    for (size_t e = 0; e + 1 < bounds.size(); ++e) {
      const int64_t first = bounds[e], count = bounds[e + 1] - first;
      if (count == 0) continue;
      const auto index = static_cast<int64_t>(e);
      const Tensor h = hidden.narrow(0, first, count), dy = dys.narrow(0, first, count);
      const Tensor g = h.narrow(1, 0, width), u = h.narrow(1, width, width);
      const Tensor act = at::silu(g), da = dy.mm(down[index]);
      Tensor dh = torch::empty_like(h), target = ddown[index];
      at::mm_out(target, dy.t(), at::mul(act, u));
      dh.narrow(1, width, width).copy_(da * act);
      dh.narrow(1, 0, width).copy_(at::silu_backward(da * u, g));
      target = dgate_up[index];
      at::mm_out(target, dh.t(), xs.narrow(0, first, count));
      Tensor dx = dxs.narrow(0, first, count);
      at::mm_out(dx, dh, gate_up[index]);
    }
    Tensor dx = torch::zeros(context->saved_data["shape"].toIntVector(), xs.options());
    dx.index_add_(0, rows, dxs);
    return {dx, dweight, dgate_up, ddown, Tensor()};
  }
};

// The softmax is computed once and serves both the value and the gradient.
class CrossEntropy : public Function<CrossEntropy> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& logits, const Tensor& targets, Tensor* losses) {
    const Tensor log_p = at::log_softmax(logits, 1, torch::kFloat32);
    const Tensor terms = log_p.gather(1, targets.unsqueeze(1)).squeeze(1).neg();
    if (losses != nullptr) *losses = terms;
    context->save_for_backward({log_p, targets});
    return terms.sum(torch::kFloat64).to(torch::kFloat32);
  }

  static tensor_list backward(AutogradContext* context, tensor_list gradients) {
    const auto saved = context->get_saved_variables();
    Tensor d = saved[0].exp();
    const Tensor targets = saved[1].unsqueeze(1);
    d.scatter_add_(1, targets, torch::full(targets.sizes(), -1.0, d.options()));
    d.mul_(gradients[0]);
    return {d, Tensor(), Tensor()};
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double epsilon) {
  const Tensor f = x.to(torch::kFloat32);
  return f * torch::rsqrt(f.square().mean(-1, true) + epsilon) * weight;
}

Tensor merge(const Tensor& branch, const Tensor& residual, const MergeWeights& w) {
  return (branch.to(torch::kFloat32) + w.branch_bias) * w.branch_scale +
         (residual + w.residual_bias) * w.residual_scale;
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool bf16) {
  if (!bf16) return at::linear(x.to(torch::kFloat32), weight, bias);
  const auto type = torch::kBFloat16;
  return at::linear(x.to(type), weight.to(type), bias.defined() ? bias.to(type) : bias);
}

Tensor shifted(const Tensor& x, int64_t steps, const Tensor& fill, const Batch& batch) {
  if (steps == 0) return x;
  const int64_t n = x.size(0);
  const Tensor none = torch::zeros({1}, x.options());
  const int64_t kept = std::max<int64_t>(0, n - steps);
  const Tensor moved = torch::cat({torch::zeros({n - kept, x.size(1)}, x.options()), x.narrow(0, 0, kept)});
  return torch::where((batch.positions >= steps).unsqueeze(1), moved, fill.defined() ? fill.to(x.dtype()) : none);
}

Tensor convolve(const Tensor& c0, const LayerWeights& w, const Batch& batch, int64_t heads, bool bf16) {
  const int64_t n = c0.size(0), channels = c0.size(1), dim = channels / heads;
  const int64_t time0 = w.depthwise.size(2), time1 = w.grouped.size(2);
  const auto type = bf16 ? torch::kBFloat16 : torch::kFloat32;
  Tensor c1 = w.depthwise_bias.expand({n, channels});
  for (int64_t j = 0; j < time0; ++j) {
    c1 = c1 + shifted(c0, time0 - 1 - j, {}, batch) * w.depthwise.select(2, j).squeeze(1);
  }
  // [heads, N, time1·D] times [heads, time1·D, D]; before a document's start c1 is the depthwise bias.
  std::vector<Tensor> taps;
  for (int64_t j = 0; j < time1; ++j) {
    taps.push_back(shifted(c1, time1 - 1 - j, w.depthwise_bias, batch).to(type).view({n, heads, dim}));
  }
  const Tensor columns = torch::cat(taps, 2).transpose(0, 1);
  const Tensor kernel =
      w.grouped.view({heads, dim, dim, time1}).permute({0, 3, 2, 1}).reshape({heads, time1 * dim, dim}).to(type);
  return at::bmm(columns, kernel).transpose(0, 1).reshape({n, channels}).to(torch::kFloat32) + w.grouped_bias;
}

Tensor to_length(const Tensor& x) {
  const Tensor f = x.to(torch::kFloat32);
  const Tensor length = f.norm(2, {-1}, true).clamp_min(std::numeric_limits<float>::epsilon());
  return f * (std::sqrt(static_cast<double>(x.size(-1))) / length);
}

Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  const int64_t half = cos.size(1);
  if (half == 0) return x;
  const Tensor c = cos.unsqueeze(1), s = sin.unsqueeze(1);
  const Tensor a = x.narrow(2, 0, half), b = x.narrow(2, half, half);
  const Tensor rest = x.narrow(2, 2 * half, x.size(2) - 2 * half);
  return torch::cat({a * c - b * s, b * c + a * s, rest}, 2);
}

Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Batch& batch, int64_t window) {
  const auto heads_first = [](const Tensor& x, int64_t first, int64_t count) {
    return x.narrow(0, first, count).transpose(0, 1).unsqueeze(0);
  };
  const bool grouped = q.size(1) != k.size(1);
  std::vector<Tensor> parts;
  for (size_t d = 0; d + 1 < batch.starts.size(); ++d) {
    const int64_t first = batch.starts[d], count = batch.starts[d + 1] - first;
    std::optional<Tensor> mask;
    if (window > 0 && window < count) {
      const Tensor ones = torch::ones({count, count}, q.options().dtype(torch::kBool));
      mask = ones.tril() & ones.triu(1 - window);
    }
    const Tensor out = at::scaled_dot_product_attention(
        heads_first(q, first, count), heads_first(k, first, count), heads_first(v, first, count), mask, 0.0,
        /*is_causal=*/!mask.has_value(), 1 / std::sqrt(static_cast<double>(q.size(2))), grouped);
    parts.push_back(out.squeeze(0).transpose(0, 1).reshape({count, -1}));
  }
  return torch::cat(parts);
}

Tensor experts(const Tensor& x, const Tensor& choice, const Tensor& weight, const Tensor& gate_up, const Tensor& down,
               bool bf16) {
  const auto type = bf16 ? torch::kBFloat16 : torch::kFloat32;
  return Experts::apply(x.to(type), weight, gate_up.to(type), down.to(type), choice);
}

Tensor cross_entropy_sum(const Tensor& logits, const Tensor& targets, Tensor* losses) {
  return CrossEntropy::apply(logits, targets, losses);
}

}  // namespace zaya::train::ops
