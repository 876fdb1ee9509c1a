// Recipes, packing, trimming and the data stream: what needs no tensors.
#include "train/data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <set>

#include "gym/gym.h"
#include "train/example.h"
#include "train/packing.h"
#include "train/recipe.h"

namespace zaya::train {
namespace {

const std::filesystem::path kTokenizer = std::filesystem::path(ZAYA_SOURCE_DIR) / "recipes" / "tokenizer";

std::string recipe_text(const std::string& stage = "steps = 4", const std::string& run = "") {
  return "[model]\ntokenizer = \"" + kTokenizer.string() + "\"\n[run]\nout = \"x\"\ncontext = 200\n" + run +
         "\n[[stage]]\nbatch_tokens = 1000\n" + stage + "\n[[stage.source]]\nkind = \"gym\"\n";
}

TEST(Recipe, ReadsEveryStageAndCountsSteps) {
  const auto recipe = load_recipe(std::filesystem::path(ZAYA_SOURCE_DIR) / "recipes" / "nano.toml");
  ASSERT_TRUE(recipe.ok()) << recipe.status().to_string();
  ASSERT_GE(recipe->stages.size(), 3u);
  EXPECT_EQ(recipe->stages[0].name, "pretrain");
  EXPECT_GT(recipe->stages[0].steps, 100);
  EXPECT_TRUE(std::filesystem::exists(recipe->tokenizer / "tokenizer.json"));
}

TEST(Recipe, RefusesWhatItDoesNotKnow) {
  const auto message = [](const std::string& text) { return parse_recipe(text, "/").status().message(); };
  EXPECT_EQ(message(recipe_text()), "");
  EXPECT_THAT(message(recipe_text("steps = 4\nmuon_rat = 1")), testing::HasSubstr("muon_rat"));
  EXPECT_THAT(message(recipe_text("steps = 0")), testing::HasSubstr("steps"));
  EXPECT_THAT(message(recipe_text("steps = 4\ntokens = 5")), testing::HasSubstr("tokens"));
  EXPECT_THAT(message(recipe_text("steps = 4", "bf16 = 1")), testing::HasSubstr("bf16"));
  EXPECT_THAT(message("[model"), testing::HasSubstr("line 1"));
  EXPECT_THAT(message(recipe_text("steps = 4\nbatch_tokens = 100")), testing::Not(""));
}

TEST(Recipe, OverridesReplaceValues) {
  const auto recipe = parse_recipe(recipe_text(), "/base", {"run.seed=7", "stage.0.steps=9", "run.out=there"});
  ASSERT_TRUE(recipe.ok()) << recipe.status().to_string();
  EXPECT_EQ(recipe->seed, 7u);
  EXPECT_EQ(recipe->stages[0].steps, 9);
  EXPECT_EQ(recipe->out, "/base/there");
  EXPECT_FALSE(parse_recipe(recipe_text(), "/", {"stage.5.steps=9"}).ok());
  EXPECT_FALSE(parse_recipe(recipe_text(), "/", {"run.seed"}).ok());
}

TEST(Recipe, RateRisesThenFallsAsACosine) {
  const OptimizerRecipe recipe{.final_rate = 0.1, .warmup = 10};
  EXPECT_DOUBLE_EQ(rate_factor(0, 110, recipe), 0.1);
  EXPECT_DOUBLE_EQ(rate_factor(9, 110, recipe), 1);
  EXPECT_DOUBLE_EQ(rate_factor(10, 110, recipe), 1);
  EXPECT_NEAR(rate_factor(60, 110, recipe), 0.55, 1e-12);
  EXPECT_NEAR(rate_factor(110, 110, recipe), 0.1, 1e-12);
}

TEST(Packing, FillsBatchesAndLosesNothing) {
  std::vector<int64_t> lengths;
  uint64_t random = 1;
  for (int i = 0; i < 2000; ++i) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    lengths.push_back(1 + static_cast<int64_t>(random >> 33) % 300);
  }
  const auto batches = pack(lengths, 1000);
  std::set<size_t> seen;
  int64_t total = 0;
  for (const auto& batch : batches) {
    int64_t tokens = 0;
    for (const size_t index : batch) {
      EXPECT_TRUE(seen.insert(index).second);
      tokens += lengths[index];
    }
    EXPECT_LE(tokens, 1000);
    total += tokens;
  }
  EXPECT_EQ(seen.size(), lengths.size());
  EXPECT_GE(static_cast<double>(total), 0.99 * 1000 * static_cast<double>(batches.size()));
  // 6, 5, 4, 3, 2: the 4 goes to the fullest batch with room for it, that of the 6.
  EXPECT_EQ(pack(std::vector<int64_t>{3, 6, 2, 5, 4}, 10), (std::vector<std::vector<size_t>>{{1, 4}, {3, 0, 2}}));
}

class EncoderTest : public testing::Test {
 protected:
  static Encoder encoder(int64_t context, bool all = false) {
    auto loaded = Encoder::load(kTokenizer, context, all);
    EXPECT_TRUE(loaded.ok()) << loaded.status().to_string();
    return *std::move(loaded);
  }
  static std::string loss_text(const Encoder& encoder, const Example& example) {
    std::vector<int32_t> counted;
    for (size_t i = 0; i < example.tokens.size(); ++i) {
      if (example.loss[i] != 0) counted.push_back(example.tokens[i]);
    }
    return encoder.tokenizer().decode(counted);
  }
  const text::Json messages_ = {
      {{"role", "user"}, {"content", "What is 2 + 3?"}},
      {{"role", "assistant"}, {"content", "<think>\none two three four\n</think>\n\n\\boxed{5}"}}};
};

TEST_F(EncoderTest, LossCountsWhatTheAssistantSays) {
  const Encoder some = encoder(200), all = encoder(200, true);
  const auto example = some.chat(messages_);
  ASSERT_TRUE(example.ok() && *example);
  EXPECT_EQ(loss_text(some, **example), "one two three four\n</think>\n\n\\boxed{5}<|im_end|>\n");
  const std::string whole = some.tokenizer().decode((*example)->tokens);
  EXPECT_THAT(whole, testing::HasSubstr("<|im_start|>assistant\n<think>\none two"));
  EXPECT_THAT(whole, testing::HasSubstr("<|im_start|>user\nWhat is 2 + 3?<|im_end|>"));
  const auto everything = all.chat(messages_);
  EXPECT_EQ((*everything)->tokens, (*example)->tokens);
  EXPECT_EQ(std::accumulate((*everything)->loss.begin(), (*everything)->loss.end(), size_t{0}),
            (*everything)->tokens.size() - 1);
}

TEST_F(EncoderTest, TrimmingCutsTheEndOfTheReasoningAndKeepsTheAnswer) {
  const auto whole = encoder(200).chat(messages_);
  const auto full = static_cast<int64_t>((*whole)->tokens.size());
  const Encoder tight = encoder(full - 2);
  const auto trimmed = tight.chat(messages_);
  ASSERT_TRUE(trimmed.ok() && *trimmed);
  EXPECT_EQ(static_cast<int64_t>((*trimmed)->tokens.size()), full - 2);
  const std::string text = loss_text(tight, **trimmed);
  EXPECT_TRUE(text.starts_with("one"));
  EXPECT_TRUE(text.ends_with("\n</think>\n\n\\boxed{5}<|im_end|>\n"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("four")));
  const auto hopeless = encoder(12).chat(messages_);
  ASSERT_TRUE(hopeless.ok());
  EXPECT_FALSE(*hopeless);
}

TEST_F(EncoderTest, AnAnswerWithoutThinkingFollowsTheEmptyPair) {
  text::Json messages = messages_;
  messages[1]["content"] = "\\boxed{5}";
  const Encoder encoder = EncoderTest::encoder(200);
  const auto example = encoder.chat(messages);
  ASSERT_TRUE(example.ok() && *example);
  EXPECT_EQ(loss_text(encoder, **example), "\\boxed{5}<|im_end|>\n");
  EXPECT_FALSE(encoder.chat(text::Json::array()).ok());
  messages[1]["content"] = "<think>\nnever closed";
  EXPECT_FALSE(encoder.chat(messages).ok());
}

class StreamTest : public testing::Test {
 protected:
  void SetUp() override {
    auto parsed = parse_recipe(recipe_text(), "/");
    ASSERT_TRUE(parsed.ok());
    recipe_ = *parsed;
  }
  std::unique_ptr<DataStream> open(uint64_t seed = 5) {
    auto stream = DataStream::open(recipe_.stages[0], recipe_, seed);
    EXPECT_TRUE(stream.ok()) << stream.status().to_string();
    return *std::move(stream);
  }
  static std::vector<std::vector<int32_t>> tokens(const ExampleBatch& batch) {
    std::vector<std::vector<int32_t>> result;
    for (const Example& example : batch) result.push_back(example.tokens);
    return result;
  }
  Recipe recipe_;
};

TEST_F(StreamTest, GoesOnFromAnyPosition) {
  auto whole = open();
  std::vector<DataPosition> positions = {whole->position()};
  std::vector<std::vector<std::vector<int32_t>>> batches;
  for (int i = 0; i < 40; ++i) {
    const auto batch = whole->next();
    ASSERT_TRUE(batch.ok());
    batches.push_back(tokens(*batch));
    positions.push_back(whole->position());
  }
  EXPECT_GT(positions.back().pool, 0) << "the test must cross a pool's end";
  for (const size_t from : {size_t{1}, size_t{16}, size_t{17}, size_t{18}, size_t{35}}) {
    auto resumed = open();
    ASSERT_TRUE(resumed->seek(positions[from]).ok());
    for (size_t i = from; i < batches.size(); ++i) EXPECT_EQ(tokens(*resumed->next()), batches[i]) << from << " " << i;
  }
  EXPECT_NE(tokens(*open(6)->next()), batches[0]);
}

TEST_F(StreamTest, FilesGiveEachLineOnceAnEpochInTheirShare) {
  const auto path = std::filesystem::temp_directory_path() / ("zaya_lines_" + std::to_string(::getpid()) + ".jsonl");
  {
    std::ofstream file(path);
    for (int i = 0; i < 10; ++i) {
      file << R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"number )" << i << "\"}]}\n";
    }
  }
  recipe_.stages[0].sources[0].weight = 3;
  recipe_.stages[0].sources.push_back({.kind = SourceRecipe::Kind::jsonl, .weight = 1, .path = path});
  auto stream = open();
  std::map<std::vector<int32_t>, int> seen;
  int lines = 0, all = 0;
  for (int i = 0; i < 60; ++i) {
    const auto batch = stream->next();
    ASSERT_TRUE(batch.ok());
    for (const Example& example : *batch) {
      ++all;
      if (stream->kinds()[static_cast<size_t>(example.kind)].starts_with("zaya_lines")) {
        ++lines;
        ++seen[example.tokens];
      }
    }
  }
  EXPECT_EQ(seen.size(), 10u);
  EXPECT_NEAR(static_cast<double>(lines) / all, 0.25, 0.03);
  std::ofstream(path, std::ios::app) << "{\"messages\": 5}\n";
  const auto broken = DataStream::open(recipe_.stages[0], recipe_, 5);
  ASSERT_FALSE(broken.ok());
  EXPECT_THAT(broken.status().message(), testing::HasSubstr(":11:"));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace zaya::train
