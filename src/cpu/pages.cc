#include "cpu/pages.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace zaya::cpu {
namespace {
constexpr size_t kHugePage = size_t{2} << 20;
}

Result<Pages> Pages::allocate(size_t bytes) {
  Pages pages;
  if (bytes == 0) return pages;
  const size_t slack = bytes >= kHugePage ? kHugePage : 0;
  if (bytes > SIZE_MAX - slack) return Status(Code::out_of_range, "a weight is larger than the address space");
  void* mapping = ::mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    return Status(
        Code::resource_exhausted,
        fmt::format("no memory for {:.2f} GB of weights: {}", static_cast<double>(bytes) / 1e9, std::strerror(errno)),
        "choose a smaller --format");
  }
  pages.mapping_ = mapping;
  pages.mapped_ = bytes + slack;
  auto address = reinterpret_cast<uintptr_t>(mapping);
  if (slack > 0) address = (address + kHugePage - 1) / kHugePage * kHugePage;
  pages.data_ = reinterpret_cast<std::byte*>(address);
  pages.size_ = bytes;
#if defined(MADV_HUGEPAGE)
  if (slack > 0) ::madvise(pages.data_, bytes, MADV_HUGEPAGE);  // a wish; without it everything works, slower
#endif
  return pages;
}

void map_pages([[maybe_unused]] std::span<const std::byte> part) {
#if defined(MADV_POPULATE_READ)
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t first = reinterpret_cast<uintptr_t>(part.data()) / page * page;
  const uintptr_t last = reinterpret_cast<uintptr_t>(part.data() + part.size());
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_POPULATE_READ);
#endif
}

Pages::Pages(Pages&& other) noexcept { *this = std::move(other); }

Pages& Pages::operator=(Pages&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

Pages::~Pages() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapped_);
}

}  // namespace zaya::cpu
