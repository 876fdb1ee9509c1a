#include "model/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <new>

namespace zaya::model {

Model::Model(const checkpoint::ModelConfig& config, const Options& options, std::unique_ptr<ops::Backend> backend)
    : config_(config),
      backend_(std::move(backend)),
      state_shape_(std::make_shared<const StateShape>(config_, options.kv)),
      page_pool_(std::make_shared<PagePool>(state_shape_->page_planes(), state_shape_->plane_bytes())) {}

Result<std::unique_ptr<Model>> Model::load(checkpoint::Checkpoint checkpoint, std::unique_ptr<ops::Backend> backend,
                                           const Options& options) {
  std::unique_ptr<Model> model(new Model(checkpoint.config(), options, std::move(backend)));
  const auto source = checkpoint_source(checkpoint, options.preset, model->backend_->threads(), model->memory_);
  ZAYA_RETURN_IF_ERROR(model->take_weights(*source, options));
  if (options.preset == Preset::as_stored) model->checkpoint_.emplace(std::move(checkpoint));
  return model;
}

Result<std::unique_ptr<Model>> Model::load(checkpoint::PackedCheckpoint packed, std::unique_ptr<ops::Backend> backend,
                                           const Options& options) {
  std::unique_ptr<Model> model(new Model(packed.config(), options, std::move(backend)));
  model->packed_.emplace(std::move(packed));
  const auto source = packed_source(*model->packed_, model->backend_->threads(), model->memory_);
  ZAYA_RETURN_IF_ERROR(model->take_weights(*source, options));
  if (packed_in_place()) model->read_ahead();
  return model;
}

// Left to faults, an expert's first use would wait for the disk, and for one fault per 64 KiB.
void Model::read_ahead() {
  reader_ = std::jthread([file = packed_->bytes()](const std::stop_token& stop) {
    constexpr size_t kStep = size_t{16} << 20;
    for (size_t at = 0; at < file.size() && !stop.stop_requested(); at += kStep) {
      cpu::map_pages(file.subspan(at, std::min(kStep, file.size() - at)));
    }
  });
}

Result<std::unique_ptr<Model>> Model::random(const checkpoint::ModelConfig& config, const Options& options,
                                             uint64_t seed, std::unique_ptr<ops::Backend> backend) {
  if (options.preset == Preset::as_stored)
    return Status(Code::invalid_argument, "random weights need a format that packs");
  std::unique_ptr<Model> model(new Model(config, options, std::move(backend)));
  const auto source = random_source(options.preset, seed, model->backend_->threads(), model->memory_);
  ZAYA_RETURN_IF_ERROR(model->take_weights(*source, options));
  return model;
}

Status Model::take_weights(WeightSource& source, const Options& options) {
  ZAYA_ASSIGN(weights_, Weights::load(config_, source));
  if (options.two_stage_head) source.add_coarse_head(head_name(config_), weights_.head, backend_->threads());
  ZAYA_RETURN_IF_ERROR(source.status());
  const int64_t half_values = config_.kv_width() / 2;
  std::vector<float> initial;
  for (const LayerWeights& layer : weights_.layers) {
    if (layer.value_delayed_bias == nullptr) {
      initial.resize(initial.size() + static_cast<size_t>(half_values), 0.0f);
    } else {
      initial.insert(initial.end(), layer.value_delayed_bias, layer.value_delayed_bias + half_values);
    }
  }
  initial_delayed_ = std::make_shared<const std::vector<float>>(std::move(initial));
  return Status();
}

void Model::Workspace::resize(const checkpoint::ModelConfig& c, int64_t n, int64_t rows) {
  for (cpu::Buffer<float>* buffer : {&residual, &normed, &branch}) buffer->get(n * c.hidden_size);
  c0.get(n * c.conv_channels());
  q.get(n * c.q_width());
  attended.get(n * c.q_width());
  value_current.get(n * c.kv_width() / 2);
  value_delayed.get(n * c.kv_width() / 2);
  router_state.get(n * c.router_width);
  choice.get(n * c.experts_per_token);
  choice_weight.get(n * c.experts_per_token);
  wanted.get(rows * c.hidden_size);
}

Status Model::check(std::span<const TokenRun> runs) const {
  std::vector<const SequenceState*> sequences;
  for (const TokenRun& run : runs) {
    if (run.sequence == nullptr || run.tokens.empty()) return Status(Code::invalid_argument, "a run needs tokens");
    sequences.push_back(run.sequence);
    for (int32_t token : run.tokens) {
      if (token < 0 || token >= config().vocab_size) {
        return Status(Code::out_of_range,
                      fmt::format("there is no token {}: the vocabulary has {}", token, config().vocab_size));
      }
    }
  }
  std::sort(sequences.begin(), sequences.end());
  if (std::adjacent_find(sequences.begin(), sequences.end()) != sequences.end()) {
    return Status(Code::invalid_argument, "a sequence may appear only once in a step");
  }
  for (const TokenRun& run : runs) {
    for (const Capture& capture : run.captures) {
      if (capture.after < 1 || capture.after > static_cast<int64_t>(run.tokens.size())) {
        return Status(Code::invalid_argument, "a capture lies outside its run");
      }
    }
  }
  for (const TokenRun& run : runs) ZAYA_RETURN_IF_ERROR(run.sequence->reserve(static_cast<int64_t>(run.tokens.size())));
  return Status();
}

// cos and sin of position · θ^(−2i/dims), in FP32 throughout as the reference implementation computes them: at long
// contexts the rounding of the angle is part of what the model was trained with.
void Model::rotations(std::span<const TokenRun> runs) {
  work_.cos.resize(weights_.rotaries.size());
  work_.sin.resize(weights_.rotaries.size());
  for (size_t r = 0; r < weights_.rotaries.size(); ++r) {
    const Rotary& rotary = weights_.rotaries[r];
    std::vector<float> frequency;
    for (int64_t i = 0; i < rotary.dims / 2; ++i) {
      const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary.dims);
      frequency.push_back(1.0f / std::pow(static_cast<float>(rotary.theta), exponent));
    }
    work_.cos[r].clear();
    work_.sin[r].clear();
    for (const TokenRun& run : runs) {
      for (size_t t = 0; t < run.tokens.size(); ++t) {
        const float position = static_cast<float>(run.sequence->length() + static_cast<int64_t>(t));
        for (float f : frequency) {
          work_.cos[r].push_back(std::cos(position * f));
          work_.sin[r].push_back(std::sin(position * f));
        }
      }
    }
  }
}

// One layer: r ← merge(CCA(norm r)); r ← merge(MoE(norm r)). Each merge comes with the norm that follows: the layer
// finds its input normed, and leaves that of the next one so.
void Model::layer(int64_t index, std::span<const TokenRun> token_runs, std::span<const ops::Run> runs, int64_t n) {
  const LayerWeights& w = weights_.layers[static_cast<size_t>(index)];
  const checkpoint::ModelConfig& c = config();
  Workspace& s = work_;

  const int64_t channels = c.conv_channels(), half_values = c.kv_width() / 2;
  const ops::Projection projections[] = {
      {&w.q, w.q_bias, s.c0.data(), channels},
      {&w.k, w.k_bias, s.c0.data() + c.q_width(), channels},
      {&w.value_current, w.value_current_bias, s.value_current.data(), half_values},
      {&w.value_delayed, w.value_delayed_bias, s.value_delayed.data(), half_values},
  };
  backend_->project(projections, s.normed.data(), n);
  for (size_t i = 0; i < runs.size(); ++i) {
    for (Capture& capture : token_runs[i].captures) {
      token_runs[i].sequence->capture(index, capture.after, s.c0.data() + runs[i].first_row * channels,
                                      s.value_delayed.data() + runs[i].first_row * half_values, capture.snapshot);
    }
  }
  backend_->cca(w.cca_shape, w.cca, runs, s.c0.data(), s.value_current.data(), s.value_delayed.data(),
                s.cos[w.rotary].data(), s.sin[w.rotary].data(), s.q.data());
  backend_->attend(w.cca_shape, runs, s.q.data(), s.attended.data());
  backend_->project(w.output, w.output_bias, s.attended.data(), n, s.branch.data(), c.hidden_size);
  backend_->merge_norm(w.after_attention, s.branch.data(), n, c.hidden_size, s.residual.data(), w.post_attention_norm,
                       c.rms_norm_eps, s.normed.data());

  backend_->route(w.router, s.normed.data(), n, c.experts_per_token, s.router_state.data(), s.choice.data(),
                  s.choice_weight.data());
  backend_->experts(w.experts, s.normed.data(), n, c.experts_per_token, s.choice.data(), s.choice_weight.data(),
                    s.branch.data());
  if (index + 1 == c.num_layers()) {  // the final norm is of the wanted rows only
    return backend_->merge(w.after_experts, s.branch.data(), n, c.hidden_size, s.residual.data());
  }
  const float* next_norm = weights_.layers[static_cast<size_t>(index + 1)].input_norm;
  backend_->merge_norm(w.after_experts, s.branch.data(), n, c.hidden_size, s.residual.data(), next_norm, c.rms_norm_eps,
                       s.normed.data());
}

Status Model::forward(std::span<const TokenRun> runs, std::vector<float>& logits, const TraceFunction& trace) try {
  ZAYA_RETURN_IF_ERROR(check(runs));
  const checkpoint::ModelConfig& c = config();

  std::vector<int32_t> tokens;
  int64_t rows = 0;
  for (const TokenRun& run : runs) {
    tokens.insert(tokens.end(), run.tokens.begin(), run.tokens.end());
    if (run.logits == Logits::all) rows += static_cast<int64_t>(run.tokens.size());
    if (run.logits == Logits::last) rows += 1;
  }
  const int64_t n = static_cast<int64_t>(tokens.size());
  logits.resize(static_cast<size_t>(rows * c.vocab_size));
  work_.resize(c, n, rows);
  rotations(runs);

  backend_->embed(weights_.embedding, tokens, weights_.input_scale, weights_.input_bias, work_.residual.data());
  backend_->rms_norm(work_.residual.data(), n, c.hidden_size, weights_.layers[0].input_norm, c.rms_norm_eps,
                     work_.normed.data());
  std::vector<ops::Run> layer_runs(runs.size());
  for (int64_t l = 0; l < c.num_layers(); ++l) {
    int64_t row = 0;
    for (size_t i = 0; i < runs.size(); ++i) {
      const int64_t count = static_cast<int64_t>(runs[i].tokens.size());
      layer_runs[i] = runs[i].sequence->layer_run(l, row, count);
      row += count;
    }
    layer(l, runs, layer_runs, n);
    if (trace) {
      const auto chosen = static_cast<size_t>(n * c.experts_per_token);
      trace({.layer = l,
             .residual = {work_.residual.data(), static_cast<size_t>(n * c.hidden_size)},
             .choice = {work_.choice.data(), chosen},
             .weight = {work_.choice_weight.data(), chosen}});
    }
  }

  int64_t row = 0, wanted = 0;
  for (const TokenRun& run : runs) {
    const int64_t count = static_cast<int64_t>(run.tokens.size());
    const int64_t first = run.logits == Logits::all ? 0 : run.logits == Logits::last ? count - 1 : count;
    std::copy_n(work_.residual.data() + (row + first) * c.hidden_size, (count - first) * c.hidden_size,
                work_.wanted.data() + wanted * c.hidden_size);
    wanted += count - first;
    row += count;
    run.sequence->advance(count);
  }
  exact_head_rows_ = 0;
  if (rows > 0) {
    backend_->rms_norm(work_.wanted.data(), rows, c.hidden_size, weights_.final_norm, c.rms_norm_eps,
                       work_.normed.data());
    exact_head_rows_ = backend_->head(weights_.head, work_.normed.data(), rows, logits.data());
  }
  return Status();
} catch (const std::bad_alloc&) {
  return Status(Code::resource_exhausted, "no memory for this step's activations",
                "use smaller chunks or fewer sequences");
}

}  // namespace zaya::model
