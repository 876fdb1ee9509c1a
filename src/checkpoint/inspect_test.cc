#include "checkpoint/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "checkpoint/formats.h"
#include "checkpoint/test_files.h"

namespace zaya::checkpoint {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const TensorReport* find(const Report& report, const std::string& name) {
  for (const TensorReport& tensor : report.tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

Report inspect_files(const ModelFiles& files) {
  TemporaryDirectory directory;
  files.write(directory.path());
  return inspect(directory.path());
}

TEST(Statistics, CountsAndExtremes) {
  std::vector<float> values(5000, 0.5f);
  values[7] = -3;
  values[4999] = 2;
  values[16] = std::numeric_limits<float>::quiet_NaN();
  values[4998] = std::numeric_limits<float>::quiet_NaN();
  values[2048] = std::numeric_limits<float>::infinity();
  values[100] = -std::numeric_limits<float>::infinity();
  const Statistics figures = measure(DType::f32, std::as_bytes(std::span(values)));
  EXPECT_EQ(figures.count, 5000);
  EXPECT_EQ(figures.nan, 2);
  EXPECT_EQ(figures.inf, 2);
  EXPECT_EQ(figures.min, -3);
  EXPECT_EQ(figures.max, 2);
  EXPECT_NEAR(figures.rms(), std::sqrt((4994 * 0.25 + 9 + 4) / 4996), 1e-9);
}

TEST(Statistics, EveryFormat) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    std::vector<uint16_t> bits(65536);
    for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
    const Statistics figures = measure(dtype, std::as_bytes(std::span(bits)));
    EXPECT_EQ(figures.inf, 2);
    EXPECT_EQ(figures.nan, dtype == DType::bf16 ? 254 : 2046);
    EXPECT_EQ(figures.max, dtype == DType::bf16 ? bf16_to_f32(0x7f7f) : 65504.0f);
    EXPECT_EQ(figures.min, -figures.max);
  }
  std::vector<uint8_t> codes(256);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i);
  const Statistics figures = measure(DType::f8_e4m3, std::as_bytes(std::span(codes)));
  EXPECT_EQ(figures.nan, 2);
  EXPECT_EQ(figures.max, 448);
  EXPECT_EQ(measure(DType::other, std::as_bytes(std::span(codes))).count, 0);
  EXPECT_EQ(measure(DType::f32, {}).rms(), 0);
}

TEST(Inspect, AGoodModel) {
  const Report report = inspect_files(tiny_model(DType::bf16));
  EXPECT_TRUE(report.loads());
  EXPECT_THAT(report.warnings, IsEmpty());
  EXPECT_EQ(report.layout, Layout::native);
  EXPECT_TRUE(report.scanned);
  EXPECT_EQ(report.parameters * 2, report.tensor_bytes);
  EXPECT_LT(report.tensor_bytes, report.file_bytes);
  const TensorReport* stack = find(report, "model.layers.0.mlp.experts.gate_up_proj");
  ASSERT_NE(stack, nullptr);
  EXPECT_EQ(stack->canonical, "model.layers.0.mlp.experts.{0…3}.{gate, up}");
  EXPECT_EQ(stack->shard, "model.safetensors");
  EXPECT_NEAR(stack->statistics->rms(), 1.0 / 8, 1e-3);  // σ = 1/√64
  EXPECT_EQ(find(report, "model.layers.0.mlp.gate.balancing_biases")->statistics->min, -1);

  const std::string text = to_text(report);
  for (const char* part : {"layout        native", "experts       4 of width 96", "BF16", "the model loads",
                           "1 see 9 positions (rope theta 10000, 8 of 16 dims)", "4 × 192 × 64"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_LT(to_text(report, false).size(), text.size() / 2);
  const auto json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["loads"], true);
  EXPECT_EQ(json["layout"], "native");
  EXPECT_EQ(json["config"]["hidden_size"], 64);
  EXPECT_EQ(json["config"]["layers"][0]["sliding_window"], 9);
  EXPECT_EQ(json["tensors"].size(), report.tensors.size());
  EXPECT_EQ(json["tensors"][0]["nan"], 0);
}

TEST(Inspect, NanAndInfinity) {
  ModelFiles files = tiny_model();
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  std::memcpy(files.find("model.norm.weight")->data.data() + 8, &nan, 4);
  std::memcpy(files.find("model.embed_tokens.weight")->data.data(), &inf, 4);
  FileTensor* zeros = files.find("model.layers.0.self_attn.o_proj.weight");
  std::fill(zeros->data.begin(), zeros->data.end(), std::byte{0});
  const Report report = inspect_files(files);
  EXPECT_TRUE(report.loads());  // the values do not stop a load
  EXPECT_THAT(report.warnings, Contains("tensor model.norm.weight holds 1 NaN and 0 infinite values among 64"));
  EXPECT_THAT(report.warnings,
              Contains("tensor model.embed_tokens.weight holds 0 NaN and 1 infinite values among 32768"));
  EXPECT_THAT(report.warnings, Contains("every value of tensor model.layers.0.self_attn.o_proj.weight is 0"));
  EXPECT_THAT(to_text(report), HasSubstr("warning       tensor model.norm.weight holds 1 NaN"));
  EXPECT_EQ(find(report, "model.norm.weight")->statistics->nan, 1);
}

TEST(Inspect, EverythingThatIsWrongAtOnce) {
  ModelFiles files = tiny_model();
  files.take("model.layers.0.input_layernorm.weight");
  files.take("model.layers.1.mlp.experts.down_proj");
  files.find("model.norm.weight")->shape = {32, 2};
  files.find("model.norm.weight")->dtype = DType::f32;
  files.tensors.push_back(zero_tensor("model.extra", DType::bf16, {2, 2}));
  FileTensor* biases = files.find("model.layers.1.mlp.gate.balancing_biases");
  *biases = zero_tensor(biases->name, DType::f8_e4m3, biases->shape);
  const Report report = inspect_files(files);
  EXPECT_FALSE(report.loads());
  EXPECT_THAT(report.errors, SizeIs(5));
  EXPECT_THAT(report.missing, ::testing::UnorderedElementsAre("model.layers.0.input_layernorm.weight",
                                                              "model.layers.1.mlp.experts.down_proj"));
  EXPECT_EQ(find(report, "model.norm.weight")->problem, "wrong shape");
  EXPECT_EQ(find(report, "model.extra")->problem, "unexpected");
  EXPECT_EQ(find(report, biases->name)->problem, "wrong dtype");
  EXPECT_THAT(to_text(report), HasSubstr("does not load: 5 problems"));
  EXPECT_THAT(to_text(report), HasSubstr("← wrong shape"));
}

TEST(Inspect, WithoutAConfig) {
  ModelFiles files = tiny_model();
  TemporaryDirectory directory;
  files.write(directory.path());
  std::filesystem::remove(directory.path() / "config.json");
  Report report = inspect(directory.path());
  EXPECT_FALSE(report.loads());
  EXPECT_EQ(report.layout, Layout::native);
  EXPECT_FALSE(report.config.has_value());
  EXPECT_EQ(find(report, "model.norm.weight")->canonical, "model.norm.weight");
  EXPECT_TRUE(find(report, "model.norm.weight")->statistics.has_value());
  EXPECT_GT(report.parameters, 100000);

  ASSERT_TRUE(write_file(directory.path() / "config.json", "{\"vocab_size\": 0}").ok());
  EXPECT_THAT(inspect(directory.path()).errors, Contains(HasSubstr("config.json")));
}

TEST(Inspect, DamagedShard) {
  TemporaryDirectory directory;
  ASSERT_TRUE(write_synthetic(*shape_named("tiny"), directory.path(), {.shard_bytes = 200'000}).ok());
  const auto path = directory.path() / "model-00002-of-00003.safetensors";
  ASSERT_TRUE(std::filesystem::exists(path));
  std::filesystem::resize_file(path, 100);
  const Report report = inspect(directory.path());
  EXPECT_FALSE(report.loads());
  EXPECT_THAT(report.errors, Contains(HasSubstr("model-00002-of-00003.safetensors: the header claims")));
  EXPECT_THAT(report.missing, Contains("model.layers.0.mlp.experts.down_proj"));
  EXPECT_NE(find(report, "model.norm.weight"), nullptr);  // the other shards are read
}

TEST(Inspect, NothingThere) {
  TemporaryDirectory directory;
  const Report report = inspect(directory.path() / "no");
  EXPECT_FALSE(report.loads());
  EXPECT_THAT(report.errors, SizeIs(2));
  EXPECT_THAT(to_text(report), HasSubstr("layout        unknown"));
  EXPECT_EQ(nlohmann::json::parse(to_json(report))["layout"], nullptr);
}

TEST(Inspect, HeadersOnlyAndStoppedScans) {
  TemporaryDirectory directory;
  tiny_model().write(directory.path());
  Report report = inspect(directory.path(), {.scan = false});
  EXPECT_FALSE(report.scanned);
  EXPECT_FALSE(report.tensors[0].statistics.has_value());

  int64_t last = 0, total = 0;
  report = inspect(directory.path(), {.threads = 3}, [&](int64_t done, int64_t all) {
    EXPECT_GE(done, last);
    last = done;
    total = all;
    return true;
  });
  EXPECT_TRUE(report.scanned);
  EXPECT_EQ(last, total);
  EXPECT_EQ(total, report.tensor_bytes);
}

// A text report of the original layout, as transformers' files renamed by the project's script have it.
TEST(Inspect, OriginalLayout) {
  const auto golden = std::filesystem::path(ZAYA_SOURCE_DIR) / "src/model/testdata/window_3-original";
  const Report report = inspect(golden);
  EXPECT_TRUE(report.loads()) << to_text(report);
  EXPECT_EQ(report.layout, Layout::original);
  EXPECT_EQ(find(report, "model.final_norm.weight")->canonical, "model.norm.weight");
  EXPECT_EQ(find(report, "model.layers.1.zaya_block.experts.local_experts.0.linear_fc1.weight")->canonical,
            "model.layers.0.mlp.experts.0.{gate, up}");
}

}  // namespace
}  // namespace zaya::checkpoint
