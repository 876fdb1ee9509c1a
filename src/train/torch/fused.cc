#include "train/torch/fused.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/utils.h>

#include <cmath>

#include "train/kernels/kernels.h"

namespace zaya::train::fused {
namespace {

using kernels::Bf16;
using kernels::Range;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

template <class T>
T* data(const Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.data_ptr()) : nullptr;
}

// Calls work.template operator()<T>() with the element type of `tensor`.
template <class Work>
void typed(const Tensor& tensor, const Work& work) {
  if (tensor.scalar_type() == torch::kBFloat16) {
    work.template operator()<Bf16>();
  } else {
    work.template operator()<float>();
  }
}

// oneDNN generates machine code for each new shape of a product, which takes longer than a small product itself, and
// keeps what it generated: rows come in multiples.
int64_t padded(int64_t rows) { return (rows + 63) / 64 * 64; }

// Splits the rows over the threads in fixed parts, so that sums over rows do not depend on who was free.
template <class Work>
void parallel(int64_t rows, const Work& work) {
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), rows));
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) work(Range{rows * part / parts, rows * (part + 1) / parts}, part);
  });
}

Tensor partial_sums(int64_t rows, int64_t width) {
  return torch::zeros({std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), rows)), width}, torch::kFloat32);
}

kernels::MergeVectors vectors(const Tensor& scale, const Tensor& bias, const Tensor& rscale, const Tensor& rbias) {
  return {data<const float>(scale), data<const float>(bias), data<const float>(rscale), data<const float>(rbias)};
}

class MergeNorm : public Function<MergeNorm> {
 public:
  // Without a branch, the merge's vectors are not there either (an absent tensor must come as no tensor at all).
  static tensor_list forward(AutogradContext* context, const std::optional<Tensor>& given, const Tensor& residual,
                             const std::optional<Tensor>& given_scale, const std::optional<Tensor>& given_bias,
                             const std::optional<Tensor>& given_rscale, const std::optional<Tensor>& given_rbias,
                             const Tensor& norm, double epsilon, bool bf16) {
    const Tensor none, &branch = given ? *given : none, &scale = given ? *given_scale : none,
                       &bias = given ? *given_bias : none, &rscale = given ? *given_rscale : none,
                       &rbias = given ? *given_rbias : none;
    context->set_materialize_grads(false);  // nobody may read the last stream
    const int64_t n = residual.size(0), width = residual.size(1);
    const Tensor stream = branch.defined() ? torch::empty_like(residual) : residual;
    const Tensor normed = torch::empty({n, width}, residual.options().dtype(bf16 ? torch::kBFloat16 : torch::kFloat32));
    const Tensor rstd = torch::empty({n}, residual.options());
    const auto merge = vectors(scale, bias, rscale, rbias);
    typed(normed, [&]<class T>() {
      parallel(n, [&](Range rows, int64_t) {
        kernels::merge_norm<T>(rows, width, data<T>(branch), data<float>(residual), merge, data<float>(norm),
                               static_cast<float>(epsilon), data<float>(stream), data<T>(normed), data<float>(rstd));
      });
    });
    context->save_for_backward(
        {branch, residual, scale, bias, rscale, rbias, norm, rstd, branch.defined() ? stream : Tensor()});
    if (!branch.defined()) return {normed};
    return {normed, stream};
  }

  static tensor_list backward(AutogradContext* context, tensor_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &branch = saved[0], &residual = saved[1], &norm = saved[6], &rstd = saved[7];
    const Tensor& stream = branch.defined() ? saved[8] : residual;
    const int64_t n = residual.size(0), width = residual.size(1);
    const Tensor dnormed = gradients[0].contiguous();
    const Tensor dstream = gradients.size() > 1 && gradients[1].defined() ? gradients[1].contiguous() : Tensor();
    const Tensor dresidual = torch::empty_like(residual);
    const Tensor dbranch = branch.defined() ? torch::empty_like(branch) : Tensor();
    const Tensor parts = partial_sums(n, 6 * width);
    const auto merge = vectors(saved[2], saved[3], saved[4], saved[5]);
    typed(dnormed, [&]<class T>() {
      parallel(n, [&](Range rows, int64_t part) {
        kernels::merge_norm_backward<T>(rows, width, data<T>(branch), data<float>(residual), merge, data<float>(norm),
                                        data<float>(stream), data<float>(rstd), data<T>(dnormed), data<float>(dstream),
                                        data<T>(dbranch), data<float>(dresidual), data<float>(parts[part]));
      });
    });
    const Tensor sums = parts.sum(0).view({6, width});
    const Tensor dnorm = sums[0];
    if (!branch.defined())
      return {Tensor(), dresidual, Tensor(), Tensor(), Tensor(), Tensor(), dnorm, Tensor(), Tensor()};
    const Tensor total = sums[1];
    return {dbranch,
            dresidual,
            sums[2] + saved[3] * total,
            saved[2] * total,
            sums[3] + saved[5] * total,
            saved[4] * total,
            dnorm,
            Tensor(),
            Tensor()};
  }
};

// From the projected rows to q, k and v as attention reads them.
class CcaMix : public Function<CcaMix> {
 public:
  static tensor_list forward(AutogradContext* context, const Tensor& projected, const Tensor& kernel,
                             const Tensor& constant, const Tensor& temp, const kernels::CcaShape& shape,
                             const Layout& layout) {
    const kernels::CcaShape& s = shape;
    const auto options = projected.options();
    const Tensor columns = torch::empty({s.groups(), s.tokens, s.taps * s.dim}, options);
    const Tensor q = torch::empty({s.heads, s.tokens, s.dim}, options);
    const Tensor k = torch::empty({s.kv_heads, s.tokens, s.dim}, options), v = torch::empty_like(k);
    const auto* positions = data<const int32_t>(layout.positions);
    Tensor mixed;
    typed(projected, [&]<class T>() {
      parallel(s.tokens, [&](Range tokens, int64_t) {
        kernels::cca_columns<T>(tokens, s, data<T>(projected), positions, data<T>(columns));
      });
      mixed = columns.bmm(kernel);
      parallel(s.tokens, [&](Range tokens, int64_t) {
        kernels::cca_mix<T>(tokens, s, data<T>(projected), positions, data<T>(mixed), data<float>(constant),
                            data<float>(temp), data<float>(layout.cos), data<float>(layout.sin), data<T>(q), data<T>(k),
                            data<T>(v));
      });
    });
    context->save_for_backward(
        {projected, kernel, constant, temp, mixed, columns, layout.positions, layout.cos, layout.sin});
    context->saved_data["shape"] = std::vector<int64_t>{s.tokens, s.heads, s.kv_heads, s.dim, s.taps, s.rotary_half};
    return {q, k, v};
  }

  static tensor_list backward(AutogradContext* context, tensor_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &projected = saved[0], &kernel = saved[1], &constant = saved[2], &temp = saved[3], &mixed = saved[4],
                 &columns = saved[5];
    const std::vector<int64_t> sizes = context->saved_data["shape"].toIntVector();
    const kernels::CcaShape s{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]};
    const Tensor dq = gradients[0].contiguous(), dk = gradients[1].contiguous(), dv = gradients[2].contiguous();
    const Tensor dmixed = torch::empty_like(mixed), dprojected = torch::empty_like(projected);
    const Tensor parts = partial_sums(s.tokens, s.groups() * s.dim + s.kv_heads);
    const auto* positions = data<const int32_t>(saved[6]);
    Tensor dkernel;
    typed(projected, [&]<class T>() {
      parallel(s.tokens, [&](Range tokens, int64_t part) {
        kernels::cca_mix_backward<T>(tokens, s, data<T>(projected), positions, data<T>(mixed), data<float>(constant),
                                     data<float>(temp), data<float>(saved[7]), data<float>(saved[8]), data<T>(dq),
                                     data<T>(dk), data<T>(dv), data<T>(dmixed), data<T>(dprojected),
                                     data<float>(parts[part]));
      });
      const Tensor dcolumns = dmixed.bmm(kernel.transpose(1, 2));
      dkernel = columns.transpose(1, 2).bmm(dmixed);
      parallel(s.tokens, [&](Range tokens, int64_t) {
        kernels::cca_columns_backward<T>(tokens, s, positions, data<T>(dcolumns), data<T>(dprojected));
      });
    });
    const Tensor sums = parts.sum(0);
    return {dprojected, dkernel, sums.narrow(0, 0, s.groups() * s.dim), sums.narrow(0, s.groups() * s.dim, s.kv_heads),
            Tensor(),   Tensor()};
  }
};

// Causal attention document by document through libtorch's own flash attention. q [Q, N, D]; k, v [K, N, D].
class Attend : public Function<Attend> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& q, const Tensor& k, const Tensor& v,
                        const std::vector<int64_t>& starts, int64_t window) {
    const int64_t repeat = q.size(0) / k.size(0);
    const Tensor keys = k.repeat_interleave(repeat, 0), values = v.repeat_interleave(repeat, 0);
    // [N, Q, D], so that the output projection reads rows.
    const Tensor out = torch::empty({q.size(1), q.size(0), q.size(2)}, q.options());
    const Tensor log_sums = torch::empty({q.size(1), q.size(0)}, q.options().dtype(torch::kFloat32));
    for (size_t d = 0; d + 1 < starts.size(); ++d) {
      const int64_t first = starts[d], count = starts[d + 1] - first;
      const auto mask = mask_of(count, window, q);
      const auto [part, sums] = at::_scaled_dot_product_flash_attention_for_cpu(
          slice(q, first, count), slice(keys, first, count), slice(values, first, count), 0.0, !mask.has_value(), mask,
          scale_of(q));
      out.narrow(0, first, count).copy_(part.squeeze(0).transpose(0, 1));
      log_sums.narrow(0, first, count).copy_(sums.squeeze(0).t());
    }
    context->save_for_backward({q, keys, values, out, log_sums});
    context->saved_data["starts"] = starts;
    context->saved_data["window"] = window;
    context->saved_data["repeat"] = repeat;
    return out.view({q.size(1), -1});
  }

  static tensor_list backward(AutogradContext* context, tensor_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &q = saved[0], &keys = saved[1], &values = saved[2], &log_sums = saved[4];
    const std::vector<int64_t> starts = context->saved_data["starts"].toIntVector();
    const int64_t window = context->saved_data["window"].toInt(), repeat = context->saved_data["repeat"].toInt();
    const Tensor dout = gradients[0].view(saved[3].sizes()).transpose(0, 1), out = saved[3].transpose(0, 1);
    const Tensor dq = torch::empty_like(q), dkeys = torch::empty_like(keys), dvalues = torch::empty_like(values);
    for (size_t d = 0; d + 1 < starts.size(); ++d) {
      const int64_t first = starts[d], count = starts[d + 1] - first;
      const auto mask = mask_of(count, window, q);
      const auto [a, b, c] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          slice(dout, first, count), slice(q, first, count), slice(keys, first, count), slice(values, first, count),
          slice(out, first, count), log_sums.narrow(0, first, count).t().unsqueeze(0), 0.0, !mask.has_value(), mask,
          scale_of(q));
      dq.narrow(1, first, count).copy_(a.squeeze(0));
      dkeys.narrow(1, first, count).copy_(b.squeeze(0));
      dvalues.narrow(1, first, count).copy_(c.squeeze(0));
    }
    const auto fold = [&](const Tensor& x) {
      return repeat == 1 ? x : x.view({x.size(0) / repeat, repeat, x.size(1), x.size(2)}).sum(1);
    };
    return {dq, fold(dkeys), fold(dvalues), Tensor(), Tensor()};
  }

 private:
  static Tensor slice(const Tensor& x, int64_t first, int64_t count) { return x.narrow(1, first, count).unsqueeze(0); }
  static double scale_of(const Tensor& q) { return 1 / std::sqrt(static_cast<double>(q.size(2))); }
  static std::optional<Tensor> mask_of(int64_t count, int64_t window, const Tensor& like) {
    if (window <= 0 || window >= count) return std::nullopt;
    const Tensor ones = torch::ones({count, count}, torch::kBool);
    const Tensor seen = ones.tril() & ones.triu(1 - window);
    return torch::zeros({count, count}, like.options()).masked_fill_(~seen, -INFINITY);
  }
};

// One product per expert over the tokens that chose it.
class Experts : public Function<Experts> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight, const Tensor& gate_up,
                        const Tensor& down, const Tensor& choice) {
    const int64_t experts = gate_up.size(0), width = down.size(2), hidden_size = x.size(1), n = x.size(0);
    // A counting sort of the tokens by expert; those that skip are left out.
    const auto* chosen = data<const int64_t>(choice);
    std::vector<int64_t> counts(static_cast<size_t>(experts) + 1, 0), bounds = {0};
    for (int64_t t = 0; t < n; ++t) ++counts[static_cast<size_t>(chosen[t])];
    for (int64_t e = 0; e < experts; ++e) bounds.push_back(bounds.back() + padded(counts[static_cast<size_t>(e)]));
    const int64_t rows = bounds.back();
    const bool all = counts.back() == 0;
    const Tensor index = torch::full({rows}, -1, torch::kInt64);
    {
      std::vector<int64_t> next = bounds;
      auto* to = data<int64_t>(index);
      for (int64_t t = 0; t < n; ++t) {
        if (chosen[t] < experts) to[next[static_cast<size_t>(chosen[t])]++] = t;
      }
    }
    const Tensor xs = torch::empty({rows, hidden_size}, x.options()), ys = torch::empty_like(xs);
    const Tensor hidden = torch::empty({rows, 2 * width}, x.options()), act = torch::empty({rows, width}, x.options());
    const Tensor out = all ? torch::empty_like(x) : torch::zeros_like(x);
    typed(x, [&]<class T>() {
      parallel(rows, [&](Range r, int64_t) {
        kernels::gather<T>(r, hidden_size, data<const int64_t>(index), data<T>(x), data<T>(xs));
      });
      products(bounds, hidden, xs, gate_up, true);
      parallel(rows, [&](Range r, int64_t) { kernels::swiglu<T>(r, width, data<T>(hidden), data<T>(act)); });
      products(bounds, ys, act, down, true);
      parallel(rows, [&](Range r, int64_t) {
        kernels::scatter_weighted<T>(r, hidden_size, data<const int64_t>(index), data<float>(weight), data<T>(ys),
                                     data<T>(out));
      });
    });
    context->save_for_backward({xs, hidden, ys, weight, index, gate_up, down});
    context->saved_data["bounds"] = bounds;
    context->saved_data["all"] = all;
    return out;
  }

  static tensor_list backward(AutogradContext* context, tensor_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &xs = saved[0], &hidden = saved[1], &ys = saved[2], &weight = saved[3], &index = saved[4],
                 &gate_up = saved[5], &down = saved[6];
    const std::vector<int64_t> bounds = context->saved_data["bounds"].toIntVector();
    const bool all = context->saved_data["all"].toBool();
    const int64_t n = weight.size(0), rows = xs.size(0), width = down.size(2), h = xs.size(1);
    const Tensor dout = gradients[0].contiguous();
    const Tensor dys = torch::empty_like(ys), dact = torch::empty({rows, width}, xs.options());
    const Tensor act = torch::empty_like(dact), dhidden = torch::empty_like(hidden), dxs = torch::empty_like(xs);
    const Tensor dweight = torch::zeros({n, 1}, torch::kFloat32);
    const Tensor dx = all ? torch::empty({n, h}, xs.options()) : torch::zeros({n, h}, xs.options());
    const Tensor dgate_up = torch::zeros_like(gate_up), ddown = torch::zeros_like(down);
    typed(xs, [&]<class T>() {
      parallel(rows, [&](Range r, int64_t) {
        kernels::gather_weighted<T>(r, h, data<const int64_t>(index), data<float>(weight), data<T>(dout), data<T>(ys),
                                    data<T>(dys), data<float>(dweight));
      });
      products(bounds, dact, dys, down, false);
      parallel(rows, [&](Range r, int64_t) {
        kernels::swiglu_backward<T>(r, width, data<T>(hidden), data<T>(dact), data<T>(dhidden), data<T>(act));
      });
      weight_products(bounds, ddown, dys, act);
      products(bounds, dxs, dhidden, gate_up, false);
      weight_products(bounds, dgate_up, dhidden, xs);
      parallel(rows, [&](Range r, int64_t) {
        kernels::scatter_weighted<T>(r, h, data<const int64_t>(index), nullptr, data<T>(dxs), data<T>(dx));
      });
    });
    return {dx, dweight, dgate_up, ddown, Tensor()};
  }

 private:
  // out[e's rows] = in[e's rows] · W_e (transposed when asked for).
  static void products(const std::vector<int64_t>& bounds, const Tensor& out, const Tensor& in, const Tensor& weights,
                       bool transposed) {
    for (size_t e = 0; e + 1 < bounds.size(); ++e) {
      const int64_t first = bounds[e], count = bounds[e + 1] - first;
      if (count == 0) continue;
      const Tensor w = weights[static_cast<int64_t>(e)];
      Tensor to = out.narrow(0, first, count);
      at::mm_out(to, in.narrow(0, first, count), transposed ? w.t() : w);
    }
  }

  // dW_e = a[e's rows]ᵀ · b[e's rows].
  static void weight_products(const std::vector<int64_t>& bounds, const Tensor& out, const Tensor& a, const Tensor& b) {
    for (size_t e = 0; e + 1 < bounds.size(); ++e) {
      const int64_t first = bounds[e], count = bounds[e + 1] - first;
      if (count == 0) continue;
      Tensor to = out[static_cast<int64_t>(e)];
      at::mm_out(to, a.narrow(0, first, count).t(), b.narrow(0, first, count));
    }
  }
};

class HeadLoss : public Function<HeadLoss> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& head, const Tensor& targets,
                        Tensor* losses) {
    const int64_t rows = x.size(0), extra = padded(rows) - rows;
    const Tensor in = extra == 0 ? x : torch::cat({x, torch::zeros({extra, x.size(1)}, x.options())});
    const Tensor wanted = extra == 0 ? targets : torch::cat({targets, torch::full({extra}, -1, targets.options())});
    const Tensor logits = in.mm(head.t());
    const Tensor terms = torch::empty({rows + extra}, torch::kFloat32);
    typed(x, [&]<class T>() {
      parallel(rows + extra, [&](Range r, int64_t) {
        kernels::cross_entropy<T>(r, head.size(0), data<const int64_t>(wanted), data<T>(logits), data<float>(terms));
      });
    });
    context->save_for_backward({in, head, logits});  // by now the gradient by the logits
    context->saved_data["rows"] = rows;
    if (losses != nullptr) *losses = terms.narrow(0, 0, rows);
    return terms.sum(torch::kFloat64).to(torch::kFloat32);
  }

  static tensor_list backward(AutogradContext* context, tensor_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor factor = gradients[0].to(saved[2].scalar_type());
    // The factor goes onto the smaller results.
    const Tensor dx = saved[2].mm(saved[1]).mul_(factor).narrow(0, 0, context->saved_data["rows"].toInt());
    const Tensor dhead = saved[2].t().mm(saved[0]).to(torch::kFloat32).mul_(gradients[0]);
    return {dx, dhead.to(saved[1].scalar_type()), Tensor(), Tensor()};
  }
};

}  // namespace

bool covers(const Architecture& architecture) {
  const checkpoint::ModelConfig& c = architecture.model;
  return architecture.attention == AttentionKind::cca && !c.attention_bias && c.num_heads / c.num_kv_heads <= 8;
}

Normed merge_norm(const Tensor& branch, const Tensor& residual, const MergeWeights& m, const Tensor& norm,
                  double epsilon, bool bf16) {
  const auto maybe = [&](const Tensor& x) { return branch.defined() ? std::optional<Tensor>(x) : std::nullopt; };
  const tensor_list out = MergeNorm::apply(maybe(branch), residual, maybe(m.branch_scale), maybe(m.branch_bias),
                                           maybe(m.residual_scale), maybe(m.residual_bias), norm, epsilon, bf16);
  return {out.size() > 1 ? out[1] : residual, out[0]};
}

Tensor cca(const Tensor& x, const LayerWeights& w, const Architecture& architecture, const Batch& batch,
           const Layout& layout, int64_t window) {
  const checkpoint::ModelConfig& c = architecture.model;
  const auto type = x.scalar_type();
  const kernels::CcaShape shape{x.size(0),  c.num_heads,          c.num_kv_heads,
                                c.head_dim, c.conv_history() + 1, layout.cos.size(1)};
  const Tensor projected = at::linear(x, torch::cat({w.q, w.k, w.v_current, w.v_delayed}).to(type));
  // Two convolutions without anything between are one: tap j0 + j1 of it is A_j1 · diag(w_j0); the depthwise bias
  // passes through every A. Before a document's start c0 is zero and c1 the depthwise bias, which is what that gives.
  const int64_t groups = shape.groups(), dim = shape.dim;
  const Tensor a = w.grouped.view({groups, dim, dim, c.conv_time1});  // [group, out, in, tap]
  const Tensor d = w.depthwise.view({groups, 1, dim, c.conv_time0});
  std::vector<Tensor> taps(static_cast<size_t>(shape.taps));
  for (int64_t j1 = 0; j1 < c.conv_time1; ++j1) {
    for (int64_t j0 = 0; j0 < c.conv_time0; ++j0) {
      Tensor& tap = taps[static_cast<size_t>(j0 + j1)];
      const Tensor product = a.select(3, j1) * d.select(3, j0);
      tap = tap.defined() ? tap + product : product;
    }
  }
  const Tensor kernel = torch::cat(taps, 2).transpose(1, 2).to(type).contiguous();  // [group, taps·in, out]
  const Tensor constant = (a.sum(3) * w.depthwise_bias.view({groups, 1, dim})).sum(2).view({-1}) + w.grouped_bias;
  const tensor_list qkv = CcaMix::apply(projected, kernel, constant, w.temp, shape, layout);
  return Attend::apply(qkv[0], qkv[1], qkv[2], batch.starts, window);
}

Tensor experts(const Tensor& x, const Tensor& choice, const Tensor& weight, const Tensor& gate_up, const Tensor& down) {
  return Experts::apply(x, weight, gate_up.to(x.scalar_type()), down.to(x.scalar_type()), choice);
}

Tensor head_loss(const Tensor& x, const Tensor& head, const Tensor& targets, Tensor* losses) {
  return HeadLoss::apply(x, head.to(x.scalar_type()), targets, losses);
}

}  // namespace zaya::train::fused
