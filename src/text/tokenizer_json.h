// Reading a tokenizer.json: values that know where in the file they stand, and the readers of its parts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "simdjson.h"
#include "text/detokenizer_chain.h"
#include "text/tokenizer_pipeline.h"
#include "text/tokenizer_table.h"

namespace zaya::text {

// A value of the document, null if absent, with its path for error sentences. The path is a chain of parents and put
// together only when something is wrong: a file has a million values. So a JsonValue must not outlive the one it came
// from.
class JsonValue {
 public:
  static JsonValue document(simdjson::dom::element element) { return {nullptr, {}, 0, element, true}; }

  // The member `key`; null when it is absent or this is no object.
  JsonValue member(std::string_view key) const {
    simdjson::dom::element element;
    const bool present = present_ && element_.at_key(key).get(element) == simdjson::SUCCESS;
    return {this, key, 0, element, present};
  }
  // An element of this array, or a member of this object, while iterating over it.
  JsonValue at(simdjson::dom::element element, size_t index) const { return {this, {}, index, element, true}; }
  JsonValue at(const simdjson::dom::key_value_pair& entry) const { return {this, entry.key, 0, entry.value, true}; }

  bool is_null() const { return !present_ || element_.is_null(); }  // or absent

  template <class T>
  simdjson::error_code get(T& value) const {
    return present_ ? element_.get(value) : simdjson::NO_SUCH_FIELD;
  }

  // malformed unless the value has that type.
  Result<simdjson::dom::array> array() const { return typed<simdjson::dom::array>("an array"); }
  Result<simdjson::dom::object> object() const { return typed<simdjson::dom::object>("an object"); }
  Result<bool> boolean() const { return typed<bool>("true or false"); }
  Result<std::string> string() const;
  Result<bool> boolean_or(bool fallback) const { return is_null() ? Result<bool>(fallback) : boolean(); }
  Result<std::string> string_or(const std::string& fallback) const {
    return is_null() ? Result<std::string>(fallback) : string();
  }

  std::string path() const;                     // "model.merges[7]"
  Status error(const std::string& what) const;  // malformed: "model.merges[7] <what>"
  Status unsupported(const std::string& what, const std::string& hint = {}) const;  // "pre_tokenizer: ByteLevel is …"

 private:
  JsonValue(const JsonValue* parent, std::string_view key, size_t index, simdjson::dom::element element, bool present)
      : parent_(parent), key_(key), index_(index), element_(element), present_(present) {}

  template <class T>
  Result<T> typed(const char* what) const {
    T value;
    if (get(value) != simdjson::SUCCESS) return error(is_null() ? "is missing" : std::string("must be ") + what);
    return value;
  }

  const JsonValue* parent_;  // null for the document
  std::string_view key_;     // null data: an array's element, by index_
  size_t index_;
  simdjson::dom::element element_;
  bool present_;
};

// Special tokens round a text.
struct PostProcessing {
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
};

Result<TokenId> read_token_id(const JsonValue& value);
Result<Normalizer> read_normalizer(const JsonValue& value);
Result<PreTokenizer> read_pre_tokenizer(const JsonValue& value);
Result<DecoderChain> read_decoder(const JsonValue& value);
Result<PostProcessing> read_post_processor(const JsonValue& value);

}  // namespace zaya::text
