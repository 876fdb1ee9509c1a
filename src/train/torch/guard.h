// Where libtorch's exceptions end, and what every verb sets up.
#pragma once

#include <ATen/Parallel.h>
#include <malloc.h>

#include <exception>
#include <string>

#include "base/status.h"
#include "train/torch/commands.h"
#include "train/torch/network.h"

namespace zaya::train {

// Runs `work`; an exception of libtorch's, whose first line says what happened, becomes a Status.
template <class Work>
auto guarded(Work&& work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Status(Code::resource_exhausted, "out of memory", "fewer tokens per batch need less");
  } catch (const std::exception& error) {
    const std::string text = error.what();
    return Status(Code::unsupported, "libtorch: " + text.substr(0, text.find('\n')));
  }
}

// Called once by every verb. Activations of many megabytes come and go in every step: memory given back to the system
// each time would be paged in and zeroed each time, which cost more than computing on it.
inline void prepare(int threads) {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
  ::mallopt(M_TRIM_THRESHOLD, 2'000'000'000);
  ::mallopt(M_TOP_PAD, 64 << 20);
  ::mallopt(M_ARENA_MAX, 1);  // the heaps of other arenas are small and come and go
  if (threads > 0) at::set_num_threads(threads);
}

inline Compute compute_of(const ComputeOptions& options) {
  return {.bf16 = options.bf16, .fused = options.fused, .checkpoint_layers = options.checkpoint_layers};
}

}  // namespace zaya::train
