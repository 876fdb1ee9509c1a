#include "model/page_pool.h"

namespace zaya::model {
namespace {

constexpr std::align_val_t kAlignment{64};  // a cache line, and the widest vector

}  // namespace

std::shared_ptr<Page> PagePool::allocate() {
  auto* data = static_cast<std::byte*>(::operator new(static_cast<size_t>(page_bytes_), kAlignment, std::nothrow));
  if (data == nullptr) return nullptr;
  auto page = std::make_shared<Page>(shared_from_this(), data);
  ++live_;
  return page;
}

Page::~Page() {
  ::operator delete(data_, kAlignment);
  --pool_->live_;
}

PageUse::PageUse(std::shared_ptr<Page> page) : page_(std::move(page)) {
  if (page_->users_++ == 0) ++page_->pool_->in_use_;
}

PageUse::~PageUse() {
  if (page_ != nullptr && --page_->users_ == 0) --page_->pool_->in_use_;
}

}  // namespace zaya::model
