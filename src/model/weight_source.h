// Where weights come from, by canonical name (checkpoint/names.h): a checkpoint, packed on the way or not, a packed
// model, or a random generator for figures without files.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/packed.h"
#include "cpu/pages.h"
#include "cpu/thread_team.h"
#include "model/calibration.h"
#include "model/formats.h"
#include "ops/types.h"

namespace zaya::model {

// What weights point into.
struct WeightMemory {
  std::deque<std::vector<float>> floats;  // a deque, so that they stay where they are
  std::deque<cpu::Pages> pages;
};

// Remembers the first failure, so that a list of tensors can read as a list; everything after it is null.
class WeightSource {
 public:
  WeightSource(WeightMemory& memory, Preset preset) : preset_(preset), memory_(memory) {}
  virtual ~WeightSource() = default;

  const Status& status() const { return status_; }

  // FP32 copies of a small tensor.
  const float* vector(const std::string& name, int64_t elements);

  // [channels, head_dim, taps] in the file; the taps are made the middle axis, so that a window of consecutive tokens
  // is one dot product: [channels, taps · head_dim]. FP32, or b16 when packing (exact for the BF16 of checkpoints).
  ops::Matrix grouped_convolution(const std::string& name, int64_t channels, int64_t taps, int64_t dim);

  virtual ops::Matrix matrix(const std::string& name, int64_t rows, int64_t cols) = 0;
  virtual std::vector<float> values(const std::string& name, int64_t elements) = 0;

  // Gives an 8-bit head, whose matrix has this name, its 3-bit copy; other heads stay as they are, in one stage.
  virtual void add_coarse_head(const std::string& name, ops::Head& head, int threads);

 protected:
  const float* keep(std::vector<float> values) { return memory_.floats.emplace_back(std::move(values)).data(); }

  // An empty packed matrix with memory for its bytes and row factors; data is null after a failure. `bytes` and
  // `row_scale` are where they are to be written.
  ops::Matrix packed(ops::WeightType type, int64_t rows, int64_t cols, std::byte*& bytes, float*& row_scale);

  void fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

  // The head's 3-bit copy into `bytes`, and its scales and errors: hidden, vocab and vocab of them.
  struct CoarseFloats {
    std::vector<float> column_scale, row_scale, error;
  };
  static CoarseFloats coarsen(const ops::Matrix& exact, cpu::ThreadTeam& team, std::byte* bytes);
  // What the copy and its floats are called in a file.
  static std::string coarse_name(const std::string& name) { return name + ".coarse.q3"; }
  static std::string coarse_name(const std::string& name, const char* floats) { return name + ".coarse." + floats; }

  // Memory for so many bytes, in huge pages; null after a failure.
  std::byte* allocate(int64_t bytes);

  const Preset preset_;

 private:
  WeightMemory& memory_;
  Status status_;
};

// `checkpoint` must outlive the source, and the weights too when the preset is as_stored. Packing uses `threads`, and
// the importance of columns where there is any (it must outlive the source too).
std::unique_ptr<WeightSource> checkpoint_source(const checkpoint::Checkpoint& checkpoint, Preset preset, int threads,
                                                WeightMemory& memory, const Importance* importance = nullptr);

// A packed model's weights, in place; on a machine with several NUMA nodes copied to huge pages by threads of the node
// that will read them. `packed` must outlive the weights.
bool packed_in_place();
std::unique_ptr<WeightSource> packed_source(const checkpoint::PackedCheckpoint& packed, int threads,
                                            WeightMemory& memory);

// Random weights made in their packed form; `preset` must be one that packs. The router's choices are spread over all
// experts, as a trained router's are.
std::unique_ptr<WeightSource> random_source(Preset preset, uint64_t seed, int threads, WeightMemory& memory);

}  // namespace zaya::model
