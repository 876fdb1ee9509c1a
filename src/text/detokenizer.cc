#include "text/detokenizer.h"

#include <algorithm>

#include "text/tokenizer_data.h"

namespace zaya::text {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, bool skip_special, std::span<const TokenId> keep)
    : data_(tokenizer.data_), stream_(data_->decoder), keep_(keep.begin(), keep.end()), skip_special_(skip_special) {}

std::string Detokenizer::push(TokenId id) {
  std::string text;
  if (!data_->exists(id)) return text;
  if (skip_special_ && data_->is_special(id) && std::find(keep_.begin(), keep_.end(), id) == keep_.end()) return text;
  stream_.push(data_->decoder_text(id), text);
  return text;
}

std::string Detokenizer::finish() {
  std::string text;
  stream_.finish(text);
  return text;
}

}  // namespace zaya::text
