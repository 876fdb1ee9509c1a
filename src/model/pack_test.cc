// A packed model computes what packing on the way computes, and damaged files are errors.
#include "model/pack.h"

#include <random>

#include "checkpoint/test_files.h"
#include "model/golden_test_support.h"

namespace zaya::model {
namespace {

using checkpoint::Checkpoint;
using checkpoint::PackedCheckpoint;
using checkpoint::TemporaryDirectory;

std::unique_ptr<ops::Backend> backend(ops::Activations activations = ops::Activations::f32) {
  return ops::make_backend("cpu", {.threads = 2, .activations = activations}).value();
}

std::vector<float> logits_of(Model& model, int64_t count) {
  std::mt19937 random(7);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<int32_t>(random() % static_cast<uint32_t>(model.config().vocab_size)));
  }
  SequenceState sequence = model.new_sequence();
  std::vector<float> logits;
  const TokenRun run{&sequence, tokens, Logits::all};
  const Status status = model.forward({&run, 1}, logits);
  EXPECT_TRUE(status.ok()) << status.to_string();
  return logits;
}

class PackTest : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Models, PackTest,
                         testing::Values("like_8b", "like_8b_bf16", "conv_1_3-original", "biases", "experts_24"));

TEST_P(PackTest, EqualsPackingOnTheWay) {
  for (const Preset preset : {Preset::bf16, Preset::q8, Preset::q4}) {
    TemporaryDirectory directory;
    const Checkpoint checkpoint = Checkpoint::open(testdata() / GetParam()).value();
    const Result<PackReport> report = pack(checkpoint, preset, directory.path() / "packed", 2);
    ASSERT_TRUE(report.ok()) << report.status().to_string();
    EXPECT_EQ(checkpoint::packed_preset(directory.path() / "packed"), preset_name(preset));

    Result<PackedCheckpoint> packed = PackedCheckpoint::open(directory.path() / "packed");
    ASSERT_TRUE(packed.ok()) << packed.status().to_string();
    for (const auto& [name, tensor] : packed->tensors()) {
      if (tensor.dtype != checkpoint::DType::u8) continue;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data.data()) % 64, 0u) << name;
    }
    const auto from_file = Model::load(std::move(*packed), backend()).value();
    const auto on_the_way =
        Model::load(Checkpoint::open(testdata() / GetParam()).value(), backend(), {.preset = preset}).value();
    EXPECT_EQ(logits_of(*from_file, 70), logits_of(*on_the_way, 70)) << preset_name(preset);

    // The head's coarse copy too, out of the file or made while loading.
    packed = PackedCheckpoint::open(directory.path() / "packed");
    const std::string coarse = std::string(head_name(packed->config())) + ".coarse.q3";
    EXPECT_EQ(packed->find(coarse) != nullptr, preset != Preset::bf16);
    const Options two_stages{.preset = preset, .two_stage_head = true};
    const auto coarse_file = Model::load(std::move(*packed), backend(), two_stages).value();
    const auto coarse_made =
        Model::load(Checkpoint::open(testdata() / GetParam()).value(), backend(), two_stages).value();
    EXPECT_EQ(logits_of(*coarse_file, 9), logits_of(*coarse_made, 9)) << preset_name(preset);
  }
}

// Every packed format on the fast backend against the same packed weights on the reference.
TEST_P(PackTest, FastEqualsReference) {
  for (const Preset preset : {Preset::bf16, Preset::q8, Preset::q4}) {
    const auto load = [&](std::unique_ptr<ops::Backend> made) {
      return Model::load(Checkpoint::open(testdata() / GetParam()).value(), std::move(made), {.preset = preset})
          .value();
    };
    const auto fast = load(backend()), reference = load(ops::make_backend("reference", {}).value());
    EXPECT_LE(relative_difference(logits_of(*reference, 70), logits_of(*fast, 70).data()), 1e-4) << preset_name(preset);
  }
}

TEST(Pack, RefusesWhatItCannotWrite) {
  TemporaryDirectory directory;
  const Checkpoint checkpoint = Checkpoint::open(testdata() / "one_layer").value();
  EXPECT_EQ(pack(checkpoint, Preset::as_stored, directory.path(), 1).status().code(), Code::invalid_argument);
  EXPECT_EQ(pack(checkpoint, Preset::q4, directory.path(), 1, [](int64_t, int64_t) { return false; }).status().code(),
            Code::cancelled);
  EXPECT_FALSE(std::filesystem::exists(directory.path() / "model.safetensors"));
  ASSERT_TRUE(pack(checkpoint, Preset::q4, directory.path(), 1).ok());
  EXPECT_EQ(pack(checkpoint, Preset::q4, directory.path(), 1).status().code(), Code::invalid_argument);
}

class DamagedPack : public testing::Test {
 protected:
  void SetUp() override {
    const Checkpoint checkpoint = Checkpoint::open(testdata() / "one_layer").value();
    ASSERT_TRUE(pack(checkpoint, Preset::q4, directory_.path(), 1).ok());
  }

  // Writes the packed file anew: each tensor of it as `change` leaves it; an empty name drops it.
  void rewrite(const std::function<void(checkpoint::FileTensor&)>& change, const std::string& version = "1") {
    const std::filesystem::path path = directory_.path() / "model.safetensors";
    std::vector<checkpoint::FileTensor> tensors;
    {
      const MappedFile file = MappedFile::open(path).value();
      const checkpoint::Safetensors content = checkpoint::parse_safetensors(file.bytes(), "packed").value();
      for (const auto& tensor : content.tensors) {
        tensors.push_back({tensor.name, tensor.dtype, tensor.shape, {tensor.data.begin(), tensor.data.end()}});
        change(tensors.back());
        if (tensors.back().name.empty()) tensors.pop_back();
      }
    }
    std::vector<checkpoint::TensorDeclaration> declared;
    for (const auto& t : tensors) declared.push_back({t.name, t.dtype, t.shape});
    auto writer =
        checkpoint::SafetensorsWriter::create(path, declared, {{"zaya.packed", version}, {"zaya.preset", "q4"}});
    ASSERT_TRUE(writer.ok());
    for (const auto& t : tensors) ASSERT_TRUE(writer->append(t.data).ok());
    ASSERT_TRUE(writer->finish().ok());
  }

  Status open(const Options& options = {}) {
    Result<PackedCheckpoint> packed = PackedCheckpoint::open(directory_.path());
    return packed.ok() ? Model::load(std::move(*packed), backend(), options).status() : packed.status();
  }

  TemporaryDirectory directory_;
};

TEST_F(DamagedPack, IsAnErrorThatNamesTheTensor) {
  rewrite([](auto&) {});
  EXPECT_TRUE(open().ok());

  const std::string gate = "model.layers.0.mlp.experts.0.gate";
  rewrite([&](auto& t) {
    if (t.name == gate + ".q4") t.data.resize(t.data.size() - 8), t.shape[0] -= 8;
  });
  EXPECT_EQ(open().code(), Code::malformed);
  EXPECT_NE(open().to_string().find(gate), std::string::npos);
  rewrite([&](auto& t) {
    if (t.name == gate + ".q4") t.name.clear();
  });
  EXPECT_EQ(open().code(), Code::not_found);
}

TEST_F(DamagedPack, HeadOfAnOlderFileIsCopiedWhileLoading) {
  rewrite([](auto& t) {
    if (t.name.find(".coarse.") != std::string::npos) t.name.clear();
  });
  EXPECT_TRUE(open({.two_stage_head = true}).ok());
  rewrite([](auto& t) {
    if (t.name.ends_with(".q8") && t.name.find("embed") != std::string::npos) t.name.clear();
  });
  EXPECT_EQ(open({.two_stage_head = true}).code(), Code::not_found);
}

TEST_F(DamagedPack, CoarseHeadWithoutItsFloats) {
  for (const char* name : {".coarse.error", ".coarse.row_scale", ".coarse.column_scale"}) {
    rewrite([&](auto& t) {
      if (t.name.ends_with(".gone")) t.name.resize(t.name.size() - 5);  // the one before is back
      if (t.name.ends_with(name)) t.name += ".gone";
    });
    EXPECT_EQ(open({.two_stage_head = true}).code(), Code::not_found) << name;
  }
}

TEST_F(DamagedPack, NeedsItsFactors) {
  rewrite([](auto& t) {
    if (t.name.ends_with("o_proj.weight.row_scale")) t.name.clear();
  });
  EXPECT_EQ(open().code(), Code::not_found);
}

TEST_F(DamagedPack, ExpertsMustBeAlike) {
  // One expert's gate as plain FP32 among packed ones.
  const checkpoint::ModelConfig config = Checkpoint::open(testdata() / "one_layer").value().config();
  const std::string gate = "model.layers.0.mlp.experts.0.gate";
  rewrite([&](auto& t) {
    if (t.name == gate + ".row_scale") t.name = gate + ".unused";
    if (t.name != gate + ".q4") return;
    t.name = gate;
    t.dtype = checkpoint::DType::f32;
    t.shape = {config.expert_width, config.hidden_size};
    t.data.assign(static_cast<size_t>(config.expert_width * config.hidden_size) * sizeof(float), std::byte{0});
  });
  EXPECT_EQ(open().code(), Code::malformed);
}

TEST_F(DamagedPack, OtherVersionsAreNamed) {
  rewrite([](auto&) {}, "2");
  EXPECT_EQ(open().code(), Code::unsupported);
}

TEST_F(DamagedPack, TruncatedFile) {
  const std::filesystem::path path = directory_.path() / "model.safetensors";
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  EXPECT_EQ(open().code(), Code::malformed);
}

}  // namespace
}  // namespace zaya::model
