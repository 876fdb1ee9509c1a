// The measuring behind `zaya bench` and `zaya doctor`: what a model reaches, with the machine's ceilings measured right
// before and right after each repetition, because on a shared machine they move by a factor of three within a minute.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "apps/zaya/common.h"
#include "base/status.h"
#include "cpu/bandwidth.h"
#include "cpu/isa.h"
#include "cpu/thread_team.h"
#include "model/model.h"
#include "ops/cpu/peak.h"

namespace zaya::app {

// Median, lowest and highest of some values.
struct Spread {
  double median = 0, lowest = 0, highest = 0;
  static Spread of(std::vector<double> values);  // zeros for no values
};

// What the machine could do at one moment.
struct Ceilings {
  double read = 0;               // bytes per second
  std::vector<ops::Peak> peaks;  // always the same ones in the same order
};

class CeilingProbe {
 public:
  // `threads` as the model's backend has, with its instruction set.
  static Result<std::unique_ptr<CeilingProbe>> make(int threads, cpu::Isa isa);

  // About a quarter of a second, on a quiet machine of today.
  Ceilings measure();

 private:
  CeilingProbe(int threads, cpu::Isa isa) : team_(threads), isa_(isa) {}
  cpu::ThreadTeam team_;
  cpu::Isa isa_;
  cpu::BandwidthProbe bandwidth_;
};

// The mean of two ceilings: those around a repetition.
Ceilings between(const Ceilings& before, const Ceilings& after);

// One line of the result: the repetitions of one measurement.
struct Figure {
  struct Repeat {
    double tokens_per_second = 0;
    Ceilings ceilings;  // around it
  };
  std::string what;  // "decode, 1 sequence, 0 tokens of context"
  std::vector<Repeat> repeats;
  int64_t tokens_per_step = 1;
  double bytes_per_token = 0;  // really read from memory: weights of the experts that ran, keys and values
  double ops_per_token = 0;    // arithmetic, a multiply-add is two

  Spread rate() const;                   // tokens per second
  Spread read_share() const;             // of the bandwidth, paired
  Spread peak_share(size_t peak) const;  // of ceilings.peaks[peak], paired
};

struct BenchOptions {
  int64_t tokens = 32;   // decoded per repetition and sequence
  int64_t chunk = 2048;  // prompt tokens per step
  int repeat = 3;
};

// Runs random tokens through a model.
class Bench {
 public:
  Bench(model::Model& model, CeilingProbe& probe, const BenchOptions& options)
      : model_(model), probe_(probe), options_(options) {}

  Result<Figure> prefill(int64_t tokens);

  // `parallel` sequences, each `context` tokens long at first, one token each per step.
  Result<Figure> decode(int64_t parallel, int64_t context);

 private:
  int32_t next_token();
  Status feed(model::SequenceState& sequence, int64_t count);
  // forward(), adding what it read to bytes_.
  Status step(std::span<const model::TokenRun> runs);

  model::Model& model_;
  CeilingProbe& probe_;
  const BenchOptions options_;
  std::vector<float> logits_;
  double bytes_ = 0;
  int64_t shared_ = 0;  // leading positions that all sequences of a step share: forks share pages
  uint64_t random_ = 42;
};

// "1.13 G", "5.2 M": a number with a prefix, for bytes and operations alike.
std::string scaled(double value);

// --synthetic, for verbs that can do without a model's files.
void add_synthetic(CLI::App& verb, std::string& shape);

// The model that `options` name, or random weights of the named shape when there is one (packed: q4 unless another
// format is asked for).
Result<std::unique_ptr<model::Model>> load_or_synthesise(const ModelOptions& options, const std::string& shape);

// Bytes of the weights, as they lie in memory, that one matrix product reads.
double matrix_bytes(const ops::Matrix& matrix);

// Matrices of a layer that every token meets: attention, its grouped convolution, the router.
std::vector<const ops::Matrix*> shared_matrices(const model::LayerWeights& layer);

}  // namespace zaya::app
