// The tokenizer: text to token ids and back, from a Hugging Face tokenizer.json of the family that Gemma 3 and ZAYA1
// use. The rules are those of the `tokenizers` library, so that ids are the ones the model was trained on.
//
// What a file may hold (anything else is refused with Code::unsupported and the component's name):
//   model           BPE with byte_fallback, fuse_unk, unk_token, ignore_merges; merges as "a b" or ["a", "b"]
//   normalizer      null, Replace (string pattern), Prepend, Sequence
//   pre_tokenizer   null, Split (string pattern, every behaviour, invert), Metaspace, Sequence
//   post_processor  null, TemplateProcessing, Sequence
//   decoder         null, Replace (string pattern), ByteFallback, Fuse, Strip, Metaspace, Sequence
// `truncation` and `padding` are ignored: they are wishes about a batch, not about what a text's tokens are.
//
// A pipeline like Gemma's makes one BPE word of a whole text, so merging is O(n log n) in its length.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace zaya::text {

using TokenId = int32_t;

// Greatest id a file may use. The largest vocabularies have 262,147 ids; the limit bounds what an absurd file
// allocates.
inline constexpr TokenId kMaxTokenId = (TokenId{1} << 22) - 1;

struct EncodeOptions {
  // Run the file's post-processor. ZAYA1's puts <bos> before AND <|im_end|> after: right for a bare text to score,
  // wrong for a rendered chat prompt, after which the model would have nothing left to say.
  bool add_special_tokens = false;
  // Added tokens inside the text become their ids. False treats all text as plain, so that nothing in it can pass for
  // a turn's end or a tag; that includes the added tokens that are not marked special, since files differ in
  // which of their tags they mark. (tokenizers' `encode_special_tokens` would still match those.)
  bool parse_special = true;
};

struct TokenizerData;

// Immutable once made: any number of threads may use one at once. Copies share the tables.
class Tokenizer {
 public:
  // Errors name the offending key: not_found / io_error (the file), malformed, unsupported, out_of_range.
  static Result<Tokenizer> load(const std::filesystem::path& tokenizer_json);
  static Result<Tokenizer> parse(std::string_view json);

  // `text` need not be valid UTF-8: each maximal ill-formed part counts as U+FFFD, as in Python's
  // bytes.decode("utf-8", "replace").
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // Ids that do not exist are left out, and so, with `skip_special`, are special tokens save those in `keep`.
  // The result is always valid UTF-8: bytes that byte tokens fail to complete are U+FFFD, one per byte token.
  std::string decode(std::span<const TokenId> ids, bool skip_special = false, std::span<const TokenId> keep = {}) const;

  // The id of a token by its exact text (an added token, else an entry of the vocabulary, with "▁" for spaces).
  std::optional<TokenId> id_of(std::string_view token) const;
  // The token's text as the file gives it; empty for ids that do not exist. Valid as long as any copy of this lives.
  std::string_view token(TokenId id) const;
  bool is_special(TokenId id) const;
  // Greatest id + 1. Not every id below need exist.
  int32_t size() const;

 private:
  friend class Detokenizer;
  explicit Tokenizer(std::shared_ptr<const TokenizerData> data) : data_(std::move(data)) {}
  std::shared_ptr<const TokenizerData> data_;
};

}  // namespace zaya::text
