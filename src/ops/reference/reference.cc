#include "ops/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/select_experts.h"

namespace zaya::ops {

void ReferenceBackend::embed(const Matrix& embedding, std::span<const int32_t> tokens, const float* scale,
                             const float* bias, float* out) {
  const int64_t width = embedding.cols;
  for (size_t i = 0; i < tokens.size(); ++i) {
    for (int64_t c = 0; c < width; ++c) {
      out[static_cast<int64_t>(i) * width + c] = (embedding.at(tokens[i], c) + bias[c]) * scale[c];
    }
  }
}

void ReferenceBackend::rms_norm(const float* x, int64_t n, int64_t width, const float* weight, double eps, float* out) {
  for (int64_t i = 0; i < n; ++i, x += width, out += width) {
    double squares = 0;
    for (int64_t c = 0; c < width; ++c) squares += static_cast<double>(x[c]) * x[c];
    const float inverse = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(width) + eps));
    for (int64_t c = 0; c < width; ++c) out[c] = x[c] * inverse * weight[c];
  }
}

void ReferenceBackend::project(std::span<const Projection> projections, const float* x, int64_t n) {
  for (const Projection& p : projections) {
    const Matrix& w = *p.w;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t r = 0; r < w.rows; ++r) {
        double sum = 0;
        for (int64_t c = 0; c < w.cols; ++c) sum += static_cast<double>(w.at(r, c)) * x[i * w.cols + c];
        p.out[i * p.stride + r] = static_cast<float>(sum) + (p.bias != nullptr ? p.bias[r] : 0.0f);
      }
    }
  }
}

void ReferenceBackend::cca(const CcaShape& s, const CcaWeights& w, std::span<const Run> runs, const float* c0_rows,
                           const float* value_current, const float* value_delayed, const float* cos, const float* sin,
                           float* q_out) {
  const int64_t channels = s.channels(), history = s.history(), dim = s.head_dim, half_values = s.kv_width() / 2;
  const int64_t group = s.num_heads / s.num_kv_heads;  // query heads per KV head

  for (const Run& run : runs) {
    // c0 of the run behind the sequence's history: row `history + t` is the run's token t.
    std::vector<float> c0(static_cast<size_t>((history + run.count) * channels));
    std::copy_n(run.conv_history, history * channels, c0.begin());
    std::copy_n(c0_rows + run.first_row * channels, run.count * channels, c0.begin() + history * channels);

    // Depthwise convolution, also over the part of the history that the grouped one will look back on.
    const int64_t lookback = s.conv_time1 - 1;
    std::vector<float> c1(static_cast<size_t>((lookback + run.count) * channels));
    for (int64_t t = 0; t < lookback + run.count; ++t) {
      for (int64_t c = 0; c < channels; ++c) {
        float sum = w.depthwise_bias[c];
        for (int64_t tap = 0; tap < s.conv_time0; ++tap) {
          sum += w.depthwise[c * s.conv_time0 + tap] * c0[static_cast<size_t>((t + tap) * channels + c)];
        }
        c1[static_cast<size_t>(t * channels + c)] = sum;
      }
    }

    std::vector<float> mixed(static_cast<size_t>(channels)), mean_q(static_cast<size_t>(s.q_width()));
    for (int64_t t = 0; t < run.count; ++t) {
      const int64_t row = run.first_row + t, position = run.start + t;

      // Grouped convolution: each head's channels mix among themselves.
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t head_start = c / dim * dim;
        double sum = w.grouped_bias[c];
        for (int64_t tap = 0; tap < s.conv_time1; ++tap) {
          for (int64_t d = 0; d < dim; ++d) {
            sum += static_cast<double>(w.grouped.at(c, tap * dim + d)) *
                   c1[static_cast<size_t>((t + tap) * channels + head_start + d)];
          }
        }
        mixed[static_cast<size_t>(c)] = static_cast<float>(sum);
      }

      // Mean terms from the values before the convolutions.
      const float* q0 = c0.data() + (history + t) * channels;
      const float* k0 = q0 + s.q_width();
      for (int64_t h = 0; h < s.num_heads; ++h) {
        for (int64_t d = 0; d < dim; ++d) {
          const float mean = (q0[h * dim + d] + k0[h / group * dim + d]) * 0.5f;
          mean_q[static_cast<size_t>(h * dim + d)] = mean;
          mixed[static_cast<size_t>(h * dim + d)] += mean;
        }
      }
      for (int64_t g = 0; g < s.num_kv_heads; ++g) {
        for (int64_t d = 0; d < dim; ++d) {
          float sum = 0;
          for (int64_t h = g * group; h < (g + 1) * group; ++h) sum += mean_q[static_cast<size_t>(h * dim + d)];
          mixed[static_cast<size_t>(s.q_width() + g * dim + d)] += sum / static_cast<float>(group);
        }
      }

      // Each head to length √dim, keys times their temperature, then the rotation of the leading dims.
      const int64_t half = s.rotary_dims / 2;
      for (int64_t h = 0; h < s.num_heads + s.num_kv_heads; ++h) {
        float* head = mixed.data() + h * dim;
        double squares = 0;
        for (int64_t d = 0; d < dim; ++d) squares += static_cast<double>(head[d]) * head[d];
        const float length = std::max(static_cast<float>(std::sqrt(squares)), kNormFloor);
        float factor = std::sqrt(static_cast<float>(dim)) / length;
        if (h >= s.num_heads) factor *= w.temperature[h - s.num_heads];
        for (int64_t d = 0; d < dim; ++d) head[d] *= factor;
        for (int64_t i = 0; i < half; ++i) {
          const float a = head[i], b = head[i + half];
          head[i] = a * cos[row * half + i] - b * sin[row * half + i];
          head[i + half] = b * cos[row * half + i] + a * sin[row * half + i];
        }
      }

      std::copy_n(mixed.begin(), s.q_width(), q_out + row * s.q_width());
      // Values: the first half of the channels from this token, the second half from the one before.
      const float* delayed = t == 0 ? run.delayed_value : value_delayed + (row - 1) * half_values;
      for (int64_t g = 0; g < s.num_kv_heads; ++g) {
        store_kv(run.cache.type, mixed.data() + s.q_width() + g * dim, dim, run.cache.key(g, position));
        std::vector<float> value(static_cast<size_t>(dim));
        for (int64_t d = 0; d < dim; ++d) {
          const int64_t channel = g * dim + d;
          value[static_cast<size_t>(d)] =
              channel < half_values ? value_current[row * half_values + channel] : delayed[channel - half_values];
        }
        store_kv(run.cache.type, value.data(), dim, run.cache.value(g, position));
      }
    }

    std::copy_n(c0.begin() + run.count * channels, history * channels, run.conv_history);
    std::copy_n(value_delayed + (run.first_row + run.count - 1) * half_values, half_values, run.delayed_value);
  }
}

void ReferenceBackend::attend(const CcaShape& s, std::span<const Run> runs, const float* q, float* out) {
  const int64_t dim = s.head_dim, group = s.num_heads / s.num_kv_heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  std::vector<double> scores;
  std::vector<double> sum(static_cast<size_t>(dim));
  std::vector<float> stored(sum.size());
  for (const Run& run : runs) {
    for (int64_t t = 0; t < run.count; ++t) {
      const int64_t position = run.start + t;
      const int64_t first = s.sliding_window > 0 ? std::max<int64_t>(0, position - s.sliding_window + 1) : 0;
      for (int64_t h = 0; h < s.num_heads; ++h) {
        const float* query = q + (run.first_row + t) * s.q_width() + h * dim;
        const int64_t kv_head = h / group;
        scores.assign(static_cast<size_t>(position - first + 1), 0);
        double greatest = -INFINITY;
        for (int64_t j = first; j <= position; ++j) {
          load_kv(run.cache.type, run.cache.key(kv_head, j), dim, stored.data());
          double dot = 0;
          for (int64_t d = 0; d < dim; ++d) dot += static_cast<double>(query[d]) * stored[static_cast<size_t>(d)];
          scores[static_cast<size_t>(j - first)] = dot * scale;
          greatest = std::max(greatest, dot * scale);
        }
        double total = 0;
        for (double& score : scores) total += score = std::exp(score - greatest);
        std::fill(sum.begin(), sum.end(), 0.0);
        for (int64_t j = first; j <= position; ++j) {
          load_kv(run.cache.type, run.cache.value(kv_head, j), dim, stored.data());
          for (size_t d = 0; d < stored.size(); ++d) sum[d] += scores[static_cast<size_t>(j - first)] * stored[d];
        }
        float* result = out + (run.first_row + t) * s.q_width() + h * dim;
        for (int64_t d = 0; d < dim; ++d) result[d] = static_cast<float>(sum[static_cast<size_t>(d)] / total);
      }
    }
  }
}

void ReferenceBackend::merge(const ResidualScales& s, const float* branch, int64_t n, int64_t width, float* residual) {
  for (int64_t i = 0; i < n; ++i, branch += width, residual += width) {
    for (int64_t c = 0; c < width; ++c) {
      residual[c] =
          (branch[c] + s.branch_bias[c]) * s.branch_scale[c] + (residual[c] + s.residual_bias[c]) * s.residual_scale[c];
    }
  }
}

void ReferenceBackend::route(const RouterWeights& w, const float* x, int64_t n, int64_t top_k, float* state,
                             int32_t* choice, float* weight) {
  const int64_t width = w.down.rows, classes = w.out.rows;
  // GELU with the error function; the tanh form differs by up to 5e-4 and flips expert choices.
  const auto gelu = [](std::vector<float>& values) {
    for (float& v : values) v = 0.5f * v * (1.0f + std::erf(v * 0.70710678118654752f));
  };
  std::vector<float> down(static_cast<size_t>(n * width)), a(down.size()), b(down.size());
  std::vector<float> logits(static_cast<size_t>(n * classes));

  project(w.down, w.down_bias, x, n, down.data(), width);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < width; ++c) {
      float& value = down[static_cast<size_t>(i * width + c)];
      if (w.state_scale != nullptr) value += state[i * width + c] * w.state_scale[c];
      state[i * width + c] = value;  // what the next layer receives: the sum, before the norm
    }
  }
  rms_norm(down.data(), n, width, w.norm, w.norm_eps, a.data());
  project(w.fc1, w.fc1_bias, a.data(), n, b.data(), width);
  gelu(b);
  project(w.fc2, w.fc2_bias, b.data(), n, a.data(), width);
  gelu(a);
  project(w.out, nullptr, a.data(), n, logits.data(), classes);
  for (int64_t i = 0; i < n; ++i) {
    select_experts({logits.data() + i * classes, static_cast<size_t>(classes)}, w.balancing_bias, top_k,
                   choice + i * top_k, weight + i * top_k);
  }
}

void ReferenceBackend::experts(std::span<const Expert> experts, const float* x, int64_t n, int64_t top_k,
                               const int32_t* choice, const float* weight, float* out) {
  const int64_t hidden = experts[0].down.rows, width = experts[0].gate.rows;
  std::vector<float> gate(static_cast<size_t>(width)), up(gate.size()), result(static_cast<size_t>(hidden));
  std::fill_n(out, n * hidden, 0.0f);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < top_k; ++k) {
      const size_t chosen = static_cast<size_t>(choice[i * top_k + k]);
      if (chosen >= experts.size()) continue;  // the skip class
      const Expert& expert = experts[chosen];
      project(expert.gate, nullptr, x + i * hidden, 1, gate.data(), width);
      project(expert.up, nullptr, x + i * hidden, 1, up.data(), width);
      for (size_t c = 0; c < gate.size(); ++c) gate[c] = gate[c] / (1.0f + std::exp(-gate[c])) * up[c];
      project(expert.down, nullptr, gate.data(), 1, result.data(), hidden);
      for (int64_t c = 0; c < hidden; ++c)
        out[i * hidden + c] += weight[i * top_k + k] * result[static_cast<size_t>(c)];
    }
  }
}

}  // namespace zaya::ops
