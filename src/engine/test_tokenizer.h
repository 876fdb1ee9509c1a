// A tokenizer for tests: one token per printable character, then the special tokens.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "text/tokenizer.h"

namespace zaya::engine {

// Ids: 0 … 25 = 'a' … 'z', 26 = "\n", 27 = <think>, 28 = </think>, 29 = <end>, 30 … 63 = 'A' … 'Z', '0' … '7'.
inline constexpr text::TokenId kNewline = 26, kThink = 27, kCloseThink = 28, kEnd = 29;

inline text::Tokenizer test_tokenizer() {
  std::string vocabulary, added;
  const auto add = [&](const std::string& token, int id) {
    vocabulary += (vocabulary.empty() ? "\"" : ",\"") + token + "\":" + std::to_string(id);
  };
  for (int i = 0; i < 26; ++i) add(std::string(1, static_cast<char>('a' + i)), i);
  add("\\n", kNewline);
  add("<think>", kThink);
  add("</think>", kCloseThink);
  add("<end>", kEnd);
  for (int i = 0; i < 34; ++i) add(std::string(1, static_cast<char>(i < 26 ? 'A' + i : '0' + i - 26)), 30 + i);
  for (const auto& [token, id] : {std::pair("<think>", kThink), {"</think>", kCloseThink}, {"<end>", kEnd}}) {
    added += (added.empty() ? "" : ",") + std::string(R"({"id":)") + std::to_string(id) + R"(,"content":")" + token +
             R"(","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true})";
  }
  const std::string json =
      R"({"version":"1.0","added_tokens":[)" + added +
      R"(],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":{"type":"Fuse"},)" +
      R"("model":{"type":"BPE","vocab":{)" + vocabulary + R"(},"merges":[]}})";
  Result<text::Tokenizer> tokenizer = text::Tokenizer::parse(json);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  return std::move(tokenizer).value();
}

}  // namespace zaya::engine
