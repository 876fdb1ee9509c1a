// Token ids to text while they are being generated.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "text/detokenizer_chain.h"
#include "text/tokenizer.h"

namespace zaya::text {

// Emits each token's text as soon as it is settled: whole characters only, and all pieces together, finish() included,
// are exactly Tokenizer::decode() of all ids.
//
// What can hold text back is a run of byte tokens: tokenizers turns a run into text only when all of it is valid, and
// into one U+FFFD per token otherwise, so a run is settled by the token that ends it.
//
// Tags such as <think> may be special tokens. With `skip_special` they would vanish, and with them the border between
// reasoning and answer; name their ids in `keep` to have their text come out like any other token's:
//
//   std::vector<TokenId> tags = {*tokenizer.id_of("<think>"), *tokenizer.id_of("</think>")};
//   Detokenizer detokenizer(tokenizer, /*skip_special=*/true, tags);
//
// Independent of the Tokenizer object's lifetime (it shares the tables). One stream per object; not thread-safe.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer, bool skip_special = true, std::span<const TokenId> keep = {});

  // The text that this token settles; often its own, empty while a character is incomplete.
  std::string push(TokenId id);
  // What was held back. The object then stands at the start of a new stream.
  std::string finish();

 private:
  std::shared_ptr<const TokenizerData> data_;
  DecoderStream stream_;
  std::vector<TokenId> keep_;
  bool skip_special_;
};

}  // namespace zaya::text
