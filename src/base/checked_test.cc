#include "base/checked.h"

#include <gtest/gtest.h>

#include <limits>

namespace zaya {
namespace {

constexpr int64_t largest = std::numeric_limits<int64_t>::max();
constexpr int64_t smallest = std::numeric_limits<int64_t>::min();

TEST(CheckedAdd, GivesTheSumUpToTheEdges) {
  EXPECT_EQ(checked_add(2, 3), 5);
  EXPECT_EQ(checked_add(largest - 1, 1), largest);
  EXPECT_EQ(checked_add(smallest, largest), -1);
}

TEST(CheckedAdd, RefusesOverflowInBothDirections) {
  EXPECT_EQ(checked_add(largest, 1), std::nullopt);
  EXPECT_EQ(checked_add(smallest, -1), std::nullopt);
}

TEST(CheckedMul, GivesTheProductUpToTheEdges) {
  EXPECT_EQ(checked_mul(262272, 2048), 537133056);
  EXPECT_EQ(checked_mul(-3, 4), -12);
  EXPECT_EQ(checked_mul(int64_t{1} << 31, int64_t{1} << 31), int64_t{1} << 62);
}

TEST(CheckedMul, RefusesOverflow) {
  EXPECT_EQ(checked_mul(int64_t{1} << 32, int64_t{1} << 31), std::nullopt);
  EXPECT_EQ(checked_mul(smallest, -1), std::nullopt);
}

TEST(CheckedProduct, OfNothingIsOne) { EXPECT_EQ(checked_product({}), 1); }

TEST(CheckedProduct, MultipliesSizes) {
  EXPECT_EQ(checked_product({16, 4096, 2048, 2}), 268435456);
  EXPECT_EQ(checked_product({5, 0, 7}), 0);
}

TEST(CheckedProduct, RefusesNegativeFactorsEvenWhenTheProductIsPositive) {
  EXPECT_EQ(checked_product({-2, -3}), std::nullopt);
  EXPECT_EQ(checked_product({0, -1}), std::nullopt);
}

TEST(CheckedProduct, RefusesOverflowEvenWhenALaterFactorIsZero) {
  EXPECT_EQ(checked_product({largest, 2}), std::nullopt);
  EXPECT_EQ(checked_product({largest, 2, 0}), std::nullopt);
}

}  // namespace
}  // namespace zaya
