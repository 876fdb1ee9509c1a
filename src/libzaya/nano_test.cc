// The embedded model answers here as it does in transformers: prompt ids through template and tokenizer, then greedy
// tokens and text, on 200 conversations (tools/reference/write_nano_goldens.py).
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "base/file.h"
#include "libzaya/session.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ZAYA_SLOW_BUILD 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ZAYA_SLOW_BUILD 1
#endif

namespace zaya {
namespace {

// Sanitizers make a token some twenty times dearer; there a sample has to do.
#ifdef ZAYA_SLOW_BUILD
constexpr size_t kStride = 20;
#else
constexpr size_t kStride = 1;
#endif

std::filesystem::path source() { return ZAYA_SOURCE_DIR; }

text::Json goldens() {
  const Result<std::string> content = read_file(source() / "src/engine/testdata/nano_greedy.json");
  EXPECT_TRUE(content.ok()) << content.status().to_string();
  text::Json json = text::Json::parse(*content, nullptr, false);
  EXPECT_FALSE(json.is_discarded());
  return json.is_object() ? json["cases"] : json;
}

TEST(Nano, GreedyTextEqualsTransformers) {
  Result<Session> session = Session::open(source() / "models/nano");
  ASSERT_TRUE(session.ok()) << session.status().to_string();
  const text::Json cases = goldens();
  ASSERT_GE(cases.size(), 200u);

  std::vector<std::shared_ptr<engine::Generation>> generations;
  for (size_t i = 0; i < cases.size(); i += kStride) {
    const text::Json& golden = cases[i];
    Result<engine::Request> request = session->chat_request(
        {{"messages", golden["messages"]}}, {.temperature = 0, .think = golden["enable_thinking"].get<bool>()});
    ASSERT_TRUE(request.ok()) << request.status().to_string();
    EXPECT_EQ(request->prompt, golden["prompt_ids"].get<std::vector<int32_t>>()) << "prompt " << i;
    request->max_tokens = static_cast<int64_t>(golden["greedy_ids"].size());
    generations.push_back(*session->engine->submit(std::move(*request)));
  }
  while (!session->engine->idle()) session->engine->step();

  for (size_t i = 0, g = 0; i < cases.size(); i += kStride, ++g) {
    EXPECT_EQ(generations[g]->outcome().tokens, cases[i]["greedy_ids"].get<std::vector<int32_t>>()) << "prompt " << i;
    EXPECT_EQ(session->engine->tokenizer().decode(generations[g]->outcome().tokens, true),
              cases[i]["text"].get<std::string>());
  }
}

// The public header, as a program that embeds the library uses it.
TEST(Nano, AnswersThroughThePublicHeader) {
  Result<Model> model = Model::load(source() / "models/nano");
  ASSERT_TRUE(model.ok()) << model.status().to_string();
  std::string reasoning, answer;
  Result<Reply> reply = model->chat({{"user", "What is 47 * 86?"}}, {.temperature = 0},
                                    [&](const Piece& piece) { (piece.reasoning ? reasoning : answer) += piece.text; });
  ASSERT_TRUE(reply.ok()) << reply.status().to_string();
  EXPECT_NE(reply->answer.find("4042"), std::string::npos) << reply->answer;
  EXPECT_EQ(reply->answer, answer);
  EXPECT_EQ(reply->reasoning, reasoning);
  EXPECT_EQ(reply->finish, "stop");
  EXPECT_GT(reply->reasoning_tokens, 10);

  // A budget cuts the reasoning short, and an answer still comes.
  Result<Reply> hurried =
      model->chat({{"user", "What is 47 * 86?"}}, {.temperature = 0, .max_tokens = 100, .think_budget = 3});
  ASSERT_TRUE(hurried.ok());
  EXPECT_LT(hurried->reasoning_tokens, 8);
  EXPECT_FALSE(hurried->answer.empty());

  const std::string text = "7 apples + 5";
  EXPECT_EQ(model->detokenize(model->tokenize(text)), text);
  EXPECT_TRUE(model->complete("1+1", {.temperature = 0, .max_tokens = 3}).ok());
  std::stop_source stopped;
  stopped.request_stop();
  EXPECT_EQ(model->chat({{"user", "Hello"}}, {.cancel = stopped.get_token()})->finish, "cancelled");
}

TEST(Session, SaysWhatIsMissing) {
  EXPECT_EQ(Session::open("/nowhere").status().code(), Code::not_found);
  EXPECT_EQ(Session::open(source() / "models/nano", {.backend = "abacus"}).status().code(), Code::not_found);
  // A checkpoint without a tokenizer.
  const Status status = Session::open(source() / "src/model/testdata/one_layer").status();
  EXPECT_EQ(status.code(), Code::not_found);
  EXPECT_NE(status.message().find("tokenizer.json"), std::string::npos) << status.to_string();
}

TEST(SamplingDefaults, ReadGenerationConfig) {
  const std::filesystem::path directory = std::filesystem::path(testing::TempDir()) / "sampling_defaults";
  std::filesystem::create_directories(directory);
  const auto defaults = [&](const char* json) {
    EXPECT_TRUE(write_file(directory / "generation_config.json", json).ok());
    return load_sampling_defaults(directory);
  };
  EXPECT_EQ(load_sampling_defaults("/nowhere")->top_p, 0.95);
  EXPECT_EQ(defaults("{}")->temperature, 1);
  EXPECT_EQ(defaults(R"({"do_sample": false, "temperature": 0.7})")->temperature, 0);
  EXPECT_EQ(defaults(R"({"temperature": 0.6, "top_k": 20, "top_p": 0.9, "min_p": 0.01})")->top_k, 20);
  EXPECT_EQ(defaults(R"({"top_k": 1e300})")->top_k, 0) << "not an integer: ignored";
  EXPECT_FALSE(defaults("[]").ok());
  EXPECT_FALSE(defaults(R"({"temperature": -3})").ok());
}

}  // namespace
}  // namespace zaya
