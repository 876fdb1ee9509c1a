// Keys and values in pages that sequences and caches share. Whoever holds a page keeps it alive; the pool counts.
//
// A page is written once, slot by slot, and never changed: a sequence claims the slots behind its last token before it
// writes them. The first to go on from a shared page's end takes the free slots there; everybody else who wants to
// differ finds them claimed and copies the page. So a snapshot in the middle of a page costs no copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "cpu/pages.h"

namespace zaya::model {

class PagePool;

class Page {
 public:
  Page(std::shared_ptr<PagePool> pool, std::byte* data) : pool_(std::move(pool)), data_(data) {}
  ~Page();
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;

  std::byte* data() const { return data_; }         // the first plane
  std::span<std::byte> plane(int64_t index) const;  // one of the pool's planes()
  void copy(const Page& other);                     // all planes of another page of the same pool
  int64_t users() const { return users_; }          // sequences that hold it; a cache that does is none

  int64_t claimed = 0;  // slots [0, claimed) are written or about to be

 private:
  friend class PageUse;
  std::shared_ptr<PagePool> pool_;
  std::byte* data_;
  int64_t users_ = 0;
};

// All pages of one model. One thread at a time, like the model.
//
// Pages come from slabs of memory in huge pages. A page is made of planes of equal size (keys or values of one layer
// and head: ops::LayerCache), and a slab is [plane][page]: what attention reads of pages that were taken one after the
// other lies side by side, so that hardware reads ahead from one page to the next. (With whole pages side by side it
// read 16 KB here and 16 KB megabytes on: on Zen 4, 17 GB/s a thread of 30 instead of 21.) A slab without pages goes
// back to the system, but for one.
class PagePool : public std::enable_shared_from_this<PagePool> {
 public:
  PagePool(int64_t planes, int64_t plane_bytes) : planes_(planes), plane_bytes_(plane_bytes) {}

  // A page with undefined content; null when the system has no memory.
  std::shared_ptr<Page> allocate();

  int64_t planes() const { return planes_; }
  int64_t plane_bytes() const { return plane_bytes_; }
  int64_t plane_stride() const { return slab_pages() * plane_bytes_; }  // bytes from one plane of a page to the next
  int64_t page_bytes() const { return planes_ * plane_bytes_; }
  int64_t live() const { return live_; }      // pages that exist
  int64_t in_use() const { return in_use_; }  // of these, held by a sequence
  int64_t slabs() const { return static_cast<int64_t>(slabs_.size()); }

  // Pages of one slab.
  int64_t slab_pages() const;

 private:
  friend class Page;
  friend class PageUse;
  struct Slab {
    cpu::Pages memory;
    std::vector<std::byte*> free;
  };
  bool empty(const Slab& slab) const { return static_cast<int64_t>(slab.free.size()) == slab_pages(); }
  void release(std::byte* data);

  int64_t planes_, plane_bytes_;
  std::list<Slab> slabs_;
  int64_t live_ = 0, in_use_ = 0;
};

// A sequence's hold on a page.
class PageUse {
 public:
  explicit PageUse(std::shared_ptr<Page> page);
  PageUse(const PageUse& other) : PageUse(other.page_) {}
  PageUse(PageUse&& other) noexcept = default;
  PageUse& operator=(PageUse other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~PageUse();

  const std::shared_ptr<Page>& page() const { return page_; }

 private:
  std::shared_ptr<Page> page_;  // null when moved from
};

}  // namespace zaya::model
