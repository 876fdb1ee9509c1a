// Large blocks of memory for weights: anonymous pages, huge ones where the system gives them (the first touch is three
// times as fast, and a stream misses the address cache less). A page lies on the node of the thread that touches it
// first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <utility>

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

// Reads a part of a mapped file in and maps it in one call, where the system can; otherwise touching it will. Saves a
// fault per 64 KiB: some 15 % of the processor time of copying a file from the system's cache.
void map_pages(std::span<const std::byte> part);

// Memory for activations that grows when it must and never shrinks; its content is lost when it grows. The address
// cache matters as much for activations as for weights: a tile's rows or a step's tokens lie pages apart.
template <class T>
class Buffer {
 public:
  // At least `count` elements, aligned to 64 bytes; zero when new. Throws std::bad_alloc.
  T* get(int64_t count) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    if (bytes > pages_.size()) {
      pages_ = Pages();
      Result<Pages> grown = Pages::allocate(bytes);
      if (!grown.ok()) throw std::bad_alloc();
      pages_ = std::move(grown).value();
    }
    return data();
  }
  T* data() const { return reinterpret_cast<T*>(pages_.data()); }

 private:
  Pages pages_;
};

}  // namespace zaya::cpu
