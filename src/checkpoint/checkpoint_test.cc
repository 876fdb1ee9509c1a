#include "checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "checkpoint/formats.h"
#include "checkpoint/names.h"
#include "checkpoint/test_files.h"

namespace zaya::checkpoint {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

const std::filesystem::path goldens = std::filesystem::path(ZAYA_SOURCE_DIR) / "src/model/testdata";

Result<Checkpoint> open(const ModelFiles& files) {
  // Mapped files stay readable after their names are gone.
  TemporaryDirectory directory;
  files.write(directory.path());
  return Checkpoint::open(directory.path());
}

template <class Opened>
void expect_refused(const Opened& opened, Code code, const std::vector<std::string>& parts) {
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.status().code(), code) << opened.status().to_string();
  for (const std::string& part : parts) EXPECT_THAT(opened.status().to_string(), HasSubstr(part));
}

void expect_same_tensors(const Checkpoint& a, const Checkpoint& b) {
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const auto& [name, tensor] : a.tensors()) {
    const Tensor* other = b.find(name);
    ASSERT_NE(other, nullptr) << name;
    EXPECT_EQ(tensor.shape, other->shape) << name;
    EXPECT_EQ(to_f32(tensor), to_f32(*other)) << name;
  }
}

// Renames a model into the original layout: every expert by itself, gate and up rows in one matrix.
ModelFiles original_of(ModelFiles native) {
  const ModelConfig config = *parse_config(native.config.dump());
  ModelFiles result;
  for (FileTensor& tensor : native.tensors) {
    if (tensor.name.find(".mlp.experts.") == std::string::npos) {
      tensor.name = file_name(Layout::original, tensor.name, config.num_layers());
      result.tensors.push_back(std::move(tensor));
      continue;
    }
    const bool down = tensor.name.ends_with("down_proj");
    const std::string prefix = tensor.name.substr(0, tensor.name.rfind('.'));
    const size_t bytes = tensor.data.size() / static_cast<size_t>(config.num_experts);
    for (int64_t expert = 0; expert < config.num_experts; ++expert) {
      const auto begin = tensor.data.begin() + static_cast<std::ptrdiff_t>(bytes) * expert;
      const std::string canonical = prefix + "." + std::to_string(expert) + (down ? ".down" : ".gate");
      result.tensors.push_back({file_name(Layout::original, canonical, config.num_layers()),
                                tensor.dtype,
                                {tensor.shape[1], tensor.shape[2]},
                                {begin, begin + static_cast<std::ptrdiff_t>(bytes)}});
    }
  }
  result.config = {{"model_type", "zaya"},
                   {"vocab_size", config.vocab_size},
                   {"hidden_size", config.hidden_size},
                   {"num_hidden_layers", 2 * config.num_layers()},
                   {"num_attention_heads", config.num_heads},
                   {"num_query_groups", config.num_kv_heads},
                   {"kv_channels", config.head_dim},
                   {"num_experts", config.num_experts},
                   {"ffn_hidden_size", 2 * config.expert_width},
                   {"zaya_mlp_expansion", config.router_width},
                   {"max_position_embeddings", config.max_positions},
                   {"norm_epsilon", config.rms_norm_eps},
                   {"rope_theta", 5e6},
                   {"partial_rotary_factor", 0.5},
                   {"swa_rotary_base", 1e4},
                   {"swa_layers", {8, 0, 0, 0}},
                   {"bos_token_id", 2},
                   {"pad_token_id", 0},
                   {"eos_token_id", 106}};
  return result;
}

// Splits the stacks into single matrices, as quantising tools write them.
ModelFiles unstacked_of(const ModelFiles& native) {
  const ModelConfig config = *parse_config(native.config.dump());
  ModelFiles result;
  result.config = native.config;
  for (const FileTensor& tensor : native.tensors) {
    if (tensor.name.find(".mlp.experts.") == std::string::npos) {
      result.tensors.push_back(tensor);
      continue;
    }
    const bool down = tensor.name.ends_with("down_proj");
    const std::string prefix = tensor.name.substr(0, tensor.name.rfind('.'));
    const int64_t parts = down ? 1 : 2, rows = tensor.shape[1] / parts;
    const auto bytes = static_cast<std::ptrdiff_t>(tensor.data.size()) / (config.num_experts * parts);
    for (int64_t i = 0; i < config.num_experts * parts; ++i) {
      const char* name = down ? "down_proj" : i % 2 == 0 ? "gate_proj" : "up_proj";
      const auto begin = tensor.data.begin() + bytes * i;
      result.tensors.push_back({prefix + "." + std::to_string(i / parts) + "." + name + ".weight",
                                tensor.dtype,
                                {rows, tensor.shape[2]},
                                {begin, begin + bytes}});
    }
  }
  return result;
}

TEST(Checkpoint, OpensNative) {
  const ModelFiles files = tiny_model();
  const auto opened = open(files);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  EXPECT_THAT(opened->notes(), ::testing::IsEmpty());
  EXPECT_EQ(opened->config().layout, Layout::native);
  const std::vector<ExpectedTensor> expected = expected_tensors(opened->config());
  EXPECT_EQ(opened->tensors().size(), expected.size());
  for (const ExpectedTensor& tensor : expected) {
    ASSERT_NE(opened->find(tensor.name), nullptr) << tensor.name;
    EXPECT_EQ(opened->find(tensor.name)->shape, tensor.shape);
  }
  EXPECT_EQ(opened->find("lm_head.weight"), nullptr);
  EXPECT_EQ(opened->find("model.layers.0.mlp.gate.router_states_scale"), nullptr);
}

TEST(Checkpoint, SlicesStacksByExpertGateRowsFirst) {
  ModelFiles files = tiny_model();
  FileTensor* stack = files.find("model.layers.1.mlp.experts.gate_up_proj");
  ASSERT_EQ(stack->shape, (std::vector<int64_t>{4, 192, 64}));
  // Every value says where it stands: expert × 1000 + row.
  std::vector<float> values;
  for (int expert = 0; expert < 4; ++expert) {
    for (int row = 0; row < 192; ++row) values.insert(values.end(), 64, static_cast<float>(expert * 1000 + row));
  }
  *stack = float_tensor(stack->name, stack->shape, values);
  const auto opened = open(files);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  const auto gate = to_f32(*opened->find("model.layers.1.mlp.experts.2.gate"));
  const auto up = to_f32(*opened->find("model.layers.1.mlp.experts.2.up"));
  ASSERT_EQ(gate.size(), 96u * 64);
  for (size_t i = 0; i < gate.size(); ++i) {
    ASSERT_EQ(gate[i], static_cast<float>(2000 + i / 64));
    ASSERT_EQ(up[i], static_cast<float>(2096 + i / 64));
  }
}

TEST(Checkpoint, AllSpellingsOfOneModelAgree) {
  const ModelFiles files = tiny_model(DType::bf16);
  const auto native = open(files), original = open(original_of(files)), unstacked = open(unstacked_of(files));
  ASSERT_TRUE(native.ok()) << native.status().to_string();
  ASSERT_TRUE(original.ok()) << original.status().to_string();
  ASSERT_TRUE(unstacked.ok()) << unstacked.status().to_string();
  EXPECT_EQ(original->config().layout, Layout::original);
  EXPECT_EQ(original->config().layers, native->config().layers);
  expect_same_tensors(*native, *original);
  expect_same_tensors(*native, *unstacked);
}

// Files that transformers wrote, and the same renamed by a script of the project that knows nothing of names.cc.
TEST(Checkpoint, OpensWhatTransformersWrote) {
  int opened_count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(goldens)) {
    if (!entry.is_directory()) continue;
    const auto opened = Checkpoint::open(entry.path());
    if (entry.path().filename() == "rotary_odd") {
      expect_refused(opened, Code::unsupported, {"gives 7 rotary dimensions"});
      continue;
    }
    ASSERT_TRUE(opened.ok()) << entry.path() << ": " << opened.status().to_string();
    ++opened_count;
    const std::string name = entry.path().string();
    if (!name.ends_with("-original")) continue;
    EXPECT_EQ(opened->config().layout, Layout::original);
    const auto native = Checkpoint::open(name.substr(0, name.size() - std::string("-original").size()));
    ASSERT_TRUE(native.ok()) << native.status().to_string();
    EXPECT_EQ(opened->config().layers, native->config().layers);
    expect_same_tensors(*native, *opened);
  }
  EXPECT_GE(opened_count, 16);
}

TEST(Checkpoint, SmallDeviationsAreAcceptedAndNoted) {
  ModelFiles files = tiny_model();
  files.tensors.push_back(zero_tensor("model.rotary_emb.hybrid_inv_freq", DType::f32, {4}));
  files.tensors.push_back(zero_tensor("model.layers.0.mlp.gate.router_states_scale", DType::f32, {16}));
  const auto opened = open(files);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  EXPECT_THAT(opened->notes(), Contains(HasSubstr("tensor model.rotary_emb.hybrid_inv_freq is not used")));
  EXPECT_EQ(opened->tensors().size(), expected_tensors(opened->config()).size());
}

TEST(Checkpoint, HeadThatTheConfigTies) {
  ModelFiles files = tiny_model();
  FileTensor copy = *files.find("model.embed_tokens.weight");
  copy.name = "lm_head.weight";
  files.tensors.push_back(copy);
  auto opened = open(files);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  EXPECT_TRUE(opened->config().tie_embeddings);
  EXPECT_EQ(opened->find("lm_head.weight"), nullptr);
  EXPECT_THAT(opened->notes(), Contains(HasSubstr("copy of the embedding")));

  // transformers does not tie two that differ.
  files.tensors.back().data[5] ^= std::byte{1};
  opened = open(files);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  EXPECT_FALSE(opened->config().tie_embeddings);
  ASSERT_NE(opened->find("lm_head.weight"), nullptr);
  EXPECT_THAT(opened->notes(), Contains(HasSubstr("differs from the embedding")));

  // The head alone serves as both.
  files.take("model.embed_tokens.weight");
  opened = open(files);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  EXPECT_EQ(opened->find("model.embed_tokens.weight")->name, "lm_head.weight");
  EXPECT_EQ(opened->find("lm_head.weight"), nullptr);
}

TEST(Checkpoint, SeparateHeadAndBiases) {
  ModelConfig shape = *shape_named("tiny");
  shape.tie_embeddings = false;
  shape.lm_head_bias = shape.attention_bias = true;
  const ModelFiles files = tiny_model(DType::f16, shape);
  const auto opened = open(files);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  EXPECT_EQ(opened->find("lm_head.bias")->shape, (std::vector<int64_t>{512}));
  EXPECT_EQ(opened->find("model.layers.1.self_attn.qkv_proj.v_proj_delayed.bias")->shape, (std::vector<int64_t>{16}));

  ModelFiles without = files;
  without.config["attention_bias"] = false;
  expect_refused(open(without), Code::malformed,
                 {"unknown tensor model.layers.0.self_attn.o_proj.bias", "says that there are no such biases"});
  ModelFiles lacking = files;
  lacking.take("lm_head.weight");
  expect_refused(open(lacking), Code::not_found, {"tensor lm_head.weight (512 × 64) is missing"});
}

TEST(Checkpoint, MissingTensor) {
  ModelFiles files = tiny_model();
  files.take("model.layers.1.mlp.gate.balancing_biases");
  expect_refused(open(files), Code::not_found,
                 {"tensor model.layers.1.mlp.gate.balancing_biases (5) is missing", "incomplete"});
  files = tiny_model();
  files.take("model.layers.1.mlp.experts.gate_up_proj");
  expect_refused(open(files), Code::not_found,
                 {"tensor model.layers.1.mlp.experts.gate_up_proj (4 × 192 × 64) is missing"});
  // In the file's own spelling, with the number of those that are not listed.
  ModelFiles original = original_of(tiny_model());
  original.take("model.layers.3.zaya_block.experts.local_experts.2.linear_fc1.weight");
  expect_refused(open(original), Code::not_found,
                 {"tensor model.layers.3.zaya_block.experts.local_experts.2.linear_fc1.weight (192 × 64) is missing"});
  for (int i = 0; i < 4; ++i) {
    original.take("model.layers.1.zaya_block.experts.local_experts." + std::to_string(i) + ".linear_fc2.weight");
    original.take("model.layers.3.zaya_block.experts.local_experts." + std::to_string(i) + ".linear_fc2.weight");
  }
  expect_refused(open(original), Code::not_found, {"; and 4 more"});
}

TEST(Checkpoint, UnknownTensor) {
  ModelFiles files = tiny_model();
  files.tensors.push_back(zero_tensor("model.layers.0.mlp.shared_expert.weight", DType::f32, {3, 4}));
  expect_refused(open(files), Code::malformed,
                 {"unknown tensor model.layers.0.mlp.shared_expert.weight (F32, 3 × 4)", "2 layers and 4 experts"});
  files.tensors.back().name = "model.layers.2.input_layernorm.weight";
  expect_refused(open(files), Code::malformed, {"unknown tensor model.layers.2.input_layernorm.weight"});
  files.tensors.back().name = "model.layers.0.mlp.experts.4.gate_proj.weight";
  expect_refused(open(files), Code::malformed, {"unknown tensor model.layers.0.mlp.experts.4.gate_proj.weight"});
}

TEST(Checkpoint, WrongShape) {
  ModelFiles files = tiny_model();
  FileTensor* tensor = files.find("model.layers.0.self_attn.qkv_proj.q_proj.weight");
  tensor->shape = {32, 128};
  expect_refused(open(files), Code::malformed,
                 {"expected 64 × 64 for model.layers.0.self_attn.qkv_proj.q_proj.weight, found 32 × 128"});
  files = tiny_model();
  files.find("model.layers.0.mlp.experts.down_proj")->shape = {4, 96, 64};  // transposed
  const auto opened = open(files);
  expect_refused(opened, Code::malformed,
                 {"expected 4 × 64 × 96 for model.layers.0.mlp.experts.down_proj, found 4 × 96 × 64"});
  EXPECT_THAT(opened.status().message(), ::testing::Not(HasSubstr("missing")));
}

TEST(Checkpoint, WrongDtype) {
  ModelFiles files = tiny_model();
  FileTensor* tensor = files.find("model.norm.weight");
  *tensor = zero_tensor(tensor->name, DType::f8_e4m3, tensor->shape);
  expect_refused(open(files), Code::unsupported, {"expected F32, BF16 or F16 for model.norm.weight, found F8_E4M3"});
  // A dtype that the writer does not write: the header is changed by hand.
  files = tiny_model();
  TemporaryDirectory directory;
  files.write(directory.path());
  std::string bytes = *read_file(directory.path() / "model.safetensors");
  const size_t at = bytes.find("\"model.norm.weight\":{\"dtype\":\"F32\"");
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at + 30, 3, "I32");
  ASSERT_TRUE(write_file(directory.path() / "model.safetensors", bytes).ok());
  expect_refused(Checkpoint::open(directory.path()), Code::unsupported,
                 {"expected F32, BF16 or F16 for model.norm.weight, found I32"});
}

TEST(Checkpoint, SameTensorInTwoSpellings) {
  ModelFiles files = tiny_model();
  files.tensors.push_back(zero_tensor("model.layers.0.mlp.experts.1.up_proj.weight", DType::f32, {96, 64}));
  expect_refused(
      open(files), Code::malformed,
      {"tensors model.layers.0.mlp.experts.gate_up_proj and model.layers.0.mlp.experts.1.up_proj.weight both "
       "hold model.layers.0.mlp.experts.1.up"});
}

TEST(Checkpoint, LayoutsThatDisagree) {
  ModelFiles native = tiny_model(), original = original_of(native);
  std::swap(native.config, original.config);
  expect_refused(open(native), Code::malformed, {"keys of the original layout", "named as in the native one"});
  expect_refused(open(original), Code::malformed, {"keys of the native layout", "named as in the original one"});
  ModelFiles other = tiny_model();
  other.tensors = {zero_tensor("transformer.h.0.weight", DType::f32, {1})};
  expect_refused(open(other), Code::malformed, {"neither model.norm.weight (native) nor"});
  other.tensors = {zero_tensor("model.norm.weight", DType::f32, {1}),
                   zero_tensor("model.final_norm.weight", DType::f32, {1})};
  expect_refused(open(other), Code::malformed, {"both model.norm.weight (native) and"});
}

TEST(Checkpoint, AbsentFiles) {
  TemporaryDirectory directory;
  expect_refused(Checkpoint::open(directory.path()), Code::not_found, {"config.json"});
  expect_refused(Checkpoint::open(directory.path() / "no"), Code::not_found, {"no/config.json"});
  ASSERT_TRUE(write_file(directory.path() / "config.json", tiny_model().config.dump()).ok());
  expect_refused(Checkpoint::open(directory.path()), Code::not_found,
                 {"neither model.safetensors nor model.safetensors.index.json"});
  ASSERT_TRUE(write_file(directory.path() / "model.safetensors", "").ok());
  expect_refused(Checkpoint::open(directory.path()), Code::malformed, {"model.safetensors: 0 bytes are too few"});
}

TEST(Checkpoint, StopTokensOfTheGenerationConfig) {
  ModelFiles files = tiny_model();
  TemporaryDirectory directory;
  files.write(directory.path());
  const auto generation = directory.path() / "generation_config.json";
  ASSERT_TRUE(write_file(generation, R"({"eos_token_id": [1, 106], "do_sample": true})").ok());
  auto opened = Checkpoint::open(directory.path());
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  EXPECT_THAT(opened->config().eos_tokens, ::testing::ElementsAre(106, 1));
  ASSERT_TRUE(write_file(generation, "{").ok());
  expect_refused(Checkpoint::open(directory.path()), Code::malformed, {"generation_config.json is not valid JSON"});
}

TEST(Checkpoint, UnalignedDataIsCopied) {
  const ModelFiles files = tiny_model();
  TemporaryDirectory directory;
  files.write(directory.path());
  const auto path = directory.path() / "model.safetensors";
  std::string bytes = *read_file(path);
  const size_t header = static_cast<uint8_t>(bytes[0]) + 256u * static_cast<uint8_t>(bytes[1]);
  bytes.insert(8 + header, 1, ' ');
  bytes[0] = static_cast<char>((header + 1) & 0xff);
  bytes[1] = static_cast<char>((header + 1) >> 8);
  ASSERT_TRUE(write_file(path, bytes).ok());
  const auto odd = Checkpoint::open(directory.path()), even = open(files);
  ASSERT_TRUE(odd.ok()) << odd.status().to_string();
  EXPECT_THAT(odd->notes(), Contains(HasSubstr("not aligned for F32")));
  expect_same_tensors(*even, *odd);
  for (const auto& [name, tensor] : odd->tensors()) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data.data()) % 4, 0u) << name;
  }
}

// --- shards -----------------------------------------------------------------------------------------------------

class Sharded : public ::testing::Test {
 protected:
  void SetUp() override {
    files_ = tiny_model();
    const size_t half = files_.tensors.size() / 2;
    for (size_t i = 0; i < files_.tensors.size(); ++i) (i < half ? first_ : second_).push_back(files_.tensors[i]);
    for (const FileTensor& tensor : first_) map_[tensor.name] = "model-00001-of-00002.safetensors";
    for (const FileTensor& tensor : second_) map_[tensor.name] = "model-00002-of-00002.safetensors";
  }
  Result<Checkpoint> open_shards(bool with_second = true) {
    const auto path = directory_.path();
    EXPECT_TRUE(write_file(path / "config.json", files_.config.dump()).ok());
    EXPECT_TRUE(write_file(path / "model.safetensors.index.json", nlohmann::json{{"weight_map", map_}}.dump()).ok());
    write_tensors(path / "model-00001-of-00002.safetensors", first_);
    if (with_second) write_tensors(path / "model-00002-of-00002.safetensors", second_);
    return Checkpoint::open(path);
  }
  ModelFiles files_;
  std::vector<FileTensor> first_, second_;
  nlohmann::json map_ = nlohmann::json::object();
  TemporaryDirectory directory_;
};

TEST_F(Sharded, Opens) {
  const auto sharded = open_shards(), whole = open(files_);
  ASSERT_TRUE(sharded.ok()) << sharded.status().to_string();
  expect_same_tensors(*whole, *sharded);
}

TEST_F(Sharded, AbsentShard) {
  expect_refused(open_shards(false), Code::not_found,
                 {"names the shard model-00002-of-00002.safetensors, which is not there"});
}

TEST_F(Sharded, TruncatedShard) {
  ASSERT_TRUE(open_shards().ok());
  const auto path = directory_.path() / "model-00002-of-00002.safetensors";
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  expect_refused(Checkpoint::open(directory_.path()), Code::malformed,
                 {"model-00002-of-00002.safetensors: tensor", "truncated"});
}

TEST_F(Sharded, TensorInAnotherShardThanTheIndexSays) {
  map_[first_[0].name] = "model-00002-of-00002.safetensors";
  expect_refused(open_shards(), Code::malformed,
                 {"says that tensor " + first_[0].name + " is in model-00002", "but it is in model-00001"});
}

TEST_F(Sharded, TensorInTwoShards) {
  second_.push_back(first_[0]);
  expect_refused(open_shards(), Code::malformed, {"tensor " + first_[0].name + " is in two shards"});
}

TEST_F(Sharded, IndexAndShardsDiffer) {
  map_["model.ghost"] = "model-00001-of-00002.safetensors";
  expect_refused(open_shards(), Code::malformed, {"says that tensor model.ghost is in model-00001", "where it is not"});
  map_.erase("model.ghost");
  map_.erase(second_[0].name);
  expect_refused(open_shards(), Code::malformed, {"holds tensor " + second_[0].name + ", which"});
}

TEST_F(Sharded, PathsThatLeaveTheDirectory) {
  for (const char* path : {"../model.safetensors", "/etc/model.safetensors", "a/b.safetensors", "..", "", "x.bin",
                           "a\\b.safetensors", "..safetensors"}) {
    map_[first_[0].name] = path;
    expect_refused(open_shards(), Code::malformed, {"which is no plain *.safetensors file name"});
  }
  map_[first_[0].name] = 7;
  expect_refused(open_shards(), Code::malformed, {"is said to be in 7"});
}

TEST_F(Sharded, IndexWithoutAMap) {
  map_ = nlohmann::json::object();
  expect_refused(open_shards(), Code::malformed, {"weight_map is missing or empty"});
}

TEST_F(Sharded, TheSingleFileGoesFirst) {
  ASSERT_TRUE(open_shards().ok());
  write_tensors(directory_.path() / "model.safetensors", files_.tensors);
  map_ = nlohmann::json::object();
  const auto opened = open_shards();
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  EXPECT_THAT(opened->notes(), Contains(HasSubstr("model.safetensors is there")));
}

// --- FP8 experts ------------------------------------------------------------------------------------------------

// The tiny model with FP8 experts and factors per row that say where they stand: expert + row / 1024.
ModelFiles fp8_model() {
  ModelFiles files = tiny_model(DType::f8_e4m3);
  for (FileTensor& tensor : files.tensors) {
    if (!tensor.name.ends_with(".weight_scale")) continue;
    std::vector<float> factors;
    for (int64_t i = 0; i < tensor.shape[0] * tensor.shape[1]; ++i) {
      factors.push_back(static_cast<float>(i / tensor.shape[1]) + static_cast<float>(i % tensor.shape[1]) / 1024);
    }
    tensor = float_tensor(tensor.name, tensor.shape, factors);
  }
  return files;
}

void expect_factors(const Checkpoint& checkpoint) {
  for (int expert = 0; expert < 4; ++expert) {
    const std::string name = "model.layers.1.mlp.experts." + std::to_string(expert);
    const Tensor *gate = checkpoint.find(name + ".gate"), *up = checkpoint.find(name + ".up"),
                 *down = checkpoint.find(name + ".down");
    ASSERT_EQ(gate->dtype, DType::f8_e4m3);
    ASSERT_EQ(gate->row_scale.size(), 96u);
    ASSERT_EQ(up->row_scale.size(), 96u);
    ASSERT_EQ(down->row_scale.size(), 64u);
    EXPECT_EQ(gate->row_scale[95], static_cast<float>(expert) + 95.0f / 1024);
    EXPECT_EQ(up->row_scale[1], static_cast<float>(expert) + 97.0f / 1024);
    EXPECT_EQ(down->row_scale[63], static_cast<float>(expert) + 63.0f / 1024);
    const auto values = to_f32(*up);
    EXPECT_EQ(values[65], f8_e4m3_to_f32(static_cast<uint8_t>(up->data[65])) * up->row_scale[1]);
  }
}

TEST(Fp8, StackedWithFactors) {
  const auto opened = open(fp8_model());
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  expect_factors(*opened);
}

TEST(Fp8, OtherNamesAndShapesOfFactors) {
  for (const char* suffix : {"_weight_scale", "_scale"}) {
    ModelFiles files = fp8_model();
    for (FileTensor& tensor : files.tensors) {
      const size_t at = tensor.name.find(".weight_scale");
      if (at == std::string::npos) continue;
      tensor.name = tensor.name.substr(0, at) + suffix;
      tensor.shape.pop_back();  // [E, rows]
    }
    const auto opened = open(files);
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    expect_factors(*opened);
  }
}

TEST(Fp8, SingleMatrices) {
  // Splits stacks and factors alike: unstacked_of() cuts any [E, rows, …] tensor, so only names need care.
  const ModelFiles stacked = fp8_model();
  ModelFiles files = unstacked_of([&] {
    ModelFiles plain = stacked;
    std::erase_if(plain.tensors, [](const FileTensor& t) { return t.name.ends_with(".weight_scale"); });
    return plain;
  }());
  for (int layer = 0; layer < 2; ++layer) {
    for (int expert = 0; expert < 4; ++expert) {
      for (const auto& [name, rows, first] :
           {std::tuple("gate_proj", 96, 0), std::tuple("up_proj", 96, 96), std::tuple("down_proj", 64, 0)}) {
        std::vector<float> factors;
        for (int row = 0; row < rows; ++row) {
          factors.push_back(static_cast<float>(expert) + static_cast<float>(first + row) / 1024);
        }
        files.tensors.push_back(float_tensor("model.layers." + std::to_string(layer) + ".mlp.experts." +
                                                 std::to_string(expert) + "." + name + ".weight_scale",
                                             {rows, 1}, factors));
      }
    }
  }
  const auto opened = open(files);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  expect_factors(*opened);
}

TEST(Fp8, OneFactorForAll) {
  ModelFiles files = fp8_model();
  for (FileTensor& tensor : files.tensors) {
    if (tensor.name.ends_with("gate_up_proj.weight_scale")) tensor = float_tensor(tensor.name, {}, {0.25f});
    if (tensor.name.ends_with("down_proj.weight_scale")) tensor = float_tensor(tensor.name, {4, 1, 1}, {1, 2, 3, 4});
  }
  const auto opened = open(files);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  EXPECT_EQ(opened->find("model.layers.0.mlp.experts.3.up")->row_scale[95], 0.25f);
  EXPECT_EQ(opened->find("model.layers.0.mlp.experts.0.down")->row_scale[63], 1);
  EXPECT_EQ(opened->find("model.layers.0.mlp.experts.3.down")->row_scale[0], 4);
}

TEST(Fp8, OneExpert) {
  ModelConfig shape = *shape_named("tiny");
  shape.num_experts = 1;
  const auto opened = open(tiny_model(DType::f8_e4m3, shape));
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  EXPECT_EQ(opened->find("model.layers.0.mlp.experts.0.gate")->row_scale.size(), 96u);
}

TEST(Fp8, BadFactors) {
  ModelFiles files = fp8_model();
  files.take("model.layers.0.mlp.experts.down_proj.weight_scale");
  expect_refused(open(files), Code::not_found,
                 {"tensor model.layers.0.mlp.experts.down_proj is F8_E4M3 but has no factors"});
  files = fp8_model();
  FileTensor* tensor = files.find("model.layers.0.mlp.experts.down_proj.weight_scale");
  *tensor = zero_tensor(tensor->name, DType::f32, {4, 63, 1});
  expect_refused(open(files), Code::malformed,
                 {"expected 4 × 64 × 1 (one per row) or one factor for", "found 4 × 63 × 1"});
  files = fp8_model();
  tensor = files.find("model.layers.0.mlp.experts.down_proj.weight_scale");
  *tensor = zero_tensor(tensor->name, DType::f32, {0});
  expect_refused(open(files), Code::malformed, {"found 0"});
  files = fp8_model();
  tensor = files.find("model.layers.0.mlp.experts.down_proj.weight_scale");
  *tensor = zero_tensor(tensor->name, DType::f8_e4m3, tensor->shape);
  expect_refused(open(files), Code::unsupported, {"expected F32, BF16 or F16 for the factors"});
  files = fp8_model();
  files.tensors.push_back(zero_tensor("model.layers.0.mlp.experts.down_proj_scale", DType::f32, {4, 64}));
  expect_refused(open(files), Code::malformed, {"gives a second set of factors"});
  files = tiny_model(DType::bf16);
  files.tensors.push_back(zero_tensor("model.layers.0.mlp.experts.down_proj.weight_scale", DType::f32, {4, 64, 1}));
  expect_refused(open(files), Code::malformed, {"which is BF16 and not F8_E4M3"});
}

}  // namespace
}  // namespace zaya::checkpoint
