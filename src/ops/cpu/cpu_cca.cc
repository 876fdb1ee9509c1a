// cca() of the cpu backend. Query and key heads depend on each other's inputs only, so all of it is one phase over
// (block of tokens, head): what lies between the inputs and the finished head stays in the second-level cache.
#include <algorithm>
#include <cmath>

#include "ops/cpu/cpu_backend.h"

namespace zaya::ops {

struct CpuBackend::Cca {
  const CcaShape& shape;
  const CcaWeights& weights;
  const float *c0, *value_current, *value_delayed, *cos, *sin;
  float* q_out;
  bool tiles;  // takes the grouped convolution

  // The run's last inputs of one head, some of which may be of its history still.
  void keep_inputs(const Run& run, int64_t head) const {
    const int64_t dim = shape.head_dim, channels = shape.channels(), history = shape.history();
    for (int64_t i = 0; i < history; ++i) {
      const int64_t token = run.count - history + i;
      const float* from =
          token < 0 ? run.conv_history + (history + token) * channels : c0 + (run.first_row + token) * channels;
      std::copy_n(from + head * dim, dim, run.conv_history + i * channels + head * dim);
    }
  }

  // The run's last delayed values of one KV head.
  void keep_values(const Run& run, int64_t kv_head) const {
    const int64_t half_values = shape.kv_width() / 2, now = from_current(kv_head);
    const int64_t first = kv_head * shape.head_dim + now - half_values;
    if (now == shape.head_dim) return;
    std::copy_n(value_delayed + (run.first_row + run.count - 1) * half_values + first, shape.head_dim - now,
                run.delayed_value + first);
  }

  // Values: the first half of the channels from this token, the second half from the one before. Of a head's, how many
  // are of this token.
  int64_t from_current(int64_t kv_head) const {
    return std::clamp<int64_t>(shape.kv_width() / 2 - kv_head * shape.head_dim, 0, shape.head_dim);
  }
};

void CpuBackend::cca(const CcaShape& s, const CcaWeights& w, std::span<const Run> runs, const float* c0,
                     const float* value_current, const float* value_delayed, const float* cos, const float* sin,
                     float* q_out) {
  conv_tokens_.clear();
  for (const Run& run : runs) {
    for (int64_t t = 0; t < run.count; ++t) conv_tokens_.push_back({&run, t});
  }
  const auto n = static_cast<int64_t>(conv_tokens_.size());
  const Cca call{s, w, c0, value_current, value_delayed, cos, sin, q_out, on_bf16_tiles(w.grouped, n)};
  const int64_t heads = s.num_heads + s.num_kv_heads, window = s.conv_time1 * s.head_dim;
  // On tiles the weights lie as they are read, and few tokens leave room beside them; else more share their decoding.
  const int64_t most = call.tiles ? 2 * kTileRows : kBlockTokens, blocks = (n + most - 1) / most;
  const int64_t block = (n + blocks - 1) / blocks;
  spread(
      blocks * heads, block * s.head_dim * window,
      [&](int64_t begin, int64_t end, int worker) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = i / heads * block;
          if (first < n) cca_block(call, first, std::min(n, first + block), i % heads, worker);
        }
      },
      1);

  // Runs that no block had whole.
  int64_t first = 0;
  for (const Run& run : runs) {
    const int64_t last = first + run.count - 1;
    if (first / block != last / block) {
      for (int64_t head = 0; head < heads; ++head) call.keep_inputs(run, head);
      for (int64_t kv_head = 0; kv_head < s.num_kv_heads; ++kv_head) call.keep_values(run, kv_head);
    }
    first = last + 1;
  }
}

void CpuBackend::cca_block(const Cca& call, int64_t begin, int64_t end, int64_t head, int worker) {
  const CcaShape& s = call.shape;
  const CcaWeights& w = call.weights;
  const int64_t channels = s.channels(), dim = s.head_dim, n = end - begin, window = s.conv_time1 * dim;
  const int64_t taps = s.conv_time0, lookback = s.conv_time1 - 1;

  // Activations of the grouped convolution's product, its results, its inputs (the depthwise convolution's results, of
  // each run's tokens one after the other, with what they look back on), and what the depthwise convolution takes:
  // weights with its taps one after the other, and inputs where these reach into the history.
  const int64_t window_floats = call.tiles ? bf16_elements(n, window) / 2 : n * window;
  const int64_t edge_rows = s.history() + taps;
  float* windows =
      strips_[static_cast<size_t>(worker)].get(window_floats + (n + n * (1 + lookback) + taps + edge_rows) * dim);
  float* mixed = windows + window_floats;
  float* middle = mixed + n * dim;
  float* depthwise = middle + n * (1 + lookback) * dim;
  float* edge = depthwise + taps * dim;
  const Bf16Tiles half{call.tiles ? reinterpret_cast<uint16_t*>(windows) : nullptr, tiles_across(window)};
  for (int64_t d = 0; d < dim; ++d) {
    for (int64_t tap = 0; tap < taps; ++tap) depthwise[tap * dim + d] = w.depthwise[(head * dim + d) * taps + tap];
  }

  for (int64_t i = begin; i < end;) {  // run by run
    const Run& run = *conv_tokens_[static_cast<size_t>(i)].run;
    const int64_t index = conv_tokens_[static_cast<size_t>(i)].index, count = std::min(run.count - index, end - i);
    // The step of token t takes inputs of the tokens t − taps + 1 to t; before token 0 lies the history.
    const auto convolve = [&](const float* x, int64_t stride, int64_t steps, float* out) {
      kernels_.depthwise(x, stride, depthwise, taps, w.depthwise_bias + head * dim, steps, dim, out);
    };
    const int64_t first = index - lookback, last = index + count;  // steps
    const int64_t inner = std::clamp<int64_t>(taps - 1, first, last);
    if (first < inner) {
      const int64_t oldest = first - taps + 1;
      for (int64_t t = oldest; t < inner; ++t) {
        const float* row =
            t < 0 ? run.conv_history + (s.history() + t) * channels : call.c0 + (run.first_row + t) * channels;
        std::copy_n(row + head * dim, dim, edge + (t - oldest) * dim);
      }
      convolve(edge, dim, inner - first, middle);
    }
    if (inner < last) {
      convolve(call.c0 + (run.first_row + inner - taps + 1) * channels + head * dim, channels, last - inner,
               middle + (inner - first) * dim);
    }
    // The windows of consecutive tokens overlap; a product takes a row per token.
    if (call.tiles) {
      tiles_->to_bf16(middle, count, window, dim, half, i - begin, 0);
    } else {
      for (int64_t t = 0; t < count; ++t) std::copy_n(middle + t * dim, window, windows + (i - begin + t) * window);
    }
    i += count;
  }
  multiply(w.grouped, w.grouped_bias, head * dim, (head + 1) * dim, {.x = windows, .half = half}, n, mixed, dim,
           worker);

  const int64_t group = s.num_heads / s.num_kv_heads, kv_head = head - s.num_heads, half_values = s.kv_width() / 2;
  const bool query = kv_head < 0;
  const int64_t pairs = s.rotary_dims / 2;
  // Runs that lie in this block keep their history here: each worker then finds that of its heads near.
  const auto whole_run_ends = [&](int64_t i) {
    const ConvToken& token = conv_tokens_[static_cast<size_t>(i)];
    return token.index == token.run->count - 1 && i - token.index >= begin;
  };
  for (int64_t i = begin; i < end; ++i) {
    const Run& run = *conv_tokens_[static_cast<size_t>(i)].run;
    const int64_t index = conv_tokens_[static_cast<size_t>(i)].index, row = run.first_row + index;
    float* x = mixed + (i - begin) * dim;
    const float *queries = call.c0 + row * channels, *keys = queries + s.q_width();
    const float squares = query
                              ? kernels_.add_mean(queries + head * dim, 1, keys + head / group * dim, x, dim)
                              : kernels_.add_mean(queries + kv_head * group * dim, group, keys + kv_head * dim, x, dim);
    float factor = std::sqrt(static_cast<float>(dim)) / std::max(std::sqrt(squares), kNormFloor);
    if (!query) factor *= w.temperature[kv_head];
    kernels_.rotate(x, factor, call.cos + row * pairs, call.sin + row * pairs, pairs,
                    query ? call.q_out + row * s.q_width() + head * dim : x, dim);
    if (whole_run_ends(i)) call.keep_inputs(run, head);
    if (query) continue;

    const auto store = [&](const float* values, std::byte* slot) {
      if (run.cache.type == KvType::bf16) return kernels_.round_bf16(values, slot, dim);
      store_kv(run.cache.type, values, dim, slot);
    };
    store(x, run.cache.key(kv_head, run.start + index));
    const float* delayed = index == 0 ? run.delayed_value : call.value_delayed + (row - 1) * half_values;
    const int64_t now = call.from_current(kv_head);
    // Into the place of the key, which is stored.
    if (now > 0) std::copy_n(call.value_current + row * half_values + kv_head * dim, now, x);
    if (now < dim) std::copy_n(delayed + (kv_head * dim + now - half_values), dim - now, x + now);
    store(x, run.cache.value(kv_head, run.start + index));
    if (whole_run_ends(i)) call.keep_values(run, kv_head);
  }
}

}  // namespace zaya::ops
