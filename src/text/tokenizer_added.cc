#include "text/tokenizer_added.h"

#include <algorithm>

#include "text/utf8.h"

namespace zaya::text {
namespace {

size_t white_space_start(std::string_view text) {  // of the white space that ends `text`
  size_t start = text.size();
  while (start > 0) {
    size_t previous = start - 1;
    while (previous > 0 && (static_cast<unsigned char>(text[previous]) & 0xC0) == 0x80) --previous;
    size_t position = previous;
    if (!is_white_space(next_valid_utf8(text.data(), position))) break;
    start = previous;
  }
  return start;
}

size_t white_space_end(std::string_view text, size_t from) {  // of the white space that starts at `from`
  while (from < text.size()) {
    size_t position = from;
    if (!is_white_space(next_valid_utf8(text.data(), position))) break;
    from = position;
  }
  return from;
}

bool word_before(std::string_view text, size_t position) {
  return position > 0 && is_word_character(last_valid_utf8(text.substr(0, position)));
}

bool word_after(std::string_view text, size_t position) {
  return position < text.size() && is_word_character(next_valid_utf8(text.data(), position));
}

}  // namespace

Result<AddedTokens> AddedTokens::create(std::vector<AddedToken> tokens, const Normalizer& normalizer) {
  AddedTokens added;
  added.contents_.reserve(tokens.size());
  for (AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    const std::string name = "added token \"" + token.content + "\"";
    if (const AddedToken* other = added.find(token.id)) {
      if (other->content != token.content) {
        return Status(Code::malformed,
                      name + " has the id " + std::to_string(token.id) + " of added token \"" + other->content + "\"");
      }
      added.tokens_[added.index_of_id_[token.id]] = std::move(token);  // listed twice: the last one holds
      continue;
    }
    const auto index = static_cast<int32_t>(added.tokens_.size());
    if (added.contents_.add(index, token.content) != TokenTable::Added::ok) {
      const AddedToken& other = added.tokens_[*added.contents_.find(token.content)];
      return Status(Code::malformed,
                    name + " is listed with the ids " + std::to_string(other.id) + " and " + std::to_string(token.id));
    }
    if (static_cast<size_t>(token.id) >= added.index_of_id_.size()) {
      added.index_of_id_.resize(static_cast<size_t>(token.id) + 1, -1);
    }
    added.index_of_id_[token.id] = index;
    added.tokens_.push_back(std::move(token));
  }

  added.normalized_.resize(added.tokens_.size());
  for (size_t i = 0; i < added.tokens_.size(); ++i) {
    const AddedToken& token = added.tokens_[i];
    std::string storage;
    std::string_view pattern = token.content;
    if (token.normalized) {
      pattern = normalizer.apply(token.content, storage);
      if (pattern.empty()) {
        return Status(Code::malformed, "added token \"" + token.content + "\" is empty after normalisation",
                      "set its `normalized` to false");
      }
      if (pattern != token.content) added.normalized_[i] = pattern;
    }
    if (!added.matchers_[token.normalized].add(pattern, static_cast<int32_t>(i))) {
      return Status(Code::malformed, "added token \"" + token.content + "\" is another one's text after normalisation",
                    "set its `normalized` to false");
    }
  }
  for (StringMatcher& matcher : added.matchers_) matcher.build();
  return added;
}

std::optional<TokenId> AddedTokens::find(std::string_view content) const {
  const auto index = contents_.find(content);
  if (!index) return std::nullopt;
  return tokens_[*index].id;
}

std::string_view AddedTokens::decoder_text(const AddedToken& token) const {
  const std::string& normalized = normalized_[index_of_id_[token.id]];
  return normalized.empty() ? token.content : normalized;
}

// The order of tests and the bookkeeping follow `tokenizers`, including that the search goes on behind the match
// itself, not behind the white space that rstrip took.
void AddedTokens::split(std::string_view text, bool normalized, const std::function<void(size_t, size_t)>& on_text,
                        const std::function<void(TokenId)>& on_token) const {
  const StringMatcher& matcher = matchers_[normalized];
  size_t done = 0;  // what lies before is accounted for
  size_t search = 0;
  while (!matcher.empty()) {
    const auto match = matcher.find(text, search);
    if (!match) break;
    search = match->end;
    const AddedToken& token = tokens_[match->value];
    if (token.single_word && (word_before(text, match->start) || word_after(text, match->end))) continue;
    const size_t start = token.lstrip ? std::max(white_space_start(text.substr(0, match->start)), done) : match->start;
    const size_t end = token.rstrip ? white_space_end(text, match->end) : match->end;
    if (done < start) on_text(done, start);
    on_token(token.id);
    done = end;
  }
  if (done < text.size()) on_text(done, text.size());
}

}  // namespace zaya::text
