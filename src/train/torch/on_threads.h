// Work on several tensors at once, where single operations are too small to share.
#pragma once

#include <torch/utils.h>

#include <cstddef>
#include <future>
#include <vector>

namespace zaya::train {

// Divides [0, count) into at most `threads` ranges of neighbours and calls work(begin, end) for each on a thread of its
// own, without gradients. What one of them throws goes on here, when all have ended.
template <class Work>
void on_threads(size_t threads, size_t count, const Work& work) {
  std::vector<std::future<void>> others;
  const auto run = [&](size_t part) {
    const torch::NoGradGuard no_grad;
    work(count * part / threads, count * (part + 1) / threads);
  };
  for (size_t part = 1; part < threads; ++part) others.push_back(std::async(std::launch::async, run, part));
  run(0);
  for (std::future<void>& other : others) other.wait();
  for (std::future<void>& other : others) other.get();
}

}  // namespace zaya::train
