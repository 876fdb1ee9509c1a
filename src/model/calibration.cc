#include "model/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/model.h"

namespace zaya::model {
namespace {

// Sums of squared inputs of one matrix.
struct Sums {
  std::vector<double> squares;  // per column
  double tokens = 0;

  void add(const float* x, int64_t n, int64_t cols, double weight = 1) {
    squares.resize(static_cast<size_t>(cols));
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t c = 0; c < cols; ++c) {
        const double value = x[i * cols + c];
        squares[static_cast<size_t>(c)] += weight * value * value;
      }
    }
    tokens += static_cast<double>(n) * weight;
  }
};

// Passes every operation on and keeps what matrices are multiplied with. A matrix is known by where its weights lie.
class Recorder final : public ops::Backend {
 public:
  using Records = std::map<const std::byte*, Sums>;

  Recorder(std::unique_ptr<ops::Backend> inner, Records& records) : inner_(std::move(inner)), records_(records) {}

  std::string name() const override { return inner_->name(); }
  int threads() const override { return inner_->threads(); }

  void embed(const ops::Matrix& embedding, std::span<const int32_t> tokens, const float* scale, const float* bias,
             float* out) override {
    inner_->embed(embedding, tokens, scale, bias, out);
  }
  void rms_norm(const float* x, int64_t n, int64_t width, const float* weight, double eps, float* out) override {
    inner_->rms_norm(x, n, width, weight, eps, out);
  }
  using Backend::project;
  void project(std::span<const ops::Projection> projections, const float* x, int64_t n) override {
    for (const ops::Projection& p : projections) records_[p.w->data].add(x, n, p.w->cols);
    inner_->project(projections, x, n);
  }
  // Its inputs are wanted, its logits are not: they would cost as much as everything else together.
  int64_t head(const ops::Head& head, const float* x, int64_t n, float* logits) override {
    records_[head.exact.data].add(x, n, head.exact.cols);
    std::fill_n(logits, n * head.exact.rows, 0.0f);
    return 0;
  }
  void cca(const ops::CcaShape& shape, const ops::CcaWeights& weights, std::span<const ops::Run> runs, const float* c0,
           const float* value_current, const float* value_delayed, const float* cos, const float* sin,
           float* q_out) override {
    inner_->cca(shape, weights, runs, c0, value_current, value_delayed, cos, sin, q_out);
  }
  void attend(const ops::CcaShape& shape, std::span<const ops::Run> runs, const float* q, float* out) override {
    inner_->attend(shape, runs, q, out);
  }
  void merge(const ops::ResidualScales& scales, const float* branch, int64_t n, int64_t width,
             float* residual) override {
    inner_->merge(scales, branch, n, width, residual);
  }
  void route(const ops::RouterWeights& weights, const float* x, int64_t n, int64_t top_k, float* state, int32_t* choice,
             float* weight) override {
    inner_->route(weights, x, n, top_k, state, choice, weight);
  }

  // An expert's inner activations never leave the backend, so they are computed here once more.
  void experts(std::span<const ops::Expert> experts, const float* x, int64_t n, int64_t top_k, const int32_t* choice,
               const float* weight, float* out) override {
    for (size_t e = 0; e < experts.size(); ++e) {
      const ops::Expert& expert = experts[e];
      const int64_t hidden = expert.gate.cols, width = expert.gate.rows;
      std::vector<float> rows, inner;
      std::vector<double> weights;
      for (int64_t i = 0; i < n * top_k; ++i) {
        if (choice[i] != static_cast<int32_t>(e)) continue;
        rows.insert(rows.end(), x + i / top_k * hidden, x + (i / top_k + 1) * hidden);
        weights.push_back(static_cast<double>(weight[i]) * weight[i]);
      }
      const auto count = static_cast<int64_t>(weights.size());
      if (count == 0) continue;
      std::vector<float> gate(static_cast<size_t>(count * width)), up(gate.size());
      const ops::Projection projections[] = {{&expert.gate, nullptr, gate.data(), width},
                                             {&expert.up, nullptr, up.data(), width}};
      inner_->project(projections, rows.data(), count);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      for (int64_t i = 0; i < count; ++i) {
        const double w = weights[static_cast<size_t>(i)];
        for (const ops::Matrix* m : {&expert.gate, &expert.up}) {
          records_[m->data].add(rows.data() + i * hidden, 1, hidden, w);
        }
        records_[expert.down.data].add(gate.data() + i * width, 1, width, w);
      }
    }
    inner_->experts(experts, x, n, top_k, choice, weight, out);
  }

 private:
  std::unique_ptr<ops::Backend> inner_;
  Records& records_;
};

// Mean squares, leaning on `prior` as if it had been seen for some tokens, and never nought: a column that the text did
// not use may be used by another.
std::vector<float> importance_of(const Sums& sums, const std::vector<double>& prior) {
  constexpr double kPriorTokens = 8, kFloor = 0.01;
  std::vector<double> mean(sums.squares.size());
  double average = 0;
  for (size_t c = 0; c < mean.size(); ++c) {
    mean[c] = (sums.squares[c] + kPriorTokens * prior[c]) / (sums.tokens + kPriorTokens);
    average += mean[c] / static_cast<double>(mean.size());
  }
  std::vector<float> result(mean.size(), 1.0f);  // all alike when nothing but zeros came
  for (size_t c = 0; c < mean.size() && average > 0 && std::isfinite(average); ++c) {
    result[c] = static_cast<float>(mean[c] / average + kFloor);
  }
  return result;
}

// Mean squares of the columns over all of `parts`; where there are none, of all columns together.
std::vector<double> mean_of(const std::vector<const Sums*>& parts, size_t cols) {
  std::vector<double> mean(cols);
  double tokens = 0;
  for (const Sums* part : parts) {
    tokens += part->tokens;
    for (size_t c = 0; c < part->squares.size(); ++c) mean[c] += part->squares[c];
  }
  for (double& m : mean) m = tokens > 0 ? m / tokens : 0;
  return mean;
}

std::vector<double> flat(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += v;
  return std::vector<double>(values.size(), sum / static_cast<double>(std::max<size_t>(1, values.size())));
}

}  // namespace

Result<Importance> calibrate(checkpoint::Checkpoint checkpoint, std::unique_ptr<ops::Backend> backend,
                             std::span<const std::vector<int32_t>> texts, const CalibrationProgress& progress,
                             int64_t chunk) {
  // As stored, matrices stay where the files are mapped: a name's data is where the recorder will meet it.
  std::map<std::string, const std::byte*, std::less<>> places;
  for (const auto& [name, tensor] : checkpoint.tensors()) places.emplace(name, tensor.data.data());
  Recorder::Records records;
  ZAYA_ASSIGN(const std::unique_ptr<Model> model,
              Model::load(std::move(checkpoint), std::make_unique<Recorder>(std::move(backend), records)));
  std::vector<float> logits;
  int64_t tokens = 0;
  for (size_t t = 0; t < texts.size(); ++t) {
    const std::span<const int32_t> text =
        std::span(texts[t]).first(std::min(texts[t].size(), static_cast<size_t>(model->config().max_positions)));
    SequenceState sequence = model->new_sequence();
    for (size_t done = 0; done < text.size();) {
      const size_t count = std::min(static_cast<size_t>(chunk), text.size() - done);
      const TokenRun run{&sequence, text.subspan(done, count), Logits::all};
      ZAYA_RETURN_IF_ERROR(model->forward({&run, 1}, logits));
      done += count;
    }
    tokens += static_cast<int64_t>(text.size());
    if (progress && !progress(static_cast<int64_t>(t) + 1, static_cast<int64_t>(texts.size()))) {
      return Status(Code::cancelled, "calibration was stopped");
    }
  }
  if (tokens == 0) return Status(Code::invalid_argument, "there is no text to calibrate with");

  Importance importance;
  const auto sums_of = [&](const std::byte* data) {
    const auto found = records.find(data);
    return found == records.end() ? nullptr : &found->second;
  };
  for (const auto& [name, place] : places) {
    const Sums* sums = sums_of(place);
    if (name.find(".mlp.experts.") == name.npos) {
      if (sums != nullptr) importance.emplace(name, importance_of(*sums, flat(mean_of({sums}, sums->squares.size()))));
      continue;
    }
    // Gate and up get the residual stream, whose columns mean the same to every expert of a layer; down gets an
    // expert's own.
    const size_t expert = name.find(".experts.") + std::string_view(".experts.").size();
    const std::string layer = name.substr(0, expert);
    const std::string part = name.substr(name.find('.', expert));
    std::vector<const Sums*> of_layer;
    for (auto other = places.lower_bound(layer); other != places.end() && other->first.starts_with(layer); ++other) {
      const Sums* others = sums_of(other->second);
      if (others != nullptr && other->first.ends_with(part)) of_layer.push_back(others);
    }
    if (of_layer.empty()) continue;  // no token reached an expert of this layer
    const std::vector<double> mean = mean_of(of_layer, of_layer[0]->squares.size());
    Sums own = sums == nullptr ? Sums{std::vector<double>(mean.size()), 0} : *sums;
    importance.emplace(name, importance_of(own, part == ".down" ? flat(mean) : mean));
  }
  return importance;
}

}  // namespace zaya::model
