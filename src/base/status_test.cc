#include "base/status.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

namespace zaya {
namespace {

TEST(Status, IsFineByDefault) {
  const Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.code(), Code::ok);
  EXPECT_EQ(status.to_string(), "ok");
}

TEST(Status, SaysWhatIsWrongAndWhatToDo) {
  const Status status(Code::malformed, "model.safetensors: the header is 9 bytes", "download the file again");
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.code(), Code::malformed);
  EXPECT_EQ(status.to_string(), "model.safetensors: the header is 9 bytes (download the file again)");
}

TEST(Status, WithoutAHintIsOnlyItsMessage) {
  EXPECT_EQ(Status(Code::cancelled, "stopped after 7 tokens").to_string(), "stopped after 7 tokens");
}

TEST(Status, ContextGoesInFrontAndKeepsCodeAndHint) {
  const Status inner(Code::out_of_range, "num_experts is 0", "give at least 1");
  const Status outer = inner.with_context("config.json");
  EXPECT_EQ(outer.code(), Code::out_of_range);
  EXPECT_EQ(outer.message(), "config.json: num_experts is 0");
  EXPECT_EQ(outer.hint(), "give at least 1");
  EXPECT_EQ(inner.message(), "num_experts is 0");
}

TEST(Status, ContextLeavesSuccessAlone) { EXPECT_TRUE(Status().with_context("config.json").ok()); }

TEST(Code, EveryCodeHasItsOwnName) {
  std::set<std::string> names;
  for (Code code : {Code::ok, Code::invalid_argument, Code::not_found, Code::io_error, Code::malformed,
                    Code::unsupported, Code::out_of_range, Code::resource_exhausted, Code::cancelled}) {
    EXPECT_TRUE(names.insert(code_name(code)).second) << code_name(code);
  }
  EXPECT_EQ(names.count("unknown"), 0u);
}

TEST(Result, HoldsAValue) {
  Result<int> result = 7;
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(*result, 7);
  EXPECT_TRUE(result.status().ok());
  *result = 8;
  EXPECT_EQ(result.value(), 8);
}

TEST(Result, HoldsAFailure) {
  const Result<int> result = Status(Code::not_found, "no such tensor");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), Code::not_found);
}

TEST(Result, MovesAValueThatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(3);
  const std::unique_ptr<int> taken = *std::move(result);
  ASSERT_NE(taken, nullptr);
  EXPECT_EQ(*taken, 3);
}

TEST(Result, ReachesMembersThroughTheArrow) {
  const Result<std::string> result = std::string("abc");
  EXPECT_EQ(result->size(), 3u);
}

Result<int> half(int n) {
  if (n % 2 != 0) return Status(Code::invalid_argument, "odd: " + std::to_string(n));
  return n / 2;
}

Result<int> quarter(int n, int* steps) {
  ZAYA_ASSIGN(const int once, half(n));
  ++*steps;
  ZAYA_ASSIGN(const int twice, half(once));
  ++*steps;
  return twice;
}

TEST(Assign, UnwrapsOrReturnsTheFailureAtOnce) {
  int steps = 0;
  EXPECT_EQ(*quarter(12, &steps), 3);
  EXPECT_EQ(steps, 2);

  steps = 0;
  EXPECT_EQ(quarter(6, &steps).status().message(), "odd: 3");
  EXPECT_EQ(steps, 1);

  steps = 0;
  EXPECT_EQ(quarter(5, &steps).status().message(), "odd: 5");
  EXPECT_EQ(steps, 0);
}

Status run(int n, bool* finished) {
  ZAYA_RETURN_IF_ERROR(half(n).status());
  *finished = true;
  return Status();
}

TEST(ReturnIfError, GoesOnOnlyAfterSuccess) {
  bool finished = false;
  EXPECT_EQ(run(3, &finished).code(), Code::invalid_argument);
  EXPECT_FALSE(finished);
  EXPECT_TRUE(run(4, &finished).ok());
  EXPECT_TRUE(finished);
}

}  // namespace
}  // namespace zaya
