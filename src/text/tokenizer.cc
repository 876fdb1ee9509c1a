#include "text/tokenizer.h"

#include <algorithm>
#include <deque>

#include "base/file.h"
#include "text/tokenizer_data.h"
#include "text/utf8.h"

namespace zaya::text {
namespace {

// Encodes text without added tokens in it: pre-tokeniser, then BPE on each word.
void encode_words(const TokenizerData& data, std::string_view normalized, bool at_start, std::vector<TokenId>& ids) {
  std::deque<std::string> storage;
  for (const std::string_view word : data.pre_tokenizer.apply(normalized, at_start, storage)) {
    data.model.encode(word, ids);
  }
}

void encode_text(const TokenizerData& data, std::string_view text, bool at_start, bool parse_special,
                 std::vector<TokenId>& ids) {
  std::string storage;
  const std::string_view normalized = data.normalizer.apply(text, storage);
  if (!parse_special) return encode_words(data, normalized, at_start, ids);
  data.added.split(
      normalized, true,
      [&](size_t start, size_t end) {
        encode_words(data, normalized.substr(start, end - start), at_start && start == 0, ids);
      },
      [&](TokenId id) { ids.push_back(id); });
}

}  // namespace

TokenId TokenizerData::end_id() const { return std::max(model.vocabulary().end_id(), added.end_id()); }

Result<Tokenizer> Tokenizer::load(const std::filesystem::path& tokenizer_json) {
  ZAYA_ASSIGN(const std::string json, read_file(tokenizer_json));
  auto tokenizer = parse(json);
  if (!tokenizer.ok()) return tokenizer.status().with_context(tokenizer_json.string());
  return tokenizer;
}

Result<Tokenizer> Tokenizer::parse(std::string_view json) {
  ZAYA_ASSIGN(TokenizerData data, read_tokenizer_json(json));
  return Tokenizer(std::make_shared<const TokenizerData>(std::move(data)));
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    repaired = replace_invalid_utf8(text);
    text = repaired;
  }
  std::vector<TokenId> ids;
  if (options.add_special_tokens) ids = data_->prefix;
  if (!options.parse_special) {
    if (!text.empty()) encode_text(*data_, text, true, false, ids);
  } else {
    data_->added.split(
        text, false,
        [&](size_t start, size_t end) { encode_text(*data_, text.substr(start, end - start), start == 0, true, ids); },
        [&](TokenId id) { ids.push_back(id); });
  }
  if (options.add_special_tokens) ids.insert(ids.end(), data_->suffix.begin(), data_->suffix.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special, std::span<const TokenId> keep) const {
  DecoderStream stream(data_->decoder);
  std::string text;
  for (const TokenId id : ids) {
    if (!data_->exists(id)) continue;
    if (skip_special && data_->is_special(id) && std::find(keep.begin(), keep.end(), id) == keep.end()) continue;
    stream.push(data_->decoder_text(id), text);
  }
  stream.finish(text);
  return text;
}

std::optional<TokenId> Tokenizer::id_of(std::string_view token) const {
  if (const auto id = data_->added.find(token)) return id;
  return data_->model.vocabulary().find(token);
}

std::string_view Tokenizer::token(TokenId id) const {
  const AddedToken* added = data_->added.find(id);
  return added != nullptr ? std::string_view(added->content) : data_->model.vocabulary().text(id);
}

bool Tokenizer::is_special(TokenId id) const { return data_->is_special(id); }

int32_t Tokenizer::size() const { return data_->end_id(); }

}  // namespace zaya::text
