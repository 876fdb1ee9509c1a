#include "model/page_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace zaya::model {
namespace {

TEST(PagePool, PagesDoNotOverlapAndComeBack) {
  const auto pool = std::make_shared<PagePool>(20, 16 << 10);
  const auto fill = [&](const Page& page, int64_t i) {
    for (int64_t plane = 0; plane < pool->planes(); ++plane) {
      std::ranges::fill(page.plane(plane), static_cast<std::byte>(i + plane));
    }
  };
  const int64_t slab = pool->slab_pages(), count = 3 * slab;
  EXPECT_GT(slab, 1);
  std::vector<std::shared_ptr<Page>> pages;
  for (int64_t i = 0; i < count; ++i) {
    pages.push_back(pool->allocate());
    ASSERT_NE(pages.back(), nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pages.back()->data()) % 64, 0u);
    fill(*pages.back(), i);
  }
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t plane = 0; plane < pool->planes(); ++plane) {
      const std::span<std::byte> bytes = pages[static_cast<size_t>(i)]->plane(plane);
      EXPECT_EQ(std::ranges::count(bytes, static_cast<std::byte>(i + plane)), pool->plane_bytes()) << i;
    }
  }
  EXPECT_EQ(pages[1]->plane(3).data(), pages[0]->plane(3).data() + pool->plane_bytes()) << "planes lie page by page";
  pages[0]->copy(*pages[1]);
  EXPECT_TRUE(std::ranges::equal(pages[0]->plane(19), pages[1]->plane(19)));
  EXPECT_EQ(pool->live(), count);
  EXPECT_EQ(pool->slabs(), 3);

  // A page's place is the next one's; slabs without pages go, but for one.
  const std::byte* place = pages[1]->data();
  pages[1] = nullptr;
  pages[1] = pool->allocate();
  EXPECT_EQ(pages[1]->data(), place);
  pages.resize(1);
  EXPECT_EQ(pool->live(), 1);
  EXPECT_EQ(pool->slabs(), 2);
  pages.clear();
  EXPECT_EQ(pool->live(), 0);
  EXPECT_EQ(pool->slabs(), 1);
}

TEST(PagePool, LargePagesHaveASlabEach) {
  const auto pool = std::make_shared<PagePool>(20, 1 << 20);
  const auto first = pool->allocate(), second = pool->allocate();
  ASSERT_TRUE(first != nullptr && second != nullptr);
  EXPECT_EQ(pool->slab_pages(), 1);
  EXPECT_EQ(pool->slabs(), 2);
}

// Of a size that no system has: null, and the pool stays as it was.
TEST(PagePool, NoMemoryIsNoPage) {
  const auto pool = std::make_shared<PagePool>(1, int64_t{1} << 60);
  EXPECT_EQ(pool->allocate(), nullptr);
  EXPECT_EQ(pool->live(), 0);
  EXPECT_EQ(pool->slabs(), 0);
}

}  // namespace
}  // namespace zaya::model
