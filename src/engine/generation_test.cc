#include "engine/generation.h"

#include <gtest/gtest.h>

#include "engine/test_tokenizer.h"

namespace zaya::engine {
namespace {

constexpr int64_t kVocabulary = 64;

// Plays a model that wants to say `script`: at each step the next token of it is the likeliest by far.
struct Play {
  Outcome outcome;
  std::string streamed_reasoning, streamed_answer;
  std::vector<bool> forced;
};

Play play(Request request, std::vector<text::TokenId> script, int64_t context_left = 1000) {
  Play result;
  request.sampling.temperature = 0;
  if (request.prompt.empty()) request.prompt = {0};
  Generation generation(std::move(request), test_tokenizer(), kVocabulary, context_left, [&](const Event& event) {
    if (event.sampled.token >= 0) result.forced.push_back(event.forced);
    for (const auto& piece : event.pieces) {
      (piece.reasoning ? result.streamed_reasoning : result.streamed_answer) += piece.text;
    }
  });
  size_t spoken = 0;  // a forced token takes the place of what the model would have said at that point
  while (!generation.done()) {
    std::vector<float> logits(kVocabulary, 0.0f);
    logits[static_cast<size_t>(script[std::min(spoken, script.size() - 1)])] = 10;
    generation.next(logits);
    if (result.forced.empty() || !result.forced.back()) ++spoken;
  }
  result.outcome = generation.outcome();
  EXPECT_EQ(result.streamed_reasoning, result.outcome.reasoning);
  EXPECT_EQ(result.streamed_answer, result.outcome.answer);
  return result;
}

std::vector<text::TokenId> script(const std::string& text) { return test_tokenizer().encode(text); }

TEST(Generation, StopsAtAStopTokenAndSplitsReasoning) {
  Request request;
  request.stop_tokens = {kEnd};
  request.thinking.starts_inside = true;
  const Play result = play(request, script("hmm</think>\n\nyes\n<end>"));
  EXPECT_EQ(result.outcome.finish, Finish::stop);
  EXPECT_EQ(result.outcome.reasoning, "hmm");
  EXPECT_EQ(result.outcome.answer, "yes\n");
  EXPECT_EQ(result.outcome.tokens.size(), 11u);
  EXPECT_EQ(result.outcome.reasoning_tokens, 4);  // the close tag is the last token of the reasoning
}

TEST(Generation, WithoutTagsAllIsAnswer) {
  Request request;
  request.stop_tokens = {kEnd};
  const Play result = play(request, script("yes<end>"));
  EXPECT_EQ(result.outcome.answer, "yes");
  EXPECT_EQ(result.outcome.reasoning, "");
  EXPECT_EQ(result.outcome.reasoning_tokens, 0);
}

TEST(Generation, SpecialTokensShowWhereTheRequestSaysSo) {
  Request request;
  request.max_tokens = 4;
  EXPECT_EQ(play(request, script("a<end>b<end>")).outcome.answer, "ab");
  request.visible_tokens = {"<end>", "no such token"};
  EXPECT_EQ(play(request, script("a<end>b<end>")).outcome.answer, "a<end>b<end>");

  Request raw;
  raw.max_tokens = 4;
  raw.thinking.separate = false;
  const Play result = play(raw, script("<think>a</think>b"));
  EXPECT_EQ(result.outcome.answer, "<think>a</think>b");
  EXPECT_EQ(result.outcome.reasoning, "");
}

TEST(Generation, StopStringsCutTheAnswerButNotTheReasoning) {
  Request request;
  request.stop_strings = {"op"};
  request.thinking.starts_inside = true;
  const Play result = play(request, script("oppo</think>stop here"));
  EXPECT_EQ(result.outcome.finish, Finish::stop);
  EXPECT_EQ(result.outcome.stop_string, "op");
  EXPECT_EQ(result.outcome.reasoning, "oppo");
  EXPECT_EQ(result.outcome.answer, "st");
}

TEST(Generation, EndsAtTheTokenLimitAndReleasesWhatWasHeldBack) {
  Request request;
  request.max_tokens = 3;
  request.stop_strings = {"cde"};
  const Play result = play(request, script("abcdef"));
  EXPECT_EQ(result.outcome.finish, Finish::length);
  EXPECT_EQ(result.outcome.answer, "abc");
  EXPECT_EQ(play({}, script("abcdef"), 2).outcome.answer, "ab") << "the context's end is a limit too";
}

TEST(Generation, AStopStringCompletedByTheLastTokenIsAStop) {
  Request request;
  request.max_tokens = 3;
  request.stop_strings = {"bc"};
  EXPECT_EQ(play(request, script("abc")).outcome.finish, Finish::stop);
}

TEST(Generation, ForcesTheCloseOfTheReasoningAtTheBudget) {
  Request request;
  request.stop_tokens = {kEnd};
  request.thinking.starts_inside = true;
  request.thinking.budget = 4;
  const Play result = play(request, script("abcdANSWER<end>"));
  EXPECT_EQ(result.outcome.reasoning, "abcd\n");
  EXPECT_EQ(result.outcome.answer, "ANSWER");
  EXPECT_TRUE(result.outcome.budget_spent);
  // a b c d, then newline, close tag, two newlines forced, then the model again.
  const std::vector<bool> expected = {false, false, false, false, true,  true,  true, true,
                                      false, false, false, false, false, false, false};
  EXPECT_EQ(result.forced, expected);
}

TEST(Generation, ABudgetOfZeroAnswersAtOnce) {
  Request request;
  request.stop_tokens = {kEnd};
  request.thinking.starts_inside = true;
  request.thinking.budget = 0;
  const Play result = play(request, script("X<end>"));
  EXPECT_EQ(result.outcome.reasoning, "");
  EXPECT_EQ(result.outcome.answer, "X");
  EXPECT_EQ(result.outcome.reasoning_tokens, 1);  // the close tag itself
}

TEST(Generation, ABudgetThatIsNotReachedChangesNothing) {
  Request request;
  request.stop_tokens = {kEnd};
  request.thinking.starts_inside = true;
  request.thinking.budget = 10;
  const Play result = play(request, script("abc</think>X<end>"));
  EXPECT_FALSE(result.outcome.budget_spent);
  EXPECT_EQ(result.outcome.answer, "X");
}

TEST(Generation, NoRoomMeansNoToken) {
  Generation generation({.prompt = {0}}, test_tokenizer(), kVocabulary, 0, {});
  EXPECT_TRUE(generation.done());
  EXPECT_EQ(generation.outcome().finish, Finish::length);
}

TEST(Generation, FailsOnLogitsThatAreNoNumbers) {
  Generation generation({.prompt = {0}}, test_tokenizer(), kVocabulary, 10, {});
  generation.next(std::vector<float>(kVocabulary, std::nanf("")));
  EXPECT_EQ(generation.outcome().finish, Finish::failed);
  EXPECT_EQ(generation.outcome().failure.code(), Code::malformed);
}

TEST(Generation, CancelReleasesWhatWasHeldBack) {
  Request request;
  request.prompt = {0};
  request.stop_strings = {"abc"};
  request.sampling.temperature = 0;
  std::string streamed;
  Generation generation(std::move(request), test_tokenizer(), kVocabulary, 10, [&](const Event& event) {
    for (const auto& piece : event.pieces) streamed += piece.text;
  });
  std::vector<float> logits(kVocabulary, 0.0f);
  logits[0] = 1;  // 'a', held back: it may begin "abc"
  generation.next(logits);
  EXPECT_EQ(streamed, "");
  generation.end(Finish::cancelled);
  EXPECT_EQ(streamed, "a");
  EXPECT_EQ(generation.outcome().answer, "a");
  EXPECT_EQ(generation.outcome().finish, Finish::cancelled);
}

}  // namespace
}  // namespace zaya::engine
