// What one sequence carries from token to token: keys and values of every layer, in pages, and per layer the state of
// compressed convolutional attention (the last c0 vectors and the last delayed value). Nothing else of a sequence
// lives in the model, so two sequences can never mix.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "checkpoint/config.h"
#include "ops/types.h"

namespace zaya::model {

// Sizes of one sequence's state, derived from the config once.
struct StateShape {
  explicit StateShape(const checkpoint::ModelConfig& config, ops::KvType kv_type = ops::KvType::f32);

  int64_t layers;
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t max_positions;
  ops::KvType kv_type;
  int64_t history_floats;  // conv history of one layer
  int64_t delayed_floats;  // delayed value of one layer

  int64_t layer_page_floats() const {
    return 2 * num_kv_heads * ops::kPageTokens * ops::kv_slot_bytes(kv_type, head_dim) / 4;
  }
  int64_t page_bytes() const { return layers * layer_page_floats() * static_cast<int64_t>(sizeof(float)); }
};

class SequenceState {
 public:
  // `initial_delayed` [layers, kv_width / 2]: the delayed value before the first token. It is zero, or the projection's
  // bias where there is one (what the projection of a zero vector gives).
  SequenceState(std::shared_ptr<const StateShape> shape, std::shared_ptr<const std::vector<float>> initial_delayed);

  SequenceState(SequenceState&&) noexcept = default;
  SequenceState& operator=(SequenceState&&) noexcept = default;

  // A deep copy at this very token; resource_exhausted when its pages cannot be had.
  Result<SequenceState> fork() const;

  int64_t length() const { return length_; }  // tokens processed
  int64_t max_positions() const { return shape_->max_positions; }
  int64_t bytes() const;  // memory held

  // Forgets everything: the state of a new sequence. Keeps no pages.
  void reset();

  // Makes room for `count` more tokens: out_of_range beyond the model's context, resource_exhausted without memory.
  Status reserve(int64_t count);

  // For the model: this sequence's part of a step for one layer, and the commit of the step.
  ops::Run layer_run(int64_t layer, int64_t first_row, int64_t count);
  void advance(int64_t count) { length_ += count; }

 private:
  std::shared_ptr<const StateShape> shape_;
  std::shared_ptr<const std::vector<float>> initial_delayed_;
  int64_t length_ = 0;
  std::vector<std::unique_ptr<float[]>> owned_pages_;
  std::vector<float*> pages_;
  std::vector<float> history_;  // [layers, history, channels]
  std::vector<float> delayed_;  // [layers, kv_width / 2]
};

}  // namespace zaya::model
