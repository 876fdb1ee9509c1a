#include "model/page_pool.h"

#include <algorithm>

namespace zaya::model {
namespace {

constexpr int64_t kSlabBytes = int64_t{24} << 20, kMostPages = 64;

}  // namespace

int64_t PagePool::slab_pages() const { return std::clamp<int64_t>(kSlabBytes / page_bytes(), 1, kMostPages); }

std::shared_ptr<Page> PagePool::allocate() {
  auto slab = std::find_if(slabs_.begin(), slabs_.end(), [](const Slab& s) { return !s.free.empty(); });
  if (slab == slabs_.end()) {
    Result<cpu::Pages> memory = cpu::Pages::allocate(static_cast<size_t>(page_bytes() * slab_pages()));
    if (!memory.ok()) return nullptr;
    slab = slabs_.insert(slabs_.end(), {.memory = std::move(memory).value(), .free = {}});
    for (int64_t i = slab_pages(); i-- > 0;) slab->free.push_back(slab->memory.data() + i * plane_bytes_);
  }
  auto page = std::make_shared<Page>(shared_from_this(), slab->free.back());
  slab->free.pop_back();
  ++live_;
  return page;
}

void PagePool::release(std::byte* data) {
  --live_;
  const auto slab = std::find_if(slabs_.begin(), slabs_.end(), [&](const Slab& s) {
    return data >= s.memory.data() && data < s.memory.data() + s.memory.size();
  });
  slab->free.push_back(data);
  // One is kept, so that a sequence that comes and goes does not fault its memory in each time.
  if (!empty(*slab)) return;
  if (std::count_if(slabs_.begin(), slabs_.end(), [&](const Slab& s) { return empty(s); }) > 1) slabs_.erase(slab);
}

std::span<std::byte> Page::plane(int64_t index) const {
  return {data_ + index * pool_->plane_stride(), static_cast<size_t>(pool_->plane_bytes())};
}

void Page::copy(const Page& other) {
  for (int64_t i = 0; i < pool_->planes(); ++i) std::ranges::copy(other.plane(i), plane(i).begin());
}

Page::~Page() { pool_->release(data_); }

PageUse::PageUse(std::shared_ptr<Page> page) : page_(std::move(page)) {
  if (page_->users_++ == 0) ++page_->pool_->in_use_;
}

PageUse::~PageUse() {
  if (page_ != nullptr && --page_->users_ == 0) --page_->pool_->in_use_;
}

}  // namespace zaya::model
