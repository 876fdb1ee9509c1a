#include "checkpoint/synthetic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/checkpoint.h"
#include "checkpoint/statistics.h"
#include "checkpoint/test_files.h"

namespace zaya::checkpoint {
namespace {

using ::testing::HasSubstr;

Statistics figures(const Tensor& tensor) {
  const auto values = to_f32(tensor);
  return measure(DType::f32, std::as_bytes(std::span(values)));
}

TEST(Synthetic, OpensInEveryDtype) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f8_e4m3}) {
    TemporaryDirectory directory;
    const Status written = write_synthetic(*shape_named("tiny"), directory.path(), {.seed = 3, .dtype = dtype});
    ASSERT_TRUE(written.ok()) << written.to_string();
    const auto opened = Checkpoint::open(directory.path());
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    EXPECT_EQ(opened->find("model.layers.1.mlp.experts.3.up")->dtype, dtype);
    // σ = 1/√inputs whatever the dtype: FP8 factors included.
    for (const auto& [name, inputs] : {std::pair("gate", 64), {"up", 64}, {"down", 96}}) {
      const Statistics found = figures(*opened->find(std::string("model.layers.1.mlp.experts.3.") + name));
      EXPECT_NEAR(found.rms() * std::sqrt(inputs), 1, 0.05) << name << " " << dtype_name(dtype);
      EXPECT_EQ(found.nan + found.inf, 0);
    }
    EXPECT_NEAR(figures(*opened->find("model.layers.0.self_attn.qkv_proj.conv_qk_grouped.weight")).rms(),
                1 / std::sqrt(16.0 * 2), 0.02);
    EXPECT_NEAR(figures(*opened->find("model.norm.weight")).rms(), 1, 0.05);
    EXPECT_NEAR(figures(*opened->find("model.layers.0.self_attn.qk_norm.temp")).rms(), 2, 1);
    const auto biases = to_f32(*opened->find("model.layers.0.mlp.gate.balancing_biases"));
    EXPECT_EQ(biases.back(), -1);
    for (size_t i = 0; i + 1 < biases.size(); ++i) EXPECT_LT(std::fabs(biases[i]), 0.05f);
  }
}

TEST(Synthetic, ShardsHoldTheSameWeights) {
  TemporaryDirectory whole, sharded, other;
  ASSERT_TRUE(write_synthetic(*shape_named("tiny"), whole.path(), {.seed = 3}).ok());
  ASSERT_TRUE(write_synthetic(*shape_named("tiny"), sharded.path(), {.seed = 3, .shard_bytes = 1}).ok());
  ASSERT_TRUE(write_synthetic(*shape_named("tiny"), other.path(), {.seed = 4}).ok());
  EXPECT_TRUE(std::filesystem::exists(whole.path() / "model.safetensors"));
  EXPECT_TRUE(std::filesystem::exists(sharded.path() / "model.safetensors.index.json"));
  const auto a = Checkpoint::open(whole.path()), b = Checkpoint::open(sharded.path()),
             c = Checkpoint::open(other.path());
  ASSERT_TRUE(a.ok()) << a.status().to_string();
  ASSERT_TRUE(b.ok()) << b.status().to_string();
  ASSERT_TRUE(c.ok()) << c.status().to_string();
  for (const auto& [name, tensor] : a->tensors()) {
    EXPECT_EQ(to_f32(tensor), to_f32(*b->find(name))) << name;
    if (tensor.elements() > 20) {
      EXPECT_NE(to_f32(tensor), to_f32(*c->find(name))) << name;
    }
  }
  // Tensors and experts differ from each other, too.
  EXPECT_NE(to_f32(*a->find("model.layers.0.mlp.experts.0.gate")),
            to_f32(*a->find("model.layers.0.mlp.experts.1.gate")));
  EXPECT_NE(to_f32(*a->find("model.layers.0.mlp.experts.0.gate")),
            to_f32(*a->find("model.layers.1.mlp.experts.0.gate")));
}

TEST(Synthetic, SaysWhenTheDiskIsTooSmall) {
  TemporaryDirectory directory;
  ModelConfig shape = *shape_named("74b");
  shape.expert_width = 262144;  // 18.6 TB in FP32
  const Status status = write_synthetic(shape, directory.path() / "new", {.dtype = DType::f32});
  EXPECT_EQ(status.code(), Code::resource_exhausted);
  EXPECT_THAT(status.message(), HasSubstr("the model takes 18"));
  EXPECT_THAT(status.message(), HasSubstr("has room for"));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path() / "new"));
}

TEST(Synthetic, Refusals) {
  TemporaryDirectory directory;
  EXPECT_EQ(shape_named("9b").status().code(), Code::invalid_argument);
  ModelConfig shape = *shape_named("tiny");
  shape.num_heads = 3;
  EXPECT_FALSE(write_synthetic(shape, directory.path()).ok());
  shape = *shape_named("tiny");
  EXPECT_FALSE(write_synthetic(shape, directory.path(), {.dtype = DType::other}).ok());
  EXPECT_FALSE(write_synthetic(shape, directory.path(), {.shard_bytes = 0}).ok());
  ASSERT_TRUE(write_synthetic(shape, directory.path()).ok());
  const Status again = write_synthetic(shape, directory.path());
  EXPECT_EQ(again.code(), Code::invalid_argument);
  EXPECT_THAT(again.message(), HasSubstr("already holds"));
  ASSERT_TRUE(write_file(directory.path() / "file", "").ok());
  EXPECT_EQ(write_synthetic(shape, directory.path() / "file").code(), Code::io_error);
}

TEST(Synthetic, StoppingLeavesNothing) {
  TemporaryDirectory directory;
  int calls = 0;
  const Status status = write_synthetic(*shape_named("tiny"), directory.path(), {.shard_bytes = 200'000},
                                        [&](int64_t done, int64_t total) {
                                          EXPECT_LE(done, total);
                                          return ++calls < 40;
                                        });
  EXPECT_EQ(status.code(), Code::cancelled);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

}  // namespace
}  // namespace zaya::checkpoint
