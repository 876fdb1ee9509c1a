// Reads tokenizer.json into TokenizerData. Gemma 3's is 33 MB, hence simdjson; its document lives only as long as the
// reading.
#include "text/tokenizer_json.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "simdjson.h"
#include "text/tokenizer_data.h"
#include "text/utf8.h"

namespace zaya::text {
namespace {

// simdjson counts in 32 bits; TokenTable's texts do so too.
constexpr size_t kMaxFileBytes = size_t{1} << 30;
// Nesting within the file. The deepest that files of this kind need is about 8.
constexpr size_t kMaxDepth = 64;

Result<std::vector<AddedToken>> read_added_tokens(const JsonValue& root) {
  std::vector<AddedToken> tokens;
  const JsonValue list = root.member("added_tokens");
  if (list.is_null()) return tokens;
  ZAYA_ASSIGN(const simdjson::dom::array array, list.array());
  size_t index = 0;
  for (const simdjson::dom::element element : array) {
    const JsonValue item = list.at(element, index++);
    AddedToken token;
    ZAYA_ASSIGN(token.id, read_token_id(item.member("id")));
    ZAYA_ASSIGN(token.content, item.member("content").string());
    ZAYA_ASSIGN(token.special, item.member("special").boolean_or(false));
    ZAYA_ASSIGN(token.normalized, item.member("normalized").boolean_or(!token.special));
    ZAYA_ASSIGN(token.lstrip, item.member("lstrip").boolean_or(false));
    ZAYA_ASSIGN(token.rstrip, item.member("rstrip").boolean_or(false));
    ZAYA_ASSIGN(token.single_word, item.member("single_word").boolean_or(false));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

Result<TokenTable> read_vocabulary(const JsonValue& value) {
  if (value.is_null()) return value.error("is missing");
  ZAYA_ASSIGN(const simdjson::dom::object object, value.object());
  TokenTable table;
  table.reserve(object.size());
  for (const simdjson::dom::key_value_pair entry : object) {
    const JsonValue item = value.at(entry);
    ZAYA_ASSIGN(const TokenId id, read_token_id(item));
    switch (table.add(id, entry.key)) {
      case TokenTable::Added::ok: break;
      case TokenTable::Added::duplicate_text: return item.error("is listed twice");
      case TokenTable::Added::duplicate_id:
        return item.error("has the id " + std::to_string(id) + ", which is that of \"" + std::string(table.text(id)) +
                          "\"");
    }
  }
  return table;
}

// One merge, as ["a", "b"] or as "a b".
Status read_merge(const JsonValue& item, uint32_t rank, BpeModel& model) {
  std::string_view left, right;
  if (simdjson::dom::array pair; item.get(pair) == simdjson::SUCCESS) {
    if (pair.size() != 2 || pair.at(0).get(left) != simdjson::SUCCESS || pair.at(1).get(right) != simdjson::SUCCESS) {
      return item.error("must be a pair of strings");
    }
  } else {
    std::string_view text;
    if (item.get(text) != simdjson::SUCCESS) return item.error("must be a string or a pair of strings");
    if (text.starts_with("#version")) return Status();
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
      return item.error("\"" + std::string(text) + "\" must be two tokens with one space between");
    }
    left = text.substr(0, space);
    right = text.substr(space + 1);
  }
  const auto missing = [&](const std::string& what, const std::string& token) {
    return item.error("names " + what + " \"" + token + "\", which is not in model.vocab");
  };
  switch (model.add_merge(left, right, rank)) {
    case BpeModel::MergeError::none: return Status();
    case BpeModel::MergeError::empty_part:
      return item.error("has an empty part, so it would merge a token with nothing");
    case BpeModel::MergeError::unknown_left: return missing("the token", std::string(left));
    case BpeModel::MergeError::unknown_right: return missing("the token", std::string(right));
    case BpeModel::MergeError::unknown_result:
      return missing("a merge whose result is", std::string(left).append(right));
  }
  return Status();
}

Result<BpeModel> read_model(const JsonValue& value) {
  if (value.is_null()) return value.error("is missing");
  ZAYA_RETURN_IF_ERROR(value.object().status());
  // Files from before the type was written are BPE if they have merges.
  if (!value.member("type").is_null()) {
    ZAYA_ASSIGN(const std::string type, value.member("type").string());
    if (type != "BPE") return value.unsupported(type);
  }
  double dropout = 0;
  if (const JsonValue item = value.member("dropout"); !item.is_null() && item.get(dropout) != simdjson::SUCCESS) {
    return item.error("must be a number or null");
  }
  if (dropout != 0) {
    return value.member("dropout").unsupported(std::to_string(dropout), "dropout is for training; set it to null");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    ZAYA_ASSIGN(const std::string affix, value.member(key).string_or(""));
    if (!affix.empty()) return value.member(key).unsupported(affix);
  }
  BpeOptions options;
  options.has_unk = !value.member("unk_token").is_null();
  ZAYA_ASSIGN(options.unk_token, value.member("unk_token").string_or(""));
  ZAYA_ASSIGN(options.fuse_unk, value.member("fuse_unk").boolean_or(false));
  ZAYA_ASSIGN(options.byte_fallback, value.member("byte_fallback").boolean_or(false));
  ZAYA_ASSIGN(options.ignore_merges, value.member("ignore_merges").boolean_or(false));
  ZAYA_ASSIGN(TokenTable vocabulary, read_vocabulary(value.member("vocab")));
  const JsonValue merges = value.member("merges");
  if (merges.is_null()) return merges.error("is missing");
  ZAYA_ASSIGN(const simdjson::dom::array array, merges.array());
  ZAYA_ASSIGN(BpeModel model, BpeModel::create(std::move(vocabulary), options, array.size()));

  uint32_t rank = 0;
  for (const simdjson::dom::element element : array) {
    ZAYA_RETURN_IF_ERROR(read_merge(merges.at(element, rank), rank, model));
    ++rank;
  }
  return model;
}

}  // namespace

Result<TokenId> read_token_id(const JsonValue& value) {
  if (value.is_null()) return value.error("is missing");
  int64_t id;
  if (value.get(id) != simdjson::SUCCESS) return value.error("must be a whole number");
  if (id < 0 || id > kMaxTokenId) {
    return Status(Code::out_of_range, value.path() + " is " + std::to_string(id) + "; token ids go from 0 to " +
                                          std::to_string(kMaxTokenId));
  }
  return static_cast<TokenId>(id);
}

Result<TokenizerData> read_tokenizer_json(std::string_view json) {
  if (json.size() > kMaxFileBytes) {
    return Status(Code::out_of_range, "the tokenizer has " + std::to_string(json.size()) + " bytes; the limit is " +
                                          std::to_string(kMaxFileBytes));
  }
  simdjson::dom::parser parser;
  if (const auto error = parser.allocate(std::max<size_t>(json.size(), 1), kMaxDepth)) {
    return Status(Code::resource_exhausted, std::string("no memory to read the tokenizer: ") + error_message(error));
  }
  simdjson::dom::element document;
  if (const auto error = parser.parse(json.data(), json.size()).get(document)) {
    return Status(Code::malformed, std::string("not readable as JSON: ") + error_message(error),
                  "is this the whole tokenizer.json?");
  }
  const JsonValue root = JsonValue::document(document);
  ZAYA_RETURN_IF_ERROR(root.object().status());
  ZAYA_ASSIGN(const std::string version, root.member("version").string_or("1.0"));
  if (version != "1.0") return root.member("version").unsupported(version);

  ZAYA_ASSIGN(Normalizer normalizer, read_normalizer(root.member("normalizer")));
  ZAYA_ASSIGN(PreTokenizer pre_tokenizer, read_pre_tokenizer(root.member("pre_tokenizer")));
  ZAYA_ASSIGN(DecoderChain decoder, read_decoder(root.member("decoder")));
  ZAYA_ASSIGN(PostProcessing post, read_post_processor(root.member("post_processor")));
  ZAYA_ASSIGN(BpeModel model, read_model(root.member("model")));
  ZAYA_ASSIGN(std::vector<AddedToken> tokens, read_added_tokens(root));
  // tokenizers would ignore the stated id and keep the vocabulary's, or shift the id to the next free one; both are
  // signs of a file edited by hand, and a wrong id here means wrong text from the model.
  for (const AddedToken& token : tokens) {
    const auto id = model.vocabulary().find(token.content);
    if (id && *id != token.id) {
      return Status(Code::malformed, "added token \"" + token.content + "\" has the id " + std::to_string(token.id) +
                                         ", but model.vocab gives it " + std::to_string(*id));
    }
  }
  ZAYA_ASSIGN(AddedTokens added, AddedTokens::create(std::move(tokens), normalizer));
  TokenizerData data{std::move(model),   std::move(added),       std::move(normalizer), std::move(pre_tokenizer),
                     std::move(decoder), std::move(post.prefix), std::move(post.suffix)};
  for (const std::vector<TokenId>* ids : {&data.prefix, &data.suffix}) {
    for (const TokenId id : *ids) {
      if (!data.exists(id))
        return root.member("post_processor").error("adds the id " + std::to_string(id) + ", which no token has");
    }
  }
  return data;
}

}  // namespace zaya::text
