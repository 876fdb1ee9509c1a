// All that a tokenizer.json holds, ready for use. Shared and never changed after reading.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/bpe.h"
#include "text/detokenizer_chain.h"
#include "text/tokenizer_added.h"
#include "text/tokenizer_pipeline.h"

namespace zaya::text {

struct TokenizerData {
  BpeModel model;
  AddedTokens added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  DecoderChain decoder;
  std::vector<TokenId> prefix;  // what the post-processor puts before a text
  std::vector<TokenId> suffix;  // … and after it

  TokenId end_id() const;
  bool is_special(TokenId id) const {
    const AddedToken* token = added.find(id);
    return token != nullptr && token->special;
  }
  bool exists(TokenId id) const { return added.find(id) != nullptr || model.vocabulary().contains(id); }
  // What the decoder sees of a token.
  std::string_view decoder_text(TokenId id) const {
    const AddedToken* token = added.find(id);
    return token != nullptr ? added.decoder_text(*token) : model.vocabulary().text(id);
  }
};

// Reads a tokenizer.json (see tokenizer.h for what is understood and for the errors).
Result<TokenizerData> read_tokenizer_json(std::string_view json);

}  // namespace zaya::text
