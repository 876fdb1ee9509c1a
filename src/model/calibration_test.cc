#include "model/calibration.h"

#include <cmath>
#include <random>

#include "checkpoint/test_files.h"
#include "model/golden_test_support.h"
#include "model/pack.h"

namespace zaya::model {
namespace {

using checkpoint::Checkpoint;

std::vector<int32_t> random_tokens(uint32_t vocabulary, size_t count) {
  std::mt19937 random(3);
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>(random() % vocabulary));
  return tokens;
}

Importance calibrated(const std::string& name, std::span<const std::vector<int32_t>> texts, int64_t chunk,
                      const char* backend = "cpu") {
  Result<Importance> result = calibrate(Checkpoint::open(testdata() / name).value(),
                                        ops::make_backend(backend, {.threads = 2}).value(), texts, {}, chunk);
  EXPECT_TRUE(result.ok()) << result.status().to_string();
  return result.ok() ? std::move(result).value() : Importance();
}

// The first layer's queries are multiplied with the normalised embeddings, which can be had without the recorder.
TEST(Calibrate, MeasuresWhatTheFirstProjectionGets) {
  const auto model = load_golden_model("like_8b", "reference");
  const Weights& w = model->weights();
  const int64_t hidden = model->config().hidden_size, n = 40;
  const std::vector<int32_t> tokens = random_tokens(static_cast<uint32_t>(model->config().vocab_size), n);
  std::vector<float> embedded(static_cast<size_t>(n * hidden)), normed(embedded.size());
  const auto reference = ops::make_backend("reference").value();
  reference->embed(w.embedding, tokens, w.input_scale, w.input_bias, embedded.data());
  reference->rms_norm(embedded.data(), n, hidden, w.layers[0].input_norm, model->config().rms_norm_eps, normed.data());
  std::vector<double> squares(static_cast<size_t>(hidden));
  double all = 0;
  for (size_t i = 0; i < normed.size(); ++i) {
    squares[i % static_cast<size_t>(hidden)] += static_cast<double>(normed[i]) * normed[i];
    all += static_cast<double>(normed[i]) * normed[i] / static_cast<double>(hidden);
  }
  const Importance importance = calibrated("like_8b", {{tokens}}, 64);
  const std::vector<float>& measured = importance.at("model.layers.0.self_attn.qkv_proj.q_proj.weight");
  ASSERT_EQ(measured.size(), squares.size());
  // Leaning on the average column as if for 8 of 48 tokens, and a hundredth of it never missing.
  for (size_t c = 0; c < squares.size(); ++c) {
    const double expected = (squares[c] + 8 * all / n) / (n + 8) / (all / n) + 0.01;
    EXPECT_NEAR(measured[c], expected, 1e-4 * expected) << c;
  }
}

TEST(Calibrate, CoversEveryMatrixThatIsPackedSmall) {
  for (const char* name : {"like_8b", "conv_1_3-original", "experts_24"}) {
    const auto model = load_golden_model(name, "reference");
    const std::vector<std::vector<int32_t>> texts = {
        random_tokens(static_cast<uint32_t>(model->config().vocab_size), 60)};
    const Importance whole = calibrated(name, texts, 64), pieces = calibrated(name, texts, 7);
    const Importance slow = calibrated(name, texts, 64, "reference");
    EXPECT_EQ(whole.size(), pieces.size());
    int experts = 0;
    for (const auto& [matrix, columns] : whole) {
      experts += matrix.find(".experts.") != matrix.npos;
      EXPECT_EQ(matrix.find(".mlp.gate."), matrix.npos) << matrix;
      for (size_t c = 0; c < columns.size(); ++c) {
        ASSERT_TRUE(std::isfinite(columns[c]) && columns[c] > 0) << matrix;
        ASSERT_NEAR(columns[c], pieces.at(matrix)[c], 1e-3 * columns[c]) << matrix;
        ASSERT_NEAR(columns[c], slow.at(matrix)[c], 1e-2 * columns[c]) << matrix;
      }
    }
    EXPECT_EQ(experts, 3 * model->config().num_experts * model->config().num_layers()) << name;
  }
}

TEST(Calibrate, RefusesWhatItCannotRun) {
  const auto run = [](std::span<const std::vector<int32_t>> texts, const CalibrationProgress& progress = {}) {
    return calibrate(Checkpoint::open(testdata() / "one_layer").value(), ops::make_backend("reference").value(), texts,
                     progress)
        .status()
        .code();
  };
  EXPECT_EQ(run({}), Code::invalid_argument);
  const std::vector<std::vector<int32_t>> unknown = {{1, 1 << 29}}, fine = {{1, 2, 3}};
  EXPECT_NE(run(unknown), Code::ok);
  EXPECT_EQ(run(fine, [](int64_t, int64_t) { return false; }), Code::cancelled);
}

}  // namespace
}  // namespace zaya::model
