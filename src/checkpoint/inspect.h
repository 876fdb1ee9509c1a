// A report on the files of a checkpoint for people and programs: what `zaya inspect` prints. It says as much as can be
// said, above all about directories that Checkpoint::open refuses.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/config.h"
#include "checkpoint/statistics.h"

namespace zaya::checkpoint {

struct InspectOptions {
  bool scan = true;  // read every weight for its figures; without it only headers are read
  int threads = 0;   // for the scan; 0 = one per processor, at most 8
};

// Called from the thread that called inspect(), now and then, with bytes scanned so far and in all; false ends the scan
// early (the report then says so).
using InspectProgress = std::function<bool(int64_t done, int64_t total)>;

struct TensorReport {
  std::string name;       // in the file
  std::string canonical;  // where it belongs, or in brackets why it is not used; empty when unknown
  std::string dtype;
  std::vector<int64_t> shape;
  int64_t bytes = 0;
  std::string shard;
  std::string problem;  // empty, or "unexpected", "wrong shape", "wrong dtype", "duplicate", "bad factors"
  std::optional<Statistics> statistics;  // absent when not scanned or not a float type that we read
};

struct Report {
  std::filesystem::path directory;
  std::optional<Layout> layout;       // as the tensor names show it
  std::optional<ModelConfig> config;  // when config.json could be read
  std::vector<TensorReport> tensors;  // shard by shard, in the order of the data
  std::vector<std::string> missing;   // file names of absent tensors
  std::vector<std::string> errors;    // what Checkpoint::open refuses, whole sentences
  std::vector<std::string> warnings;  // suspicious values: NaN, Inf, constant matrices
  std::vector<std::string> notes;     // odd but harmless
  int64_t parameters = 0;             // elements of the tensors that the model uses, FP8 factors left out
  int64_t tensor_bytes = 0;           // of all tensors
  int64_t file_bytes = 0;             // of all *.safetensors files read
  bool scanned = false;               // every weight was read

  bool loads() const { return errors.empty(); }
};

Report inspect(const std::filesystem::path& directory, const InspectOptions& options = {},
               const InspectProgress& progress = {});

// Several lines: summary, one line per tensor (left out unless `list_tensors`), then everything found.
std::string to_text(const Report& report, bool list_tensors = true);

// One JSON object; keys are those of the structs above.
std::string to_json(const Report& report);

}  // namespace zaya::checkpoint
