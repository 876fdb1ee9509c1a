#include "text/detokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "text/detokenizer_chain.h"
#include "text/utf8.h"

namespace zaya::text {
namespace {

Tokenizer load_small() {
  return Tokenizer::load(ZAYA_SOURCE_DIR "/src/text/testdata/tokenizer/tokenizer.json").value();
}

std::vector<TokenId> byte_tokens(const Tokenizer& tokenizer, std::string_view bytes) {
  std::vector<TokenId> ids;
  const TokenId zero = *tokenizer.id_of("<0x00>");
  for (const char c : bytes) ids.push_back(zero + static_cast<unsigned char>(c));
  return ids;
}

TEST(Detokenizer, EmitsWordsAtOnce) {
  const Tokenizer tokenizer = load_small();
  Detokenizer detokenizer(tokenizer);
  EXPECT_EQ(detokenizer.push(*tokenizer.id_of("\u2581the")), " the");
  EXPECT_EQ(detokenizer.push(*tokenizer.id_of("<think>")), "");
  EXPECT_EQ(detokenizer.push(-1), "");
  EXPECT_EQ(detokenizer.push(*tokenizer.id_of("t")), "t");
  EXPECT_EQ(detokenizer.finish(), "");
}

TEST(Detokenizer, HoldsBytesUntilTheRunEnds) {
  const Tokenizer tokenizer = load_small();
  Detokenizer detokenizer(tokenizer);
  for (const TokenId id : byte_tokens(tokenizer, "\xF0\x9F\x98\x80")) EXPECT_EQ(detokenizer.push(id), "");
  EXPECT_EQ(detokenizer.push(*tokenizer.id_of("t")), "\U0001F600t");
  for (const TokenId id : byte_tokens(tokenizer, "\u20ac")) EXPECT_EQ(detokenizer.push(id), "");
  EXPECT_EQ(detokenizer.finish(), "\u20ac");
}

TEST(Detokenizer, OneBadByteSpoilsItsRun) {
  const Tokenizer tokenizer = load_small();
  Detokenizer detokenizer(tokenizer);
  for (const TokenId id : byte_tokens(tokenizer, "\u20ac\xFF")) EXPECT_EQ(detokenizer.push(id), "");
  EXPECT_EQ(detokenizer.finish(), "\uFFFD\uFFFD\uFFFD\uFFFD");
}

TEST(Detokenizer, SkippedTokensDoNotEndARun) {
  const Tokenizer tokenizer = load_small();
  const std::vector<TokenId> euro = byte_tokens(tokenizer, "\u20ac");
  const std::vector<TokenId> ids = {euro[0], *tokenizer.id_of("<bos>"), euro[1], 1 << 20, euro[2]};
  Detokenizer detokenizer(tokenizer);
  std::string text;
  for (const TokenId id : ids) text += detokenizer.push(id);
  text += detokenizer.finish();
  EXPECT_EQ(text, "\u20ac");
  EXPECT_EQ(text, tokenizer.decode(ids, true));
}

TEST(Detokenizer, RandomIdsStreamAsTheyDecode) {
  const Tokenizer tokenizer = load_small();
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::vector<TokenId> ids(random() % 30);
    for (TokenId& id : ids) {
      id = static_cast<TokenId>(random() % (random() % 2 == 0 ? 270 : tokenizer.size() + 10));
    }
    const bool skip = round % 2 == 0;
    Detokenizer detokenizer(tokenizer, skip);
    std::string text;
    for (const TokenId id : ids) {
      const std::string piece = detokenizer.push(id);
      ASSERT_TRUE(is_valid_utf8(piece));
      text += piece;
    }
    text += detokenizer.finish();
    ASSERT_EQ(text, tokenizer.decode(ids, skip));
  }
}

// Byte tokens as tokenizers reads them: any case, and a sign, for it hands the two digits to a number parser.
TEST(DecoderStream, ReadsByteTokens) {
  const DecoderChain chain({DecoderStep{DecoderStep::Kind::byte_fallback, {}, {}}});
  const auto decode = [&](std::vector<std::string> tokens) {
    DecoderStream stream(chain);
    std::string text;
    for (const std::string& token : tokens) stream.push(token, text);
    stream.finish(text);
    return text;
  };
  EXPECT_EQ(decode({"<0x41>"}), "A");
  EXPECT_EQ(decode({"<0x4a>", "<0x4A>"}), "JJ");
  EXPECT_EQ(decode({"<0x+9>"}), "\t");
  for (const char* text : {"<0x4>", "<0x411>", "<0xG1>", "<0x-9>", "<0x9+>", "<0X41>", "0x41>>", "<0x41)"}) {
    EXPECT_EQ(decode({text}), text);
  }
}

// After Fuse the tokens are one text; whatever the cuts between them, the result is the same.
TEST(DecoderStream, FusedStepsDoNotDependOnTheCuts) {
  using Kind = DecoderStep::Kind;
  DecoderStep strip{Kind::strip, {}, " "};
  strip.strip_start = 2;
  strip.strip_stop = 3;
  const std::vector<std::pair<std::vector<DecoderStep>, std::pair<std::string, std::string>>> cases = {
      {{{Kind::fuse, {}, {}}, {Kind::replace, "aab", "X"}}, {"aaabaabaaaab aa", "aXXaaX aa"}},
      {{{Kind::fuse, {}, {}}, {Kind::replace, "aa", "a"}}, {"aaaaa", "aaa"}},
      {{{Kind::fuse, {}, {}}, strip}, {"   a   b     ", " a   b  "}},
      {{{Kind::fuse, {}, {}}, strip}, {"      ", " "}},
      {{{Kind::fuse, {}, {}}, strip}, {"  ", ""}},
      {{{Kind::fuse, {}, {}}, {Kind::replace, "__", "  "}, strip}, {"__a____", "a "}},
  };
  for (const auto& [steps, texts] : cases) {
    const DecoderChain chain(steps);
    const auto& [input, expected] = texts;
    for (unsigned cuts = 0; cuts < 1u << (input.size() - 1); cuts = cuts * 2 + 1 + cuts % 3) {
      DecoderStream stream(chain);
      std::string text, token;
      for (size_t i = 0; i < input.size(); ++i) {
        token.push_back(input[i]);
        if ((cuts >> i & 1) == 0) continue;
        stream.push(token, text);
        token.clear();
      }
      stream.push(token, text);
      stream.finish(text);
      EXPECT_EQ(text, expected) << "\"" << input << "\" cut by " << cuts;
    }
  }
}

}  // namespace
}  // namespace zaya::text
