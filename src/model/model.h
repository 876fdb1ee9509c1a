// The forward pass of a ZAYA1 model over a batch of token runs from several sequences, written once in terms of ops.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "cpu/pages.h"
#include "model/sequence_state.h"
#include "model/weights.h"
#include "ops/backend.h"

namespace zaya::model {

// Which of a run's tokens get logits.
enum class Logits { none, last, all };

// A wish for the sequence's state behind the first `after` tokens of a run, 1 ≤ after ≤ their count.
struct Capture {
  int64_t after = 0;
  Snapshot snapshot;  // filled by forward()
};

// Consecutive new tokens of one sequence.
struct TokenRun {
  SequenceState* sequence = nullptr;
  std::span<const int32_t> tokens;
  Logits logits = Logits::last;
  std::span<Capture> captures = {};
};

// What a step computed on the way, for parity checks. Called after each layer.
struct LayerTrace {
  int64_t layer = 0;
  std::span<const float> residual;  // [n, hidden], the stream after the layer
  std::span<const int32_t> choice;  // [n, experts_per_token]; num_experts = skip
  std::span<const float> weight;    // [n, experts_per_token]
};
using TraceFunction = std::function<void(const LayerTrace&)>;

// How a model is held in memory.
struct Options {
  Preset preset = Preset::as_stored;
  ops::KvType kv = ops::KvType::f32;
  // An 8-bit head gets a 3-bit copy, and logits come from both (ops::Head): greedy choices stay, the logits of unlikely
  // tokens are approximate. Other heads are not affected.
  bool two_stage_head = false;
};

class Model {
 public:
  // Takes the checkpoint over; `backend` as in ops::make_backend. A packing preset copies the weights into memory, and
  // the checkpoint's files are let go.
  static Result<std::unique_ptr<Model>> load(checkpoint::Checkpoint checkpoint, std::unique_ptr<ops::Backend> backend,
                                             const Options& options = {});

  // Takes the packed model over: its weights are read where the file is mapped. The preset is its own.
  static Result<std::unique_ptr<Model>> load(checkpoint::PackedCheckpoint packed, std::unique_ptr<ops::Backend> backend,
                                             const Options& options = {});

  // Random weights of this shape, for figures without files; a packing preset.
  static Result<std::unique_ptr<Model>> random(const checkpoint::ModelConfig& config, const Options& options,
                                               uint64_t seed, std::unique_ptr<ops::Backend> backend);

  const checkpoint::ModelConfig& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  const ops::Backend& backend() const { return *backend_; }

  SequenceState new_sequence() const { return SequenceState(state_shape_, initial_delayed_, page_pool_); }

  const StateShape& state_shape() const { return *state_shape_; }
  PagePool& page_pool() const { return *page_pool_; }

  // Bytes of K/V that one page of kPageTokens positions takes, all layers.
  int64_t page_bytes() const { return state_shape_->page_bytes(); }

  // Rows of the head that the last step multiplied exactly, all its tokens together.
  int64_t exact_head_rows() const { return exact_head_rows_; }

  // Runs the new tokens of each run through the model and appends them to their sequences. `logits` receives
  // [rows, vocab_size], the wanted rows in run order. A sequence may appear once. On failure (unknown token id,
  // context full, no room for keys and values) no sequence has changed; only when memory runs out for a step's own
  // activations must its sequences be reset. Not for concurrent use: the backend has one team.
  Status forward(std::span<const TokenRun> runs, std::vector<float>& logits, const TraceFunction& trace = {});

 private:
  Model(const checkpoint::ModelConfig& config, const Options& options, std::unique_ptr<ops::Backend> backend);
  Status take_weights(WeightSource& source, const Options& options);
  void read_ahead();

  // Activations of a step, kept between steps.
  struct Workspace {
    cpu::Buffer<float> residual, normed, branch;      // [n, hidden]
    cpu::Buffer<float> c0, q, attended;               // [n, channels], [n, q_width] twice
    cpu::Buffer<float> value_current, value_delayed;  // [n, kv_width / 2]
    cpu::Buffer<float> router_state;                  // [n, router_width]
    cpu::Buffer<int32_t> choice;                      // [n, experts_per_token]
    cpu::Buffer<float> choice_weight;
    std::vector<std::vector<float>> cos, sin;  // per rotary: [n, dims / 2]
    cpu::Buffer<float> wanted;                 // [rows, hidden]
    void resize(const checkpoint::ModelConfig& config, int64_t n, int64_t rows);
  };

  Status check(std::span<const TokenRun> runs) const;
  void rotations(std::span<const TokenRun> runs);
  void layer(int64_t index, std::span<const TokenRun> token_runs, std::span<const ops::Run> runs, int64_t n);

  checkpoint::ModelConfig config_;
  std::optional<checkpoint::Checkpoint> checkpoint_;  // these two while weights point into them
  std::optional<checkpoint::PackedCheckpoint> packed_;
  std::jthread reader_;  // brings the packed file into memory while the first tokens are computed already
  WeightMemory memory_;
  std::unique_ptr<ops::Backend> backend_;
  Weights weights_;
  std::shared_ptr<const StateShape> state_shape_;
  std::shared_ptr<const std::vector<float>> initial_delayed_;
  std::shared_ptr<PagePool> page_pool_;
  Workspace work_;
  int64_t exact_head_rows_ = 0;
};

}  // namespace zaya::model
