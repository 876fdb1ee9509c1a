// Agreement with transformers on random models that vary every dimension, on both backends and both layouts.
#include <algorithm>

#include "model/golden_test_support.h"

namespace zaya::model {
namespace {

// The project's demand; FP32 against FP64 in the reference itself differs by up to 2e-5 on these models.
constexpr double kTolerance = 1e-4;

struct Parameter {
  std::string model, backend;
};
void PrintTo(const Parameter& p, std::ostream* out) { *out << p.model << " on " << p.backend; }

class ParityTest : public testing::TestWithParam<Parameter> {
 protected:
  void SetUp() override {
    golden_ = std::make_unique<Golden>(GetParam().model);
    model_ = load_golden_model(GetParam().model, GetParam().backend);
    ASSERT_NE(model_, nullptr);
  }
  std::unique_ptr<Golden> golden_;
  std::unique_ptr<Model> model_;
};

std::vector<Parameter> parameters() {
  std::vector<Parameter> all;
  for (const std::string& name : golden_cases()) {
    for (const char* backend : {"reference", "cpu"}) all.push_back({name, backend});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Goldens, ParityTest, testing::ValuesIn(parameters()), [](const auto& instance) {
  std::string name = instance.param.model + "_" + instance.param.backend;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST_P(ParityTest, LogitsOfEveryPrompt) {
  const size_t vocabulary = static_cast<size_t>(model_->config().vocab_size);
  for (int p = 0; p < 4; ++p) {
    const std::string suffix = "." + std::to_string(p);
    const std::vector<int32_t> tokens = golden_->integers("tokens" + suffix);
    const std::vector<int32_t> positions = golden_->integers("positions" + suffix);
    const std::vector<float> expected = golden_->floats("logits" + suffix);
    ASSERT_EQ(expected.size(), positions.size() * vocabulary);

    SequenceState sequence = model_->new_sequence();
    std::vector<float> logits, actual;
    const TokenRun run{&sequence, tokens, Logits::all};
    const Status status = model_->forward({&run, 1}, logits);
    ASSERT_TRUE(status.ok()) << status.to_string();
    ASSERT_EQ(logits.size(), tokens.size() * vocabulary);
    for (int32_t position : positions) {
      const auto row = logits.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(position) * vocabulary);
      actual.insert(actual.end(), row, row + static_cast<std::ptrdiff_t>(vocabulary));
    }
    EXPECT_LE(relative_difference(expected, actual.data()), kTolerance) << tokens.size() << " tokens";
  }
}

TEST_P(ParityTest, ActivationsAndRouterChoicesOfEveryLayer) {
  const std::vector<int32_t> tokens = golden_->integers("tokens.1");
  SequenceState sequence = model_->new_sequence();
  std::vector<float> logits;
  const TokenRun run{&sequence, tokens, Logits::none};
  int64_t layers = 0;
  const Status status = model_->forward({&run, 1}, logits, [&](const LayerTrace& trace) {
    const std::string suffix = "." + std::to_string(trace.layer);
    const std::vector<float> hidden = golden_->floats("hidden" + suffix);
    const std::vector<float> weight = golden_->floats("router_weight" + suffix);
    std::vector<int32_t> choice(trace.choice.begin(), trace.choice.end());
    ASSERT_EQ(hidden.size(), trace.residual.size());
    EXPECT_LE(relative_difference(hidden, trace.residual.data()), kTolerance) << "layer " << trace.layer;
    EXPECT_EQ(golden_->integers("router" + suffix), choice) << "layer " << trace.layer;
    for (size_t i = 0; i < weight.size(); ++i) EXPECT_NEAR(weight[i], trace.weight[i], 2e-5);
    ++layers;
  });
  ASSERT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(layers, model_->config().num_layers());
}

// Token by token through the caches, where the golden recomputed everything at each token.
TEST_P(ParityTest, GreedyContinuation) {
  const std::vector<int32_t> expected = golden_->integers("greedy");
  std::vector<int32_t> next = golden_->integers("tokens.1"), actual;
  SequenceState sequence = model_->new_sequence();
  std::vector<float> logits;
  while (actual.size() < expected.size()) {
    const TokenRun run{&sequence, next, Logits::last};
    const Status status = model_->forward({&run, 1}, logits);
    ASSERT_TRUE(status.ok()) << status.to_string();
    next = {static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin())};
    actual.push_back(next[0]);
  }
  EXPECT_EQ(expected, actual);
}

}  // namespace
}  // namespace zaya::model
