#include "engine/model_facts.h"

#include <algorithm>
#include <bit>
#include <string>

namespace zaya::engine {
namespace {

template <class Function>
void for_each_matrix(const model::Weights& weights, Function function) {
  function(weights.embedding);
  if (weights.head.exact.data != weights.embedding.data) function(weights.head.exact);
  for (const model::LayerWeights& layer : weights.layers) {
    for (const auto* matrix : {&layer.q, &layer.k, &layer.value_current, &layer.value_delayed, &layer.output,
                               &layer.cca.grouped, &layer.router.down, &layer.router.out}) {
      function(*matrix);
    }
    for (const auto& expert : layer.experts) {
      for (const auto* matrix : {&expert.gate, &expert.up, &expert.down}) function(*matrix);
    }
  }
}

// FNV-1a over 64-bit words, folded.
class Hash {
 public:
  void add(uint64_t word) {
    value_ = (value_ ^ word) * 0x100000001b3u;
    value_ ^= value_ >> 29;
  }
  void add(int64_t number) { add(static_cast<uint64_t>(number)); }
  void add(double number) { add(std::bit_cast<uint64_t>(number)); }
  void add(float number) { add(uint64_t{std::bit_cast<uint32_t>(number)}); }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325u;
};

}  // namespace

int64_t mapped_weight_bytes(const model::Model& model) {
  int64_t bytes = 0;
  for_each_matrix(model.weights(), [&](const auto& matrix) {
    if (!is_packed(matrix.type)) bytes += matrix.rows * matrix.cols * static_cast<int64_t>(weight_size(matrix.type));
  });
  return bytes;
}

uint64_t fingerprint(const model::Model& model) {
  constexpr int64_t kSamples = 16;  // elements of a matrix, next to each other: one page of its file
  Hash hash;
  for (char c : model.backend().name()) hash.add(int64_t{c});
  const checkpoint::ModelConfig& config = model.config();
  hash.add(static_cast<int64_t>(model.state_shape().kv_type));
  hash.add(model.page_bytes());
  hash.add(model.state_shape().snapshot_bytes());
  hash.add(config.max_positions);
  hash.add(config.rms_norm_eps);
  hash.add(int64_t{config.experts_per_token});
  const model::Weights& weights = model.weights();
  for (const model::Rotary& rotary : weights.rotaries) {
    hash.add(rotary.theta);
    hash.add(rotary.dims);
  }
  for (const model::LayerWeights& layer : weights.layers) {
    hash.add(layer.cca_shape.sliding_window);
    for (int64_t i = 0; i < config.hidden_size; ++i) hash.add(layer.input_norm[i]);
  }
  for_each_matrix(weights, [&](const auto& matrix) {
    hash.add(static_cast<int64_t>(matrix.type));
    hash.add(matrix.rows);
    hash.add(matrix.cols);
    const int64_t row = matrix.rows / 2;
    for (int64_t col = 0; col < std::min(matrix.cols, kSamples); ++col) hash.add(matrix.at(row, col));
  });
  return hash.value();
}

}  // namespace zaya::engine
