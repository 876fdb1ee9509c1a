// Added tokens: fixed strings that are cut out of a text before the model sees it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/tokenizer_matcher.h"
#include "text/tokenizer_pipeline.h"
#include "text/tokenizer_table.h"

namespace zaya::text {

struct AddedToken {
  TokenId id = -1;
  std::string content;
  bool special = false;      // left out by decoding on request
  bool normalized = false;   // matched in the normalised text (and as normalised itself), after the others
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool single_word = false;  // matches only between characters that are not part of a word
};

class AddedTokens {
 public:
  // malformed: two tokens with one id, one text with two ids, or two texts that the normaliser makes equal.
  // A token without text is ignored, as in `tokenizers`.
  static Result<AddedTokens> create(std::vector<AddedToken> tokens, const Normalizer& normalizer);

  const AddedToken* find(TokenId id) const {
    const int32_t index = id >= 0 && static_cast<size_t>(id) < index_of_id_.size() ? index_of_id_[id] : -1;
    return index < 0 ? nullptr : &tokens_[index];
  }
  std::optional<TokenId> find(std::string_view content) const;
  // What the decoder sees of a token: its normalised text if it is matched so, which the decoder will undo.
  std::string_view decoder_text(const AddedToken& token) const;
  TokenId end_id() const { return static_cast<TokenId>(index_of_id_.size()); }  // greatest id + 1

  // Cuts `text` at the matches of the tokens that are (`normalized`) or are not matched in normalised text. Calls
  // `on_text` for each part between and `on_token` for each match, in order; no part is empty.
  void split(std::string_view text, bool normalized, const std::function<void(size_t start, size_t end)>& on_text,
             const std::function<void(TokenId)>& on_token) const;

 private:
  std::vector<AddedToken> tokens_;
  std::vector<std::string> normalized_;  // beside tokens_; empty where it equals content
  std::vector<int32_t> index_of_id_;     // -1: no added token
  TokenTable contents_;                  // content → index in tokens_
  StringMatcher matchers_[2];            // [normalized]; values are indices into tokens_
};

}  // namespace zaya::text
