// What a sequence computes depends on its own tokens alone, to the bit: not on chunks, neighbours, or threads.
#include "model/model.h"

#include <random>

#include "model/golden_test_support.h"

namespace zaya::model {
namespace {

// Models with long convolutions, windows, biases, several layers: whatever state could be cut wrongly.
constexpr const char* kModels[] = {"conv_3_4", "window_17", "biases", "like_8b", "five_layers", "conv_1_1"};

struct Parameter {
  std::string model, backend;
};
void PrintTo(const Parameter& p, std::ostream* out) { *out << p.model << " on " << p.backend; }

class StateTest : public testing::TestWithParam<Parameter> {
 protected:
  void SetUp() override {
    model_ = load_golden_model(GetParam().model, GetParam().backend);
    ASSERT_NE(model_, nullptr);
  }

  std::vector<int32_t> random_tokens(int64_t count) {
    std::vector<int32_t> tokens;
    while (static_cast<int64_t>(tokens.size()) < count) {
      tokens.push_back(static_cast<int32_t>(random_() % static_cast<uint64_t>(model_->config().vocab_size)));
    }
    return tokens;
  }

  // Feeds `tokens` in chunks of the given sizes (the last one takes the rest); logits of every position.
  std::vector<float> run(SequenceState& sequence, std::span<const int32_t> tokens, std::vector<size_t> chunks = {}) {
    std::vector<float> all, logits;
    for (size_t i = 0; !tokens.empty(); ++i) {
      const size_t count = i < chunks.size() ? std::min(chunks[i], tokens.size()) : tokens.size();
      const TokenRun part{&sequence, tokens.first(count), Logits::all};
      const Status status = model_->forward({&part, 1}, logits);
      EXPECT_TRUE(status.ok()) << status.to_string();
      all.insert(all.end(), logits.begin(), logits.end());
      tokens = tokens.subspan(count);
    }
    return all;
  }

  std::unique_ptr<Model> model_;
  std::mt19937_64 random_{7};
};

std::vector<Parameter> parameters() {
  std::vector<Parameter> all;
  for (const char* model : kModels) {
    for (const char* backend : {"reference", "cpu"}) all.push_back({model, backend});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Models, StateTest, testing::ValuesIn(parameters()),
                         [](const auto& instance) { return instance.param.model + "_" + instance.param.backend; });

TEST_P(StateTest, PrefillInTwoChunksAtEverySplitEqualsWhole) {
  const std::vector<int32_t> tokens = random_tokens(70);  // more than one page
  SequenceState whole = model_->new_sequence();
  const std::vector<float> expected = run(whole, tokens);
  for (size_t split = 1; split < tokens.size(); ++split) {
    SequenceState chunked = model_->new_sequence();
    ASSERT_EQ(expected, run(chunked, tokens, {split})) << "split at " << split;
  }
  SequenceState single = model_->new_sequence();
  ASSERT_EQ(expected, run(single, tokens, std::vector<size_t>(tokens.size(), 1))) << "token by token";
}

// Three sequences at different lengths share steps, in changing order and chunk sizes.
TEST_P(StateTest, InterleavedSequencesEqualEachAlone) {
  const std::vector<int32_t> tokens[3] = {random_tokens(90), random_tokens(33), random_tokens(151)};
  std::vector<float> expected[3], actual[3];
  std::vector<SequenceState> sequences;
  for (int s = 0; s < 3; ++s) {
    SequenceState alone = model_->new_sequence();
    expected[s] = run(alone, tokens[s]);
    sequences.push_back(model_->new_sequence());
  }
  const size_t vocabulary = static_cast<size_t>(model_->config().vocab_size);
  size_t fed[3] = {0, 0, 0};
  for (int step = 0; fed[0] + fed[1] + fed[2] < 90 + 33 + 151; ++step) {
    std::vector<TokenRun> runs;
    std::vector<std::pair<int, size_t>> order;
    for (int i = 0; i < 3; ++i) {
      const int s = (step + i) % 3;
      const size_t count = std::min<size_t>(random_() % 12, tokens[s].size() - fed[s]);
      if (count == 0) continue;
      runs.push_back({&sequences[static_cast<size_t>(s)], std::span(tokens[s]).subspan(fed[s], count), Logits::all});
      order.emplace_back(s, count);
      fed[s] += count;
    }
    if (runs.empty()) continue;
    std::vector<float> logits;
    const Status status = model_->forward(runs, logits);
    ASSERT_TRUE(status.ok()) << status.to_string();
    auto row = logits.begin();
    for (const auto& [s, count] : order) {
      actual[s].insert(actual[s].end(), row, row + static_cast<std::ptrdiff_t>(count * vocabulary));
      row += static_cast<std::ptrdiff_t>(count * vocabulary);
    }
  }
  for (int s = 0; s < 3; ++s) EXPECT_EQ(expected[s], actual[s]) << "sequence " << s;
}

TEST_P(StateTest, AForkContinuesLikeItsOriginAndApartFromIt) {
  const std::vector<int32_t> head = random_tokens(67), tail = random_tokens(20), other = random_tokens(20);
  SequenceState origin = model_->new_sequence();
  run(origin, head);
  SequenceState forked = origin.fork();
  const std::vector<float> expected = run(origin, tail);
  run(forked, other);  // must not disturb what follows
  SequenceState fresh = model_->new_sequence();
  run(fresh, head);
  EXPECT_EQ(expected, run(fresh, tail));
  std::vector<int32_t> joined = head;
  joined.insert(joined.end(), other.begin(), other.end());
  SequenceState straight = model_->new_sequence();
  run(straight, joined);
  EXPECT_EQ(run(straight, tail), run(forked, tail));
}

// Captured inside a chunk at every token, also before the convolutions' history is full: each snapshot, with the pages
// that all of them share, goes on as the sequence itself did, whoever writes first behind it.
TEST_P(StateTest, AnyTokenInsideAChunkCanBeContinued) {
  const std::vector<int32_t> head = random_tokens(3), chunk = random_tokens(80), other = random_tokens(9);
  SequenceState origin = model_->new_sequence();
  run(origin, head);
  std::vector<Capture> captures(chunk.size());
  for (size_t i = 0; i < captures.size(); ++i) captures[i].after = static_cast<int64_t>(i + 1);
  std::vector<float> logits;
  const TokenRun part{&origin, chunk, Logits::all, captures};
  ASSERT_TRUE(model_->forward({&part, 1}, logits).ok());
  const int64_t pages = model_->page_pool().live();
  EXPECT_EQ(pages, 2);

  const size_t vocabulary = static_cast<size_t>(model_->config().vocab_size);
  for (size_t i = 0; i < captures.size(); ++i) {
    const int64_t length = static_cast<int64_t>(head.size() + i + 1);
    std::vector<std::shared_ptr<Page>> shared;
    for (const PageUse& use : origin.pages().first(static_cast<size_t>((length + 63) / 64))) {
      shared.push_back(use.page());
    }
    SequenceState resumed = model_->new_sequence(), diverging = model_->new_sequence();
    resumed.resume(length, shared, captures[i].snapshot);
    diverging.resume(length, shared, captures[i].snapshot);
    EXPECT_EQ(diverging.pages_for(9), length == 64 ? 1 : length > 64 - 9 && length < 64 ? 2 : length < 83 ? 1 : 0);
    run(diverging, other);
    if (i + 1 == captures.size()) break;
    const std::vector<float> rest = run(resumed, std::span(chunk).subspan(i + 1));
    ASSERT_EQ(rest,
              std::vector<float>(logits.begin() + static_cast<std::ptrdiff_t>((i + 1) * vocabulary), logits.end()))
        << "behind token " << i;
    ASSERT_EQ(resumed.snapshot().history, origin.snapshot().history);
  }
  EXPECT_EQ(model_->page_pool().live(), pages) << "copies are gone with their sequences";
  EXPECT_EQ(model_->page_pool().in_use(), pages);
}

TEST_P(StateTest, ResetForgetsEverything) {
  const std::vector<int32_t> tokens = random_tokens(40);
  SequenceState sequence = model_->new_sequence();
  const std::vector<float> expected = run(sequence, tokens);
  sequence.reset();
  EXPECT_EQ(sequence.length(), 0);
  EXPECT_EQ(expected, run(sequence, tokens));
}

TEST(Model, LastLogitsAreTheLastRowOfAll) {
  const auto model = load_golden_model("like_8b", "cpu");
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5};
  SequenceState a = model->new_sequence(), b = model->new_sequence(), c = model->new_sequence();
  std::vector<float> all, mixed;
  const TokenRun whole{&a, tokens, Logits::all};
  ASSERT_TRUE(model->forward({&whole, 1}, all).ok());
  const TokenRun runs[] = {{&b, tokens, Logits::none}, {&c, tokens, Logits::last}};
  ASSERT_TRUE(model->forward(runs, mixed).ok());
  const size_t vocabulary = static_cast<size_t>(model->config().vocab_size);
  EXPECT_EQ(mixed, std::vector<float>(all.end() - static_cast<std::ptrdiff_t>(vocabulary), all.end()));
}

TEST(Model, ThreadsDoNotChangeBits) {
  std::vector<float> expected;
  for (int threads : {1, 2, 5}) {
    const auto model = load_golden_model("head_dim_128", "cpu", threads);
    SequenceState sequence = model->new_sequence();
    std::vector<int32_t> tokens(50, 3);
    std::vector<float> logits;
    const TokenRun run{&sequence, tokens, Logits::all};
    ASSERT_TRUE(model->forward({&run, 1}, logits).ok());
    if (expected.empty()) expected = logits;
    EXPECT_EQ(expected, logits) << threads << " threads";
  }
}

TEST(Model, RefusesWhatItCannotRunAndLeavesSequencesAlone) {
  const auto model = load_golden_model("one_layer", "cpu");
  const int32_t vocabulary = static_cast<int32_t>(model->config().vocab_size);
  SequenceState sequence = model->new_sequence();
  std::vector<float> logits;
  const auto code = [&](std::vector<TokenRun> runs) { return model->forward(runs, logits).code(); };

  const std::vector<int32_t> good = {1, 2}, unknown = {1, vocabulary}, negative = {-1};
  EXPECT_EQ(code({{&sequence, unknown}}), Code::out_of_range);
  EXPECT_EQ(code({{&sequence, negative}}), Code::out_of_range);
  EXPECT_EQ(code({{&sequence, {}}}), Code::invalid_argument);
  EXPECT_EQ(code({{nullptr, good}}), Code::invalid_argument);
  EXPECT_EQ(code({{&sequence, good}, {&sequence, good}}), Code::invalid_argument);
  const std::vector<int32_t> too_long(static_cast<size_t>(model->config().max_positions) + 1, 1);
  EXPECT_EQ(code({{&sequence, too_long}}), Code::out_of_range);
  EXPECT_EQ(sequence.length(), 0);
  EXPECT_EQ(code({{&sequence, good}}), Code::ok);
  EXPECT_EQ(sequence.length(), 2);
}

}  // namespace
}  // namespace zaya::model
