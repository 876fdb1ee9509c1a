// Large blocks of memory for weights: anonymous pages, huge ones where the system gives them (the first touch is three
// times as fast, and a stream misses the address cache less). A page lies on the node of the thread that touches it
// first.
#pragma once

#include <cstddef>
#include <span>

#include "base/status.h"

namespace zaya::cpu {

class Pages {
 public:
  Pages() = default;
  // Zeroed, aligned to 2 MiB when that large; resource_exhausted when the system refuses.
  static Result<Pages> allocate(size_t bytes);

  Pages(Pages&& other) noexcept;
  Pages& operator=(Pages&& other) noexcept;
  ~Pages();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  void* mapping_ = nullptr;
  size_t mapped_ = 0;
};

}  // namespace zaya::cpu
