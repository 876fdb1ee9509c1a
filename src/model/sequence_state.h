// What one sequence carries from token to token: keys and values of every layer, in pages, and per layer the state of
// compressed convolutional attention (the last c0 vectors and the last delayed value). Nothing else of a sequence
// lives in the model, so two sequences can never mix.
//
// Keys and values are of use from any token on; the convolutions' state belongs to one exact token. So a sequence can
// be continued from where somebody else has been only at tokens whose state was kept: a Snapshot.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "checkpoint/config.h"
#include "model/page_pool.h"
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
  int64_t channels;        // of one c0 vector
  int64_t history_floats;  // conv history of one layer: some c0 vectors
  int64_t delayed_floats;  // delayed value of one layer

  int64_t page_planes() const { return layers * 2 * num_kv_heads; }
  int64_t plane_bytes() const { return ops::kv_plane_bytes(kv_type, head_dim); }
  int64_t page_bytes() const { return page_planes() * plane_bytes(); }
  int64_t snapshot_floats() const { return layers * (history_floats + delayed_floats); }
  int64_t snapshot_bytes() const { return snapshot_floats() * static_cast<int64_t>(sizeof(float)); }
};

// What a sequence carries beside its pages, behind one exact token.
struct Snapshot {
  std::vector<float> history;  // [layers, history, channels]
  std::vector<float> delayed;  // [layers, kv_width / 2]
};

class SequenceState {
 public:
  // `initial_delayed` [layers, kv_width / 2]: the delayed value before the first token. It is zero, or the projection's
  // bias where there is one (what the projection of a zero vector gives). `pool` has pages of the shape's size.
  SequenceState(std::shared_ptr<const StateShape> shape, std::shared_ptr<const std::vector<float>> initial_delayed,
                std::shared_ptr<PagePool> pool);

  SequenceState(SequenceState&&) noexcept = default;
  SequenceState& operator=(SequenceState&&) noexcept = default;

  // A sequence that goes on from this very token. Pages are shared; whichever of the two writes second into the page
  // that is not full copies it.
  SequenceState fork() const;

  int64_t length() const { return length_; }  // tokens processed
  int64_t max_positions() const { return shape_->max_positions; }
  int64_t bytes() const;  // memory held, shared pages counted in full

  std::span<const PageUse> pages() const { return uses_; }
  const Snapshot& snapshot() const { return state_; }

  // Forgets everything: the state of a new sequence. Keeps no pages.
  void reset();

  // Goes on behind `length` tokens that another sequence processed: its pages, ceil(length / kPageTokens) of them, and
  // its snapshot at that token.
  void resume(int64_t length, std::span<const std::shared_ptr<Page>> pages, const Snapshot& snapshot);

  // Lets go of full page `index` in favour of another one with the same content.
  void share_page(size_t index, std::shared_ptr<Page> page);

  // Pages that reserve(count) would allocate.
  int64_t pages_for(int64_t count) const;

  // Makes room for `count` more tokens, in pages that nobody else writes to there: out_of_range beyond the model's
  // context, resource_exhausted without memory.
  Status reserve(int64_t count);

  // For the model: this sequence's part of a step for one layer, and the commit of the step.
  ops::Run layer_run(int64_t layer, int64_t first_row, int64_t count);
  void advance(int64_t count) { length_ += count; }

  // For the model: the snapshot's part of one layer behind the first `after` tokens of a run (1 ≤ after ≤ its count),
  // from the run's rows c0 [count, channels] and value_delayed [count, kv_width / 2], before the layer moves the state.
  void capture(int64_t layer, int64_t after, const float* c0, const float* value_delayed, Snapshot& into) const;

 private:
  // The slots behind the last token belong to somebody else: the page there must be copied before writing.
  bool must_copy() const;
  void append(std::shared_ptr<Page> page);

  std::shared_ptr<const StateShape> shape_;
  std::shared_ptr<const std::vector<float>> initial_delayed_;
  std::shared_ptr<PagePool> pool_;
  int64_t length_ = 0;
  int64_t claimed_ = 0;  // positions [length_, claimed_) of our pages are ours to write
  std::vector<PageUse> uses_;
  std::vector<float*> pages_;
  Snapshot state_;
};

}  // namespace zaya::model
