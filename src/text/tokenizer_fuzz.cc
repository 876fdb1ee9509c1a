// Input: a tokenizer.json, a zero byte, then bytes to encode, decode and split. With nothing before the zero byte a
// built-in tokenizer is used, so that both halves get their share of the search.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "text/detokenizer.h"
#include "text/reasoning_parser.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using zaya::text::Detokenizer;
using zaya::text::ReasoningParser;
using zaya::text::TokenId;
using zaya::text::Tokenizer;

constexpr std::string_view kBuiltIn = R"({
  "added_tokens": [
    {"id": 0, "content": "<s>", "special": true}, {"id": 20, "content": "aa", "normalized": true},
    {"id": 21, "content": "\n\n", "lstrip": true, "rstrip": true}, {"id": 22, "content": "b a", "normalized": true},
    {"id": 5, "content": "ab", "single_word": true, "normalized": false}],
  "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "_"},
  "pre_tokenizer": {"type": "Split", "pattern": {"String": "c"}, "behavior": "MergedWithPrevious", "invert": false},
  "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "_"}, "content": " "},
    {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 2},
    {"type": "Replace", "pattern": {"String": "aab"}, "content": "\u00e9"}]},
  "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "fuse_unk": true,
    "vocab": {"<s>": 0, "<unk>": 1, "a": 2, "b": 3, "_": 4, "ab": 5, "ba": 6, "aba": 7, "abab": 8, "\u00e9": 9,
      "a\u00e9": 10, "<0xF0>": 11, "<0x9F>": 12, "<0x98>": 13, "<0x80>": 14, "<0xE2>": 15, "_a": 16},
    "merges": [["ab", "a"], ["b", "a"], ["a", "b"], ["aba", "b"], ["a", "\u00e9"], ["ab", "ab"], ["_", "a"]]}})";

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

void check_decoding(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  for (const bool skip_special : {false, true}) {
    const std::string whole = tokenizer.decode(ids, skip_special);
    require(zaya::text::is_valid_utf8(whole), "decoded text is UTF-8");
    Detokenizer detokenizer(tokenizer, skip_special);
    std::string streamed;
    for (const TokenId id : ids) {
      const std::string piece = detokenizer.push(id);
      require(zaya::text::is_valid_utf8(piece), "each streamed piece is UTF-8");
      streamed += piece;
    }
    require(streamed + detokenizer.finish() == whole, "streamed text is the whole text");
  }
}

void check_reasoning(std::string_view text, bool starts_inside) {
  std::string expected[2];
  ReasoningParser whole("ab", "</", starts_inside);
  for (const auto& piece : whole.push(text)) expected[piece.reasoning] += piece.text;
  for (const auto& piece : whole.finish()) expected[piece.reasoning] += piece.text;
  std::string split[2];
  ReasoningParser parser("ab", "</", starts_inside);
  for (const char c : text) {
    for (const auto& piece : parser.push({&c, 1})) split[piece.reasoning] += piece.text;
  }
  for (const auto& piece : parser.finish()) split[piece.reasoning] += piece.text;
  require(split[0] == expected[0] && split[1] == expected[1], "reasoning does not depend on the cuts");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  const std::string_view json = input.substr(0, zero);
  const std::string_view text = zero == std::string_view::npos ? json : input.substr(zero + 1);

  static const auto built_in = Tokenizer::parse(kBuiltIn);
  const auto parsed = json.empty() ? built_in : Tokenizer::parse(json);
  if (!parsed.ok()) {
    require(!parsed.status().message().empty(), "a failure says why");
    require(!json.empty(), parsed.status().message().c_str());
    return 0;
  }
  const Tokenizer& tokenizer = *parsed;
  for (const bool parse_special : {true, false}) {
    const std::vector<TokenId> ids =
        tokenizer.encode(text, {.add_special_tokens = true, .parse_special = parse_special});
    check_decoding(tokenizer, ids);
    const std::vector<TokenId> bare = tokenizer.encode(text, {.parse_special = parse_special});
    require(bare.size() <= ids.size(), "special tokens are added only");
    for (const TokenId id : ids) require(id >= 0 && id < tokenizer.size(), "ids are in range");
  }
  require(tokenizer.encode(zaya::text::replace_invalid_utf8(text)) == tokenizer.encode(text), "repair comes first");

  // The bytes as ids, two each, some of them out of range.
  std::vector<TokenId> ids;
  for (size_t i = 0; i + 1 < text.size() && tokenizer.size() > 0; i += 2) {
    const int pair = static_cast<unsigned char>(text[i]) << 8 | static_cast<unsigned char>(text[i + 1]);
    ids.push_back(pair % (tokenizer.size() + 2) - 1);
  }
  check_decoding(tokenizer, ids);
  check_reasoning(text, size % 2 == 0);
  return 0;
}
