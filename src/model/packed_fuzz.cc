// A damaged packed model: opening it and running it must give errors or numbers, never a bad access. A whole model is
// packed once; the input is a list of patches to its header and scales, and a length to cut the file at. Mutating 100
// KB of weights would find nothing: any bits are weights.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/packed.h"
#include "checkpoint/synthetic.h"
#include "model/model.h"
#include "model/pack.h"
#include "ops/backend.h"

namespace {

using namespace zaya;
namespace fs = std::filesystem;

void must(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.to_string().c_str());
  std::abort();
}

// A tiny model, packed, in a directory that goes away with the process.
struct Whole {
  fs::path directory = fs::temp_directory_path() / ("zaya-packed-fuzz-" + std::to_string(::getpid()));
  std::string weights;
  size_t header = 0;

  Whole() {
    fs::create_directories(directory);
    must(checkpoint::write_synthetic(checkpoint::shape_named("tiny").value(), directory / "stored"));
    const auto stored = checkpoint::Checkpoint::open(directory / "stored");
    must(stored.status());
    must(model::pack(*stored, model::Preset::q4, directory / "packed", 1).status());
    weights = read_file(directory / "packed/model.safetensors").value();
    uint64_t length = 0;
    std::memcpy(&length, weights.data(), sizeof length);
    header = sizeof length + static_cast<size_t>(length);
  }
  ~Whole() {
    std::error_code ignored;
    fs::remove_all(directory, ignored);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Whole whole;
  std::string file = whole.weights;
  // Patches of [offset, 16 bits][length, 8 bits][bytes]; a length of 255 cuts the file at the offset (in units of 64).
  for (size_t at = 0; at + 3 <= size;) {
    const size_t offset = data[at] | static_cast<size_t>(data[at + 1]) << 8, length = data[at + 2];
    at += 3;
    if (length == 255) {
      file.resize(std::min(file.size(), offset * 64));
      continue;
    }
    const size_t count = std::min(length, size - at), place = offset % (whole.header + 4096);
    if (place + count > file.size()) break;
    std::memcpy(file.data() + place, data + at, count);
    at += count;
  }
  must(write_file(whole.directory / "packed/model.safetensors", file));

  auto packed = checkpoint::PackedCheckpoint::open(whole.directory / "packed");
  if (!packed.ok()) return 0;
  auto model = model::Model::load(std::move(*packed), ops::make_backend("cpu", {.threads = 1}).value(),
                                  {.two_stage_head = true});
  if (!model.ok()) return 0;
  model::SequenceState sequence = (*model)->new_sequence();
  const int32_t tokens[] = {1, 2, 3};
  const model::TokenRun run{&sequence, tokens, model::Logits::last};
  std::vector<float> logits;
  must((*model)->forward({&run, 1}, logits));  // whatever the weights are
  return 0;
}
