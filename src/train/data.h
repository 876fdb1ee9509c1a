// The stream of batches that a stage trains on. It depends on the recipe, the seed and the position alone, so that a
// run stopped anywhere goes on as if it had not been.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "train/example.h"
#include "train/recipe.h"

namespace zaya::train {

// Where a stage's stream stands: examples are drawn in pools, a pool is packed into batches and these are shuffled.
struct DataPosition {
  int64_t pool = 0;            // number of the pool that the next batch comes from
  int64_t batch = 0;           // batches of it already used
  std::vector<int64_t> drawn;  // examples drawn from each source before this pool
  bool operator==(const DataPosition&) const = default;
};

using ExampleBatch = std::vector<Example>;

class DataStream {
 public:
  static Result<std::unique_ptr<DataStream>> open(const Stage& stage, const Recipe& recipe, uint64_t seed);
  virtual ~DataStream() = default;

  // The next batch: complete examples, at most stage.batch_tokens tokens.
  virtual Result<ExampleBatch> next() = 0;
  virtual const DataPosition& position() const = 0;
  virtual Status seek(const DataPosition& position) = 0;
  // What Example::kind counts: environments and files.
  virtual const std::vector<std::string>& kinds() const = 0;
  // Examples left out so far, because they do not fit the context even when trimmed.
  virtual int64_t dropped() const = 0;
};

}  // namespace zaya::train
