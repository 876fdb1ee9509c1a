// Files that cannot be used: each fails with a sentence that names the place.
#include "text/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <iterator>

#include "text/tokenizer.h"

namespace zaya::text {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json base() {
  return json::parse(R"({
    "version": "1.0",
    "added_tokens": [{"id": 0, "content": "<s>", "special": true, "normalized": false}],
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "_"},
    "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
    "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "_"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
    "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
      "vocab": {"<s>": 0, "<unk>": 1, "a": 2, "b": 3, "_": 4, "ab": 5, "aba": 6},
      "merges": [["a", "b"], ["ab", "a"]]}})");
}

Status parse(const json& document) { return Tokenizer::parse(document.dump()).status(); }

// The base document with one place changed.
Status parse_with(const std::string& pointer, const json& value) {
  json document = base();
  document[json::json_pointer(pointer)] = value;
  return parse(document);
}

Status parse_without(const std::string& pointer) {
  json document = base();
  const json::json_pointer where(pointer);
  document[where.parent_pointer()].erase(where.back());
  return parse(document);
}

#define EXPECT_FAILS(expression, expected_code, sentence)          \
  do {                                                             \
    const Status failed = (expression);                            \
    EXPECT_EQ(failed.code(), expected_code) << failed.to_string(); \
    EXPECT_THAT(failed.message(), HasSubstr(sentence));            \
  } while (false)

TEST(TokenizerJson, BaseIsFine) {
  const auto tokenizer = Tokenizer::parse(base().dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  EXPECT_THAT(tokenizer->encode("abaab a<s>", {.add_special_tokens = true}), testing::ElementsAre(0, 6, 5, 4, 2, 0));
  EXPECT_EQ(tokenizer->size(), 7);
}

TEST(TokenizerJson, NotJson) {
  EXPECT_FAILS(Tokenizer::parse("").status(), Code::malformed, "not readable as JSON");
  EXPECT_FAILS(Tokenizer::parse("{").status(), Code::malformed, "not readable as JSON");
  EXPECT_FAILS(Tokenizer::parse("\xFF\xFE").status(), Code::malformed, "not readable as JSON");
  EXPECT_FAILS(Tokenizer::parse("[]").status(), Code::malformed, "the document must be an object");
  EXPECT_FAILS(Tokenizer::parse("3").status(), Code::malformed, "the document must be an object");
  EXPECT_FAILS(Tokenizer::parse("{}").status(), Code::malformed, "model is missing");
}

TEST(TokenizerJson, EveryTruncationFails) {
  const std::string whole = base().dump();
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FAILS(Tokenizer::parse(whole.substr(0, length)).status(), Code::malformed, "not readable as JSON");
  }
}

TEST(TokenizerJson, DeepNesting) {
  EXPECT_FAILS(Tokenizer::parse(std::string(100'000, '[')).status(), Code::malformed, "not readable as JSON");
  json nested = base()["normalizer"];
  for (int i = 0; i < 8; ++i) nested = {{"type", "Sequence"}, {"normalizers", {nested}}};
  EXPECT_TRUE(parse_with("/normalizer", nested).ok());
  nested = {{"type", "Sequence"}, {"normalizers", {nested}}};
  EXPECT_FAILS(parse_with("/normalizer", nested), Code::malformed, "nests more than 8 sequences");
}

TEST(TokenizerJson, Version) {
  EXPECT_TRUE(parse_without("/version").ok());
  EXPECT_FAILS(parse_with("/version", "2.0"), Code::unsupported, "version: 2.0");
  EXPECT_FAILS(parse_with("/version", 1), Code::malformed, "version must be a string");
}

TEST(TokenizerJson, Model) {
  EXPECT_FAILS(parse_without("/model"), Code::malformed, "model is missing");
  EXPECT_FAILS(parse_with("/model", 7), Code::malformed, "model must be an object");
  for (const char* type : {"Unigram", "WordPiece", "WordLevel"}) {
    EXPECT_FAILS(parse_with("/model/type", type), Code::unsupported, std::string("model: ") + type);
  }
  EXPECT_TRUE(parse_without("/model/type").ok());
  EXPECT_FAILS(parse_with("/model/dropout", 0.1), Code::unsupported, "model.dropout");
  EXPECT_FAILS(parse_with("/model/dropout", "much"), Code::malformed, "model.dropout must be a number");
  EXPECT_TRUE(parse_with("/model/dropout", 0).ok());
  EXPECT_FAILS(parse_with("/model/continuing_subword_prefix", "##"), Code::unsupported,
               "model.continuing_subword_prefix: ##");
  EXPECT_FAILS(parse_with("/model/end_of_word_suffix", "</w>"), Code::unsupported, "model.end_of_word_suffix: </w>");
  EXPECT_FAILS(parse_with("/model/fuse_unk", 1), Code::malformed, "model.fuse_unk must be true or false");
  EXPECT_FAILS(parse_with("/model/byte_fallback", "yes"), Code::malformed, "model.byte_fallback must be true or false");
}

TEST(TokenizerJson, Vocabulary) {
  EXPECT_FAILS(parse_without("/model/vocab"), Code::malformed, "model.vocab is missing");
  EXPECT_FAILS(parse_with("/model/vocab", json::array()), Code::malformed, "model.vocab must be an object");
  EXPECT_FAILS(parse_with("/model/vocab/b", "3"), Code::malformed, "model.vocab.b must be a whole number");
  EXPECT_FAILS(parse_with("/model/vocab/b", 3.5), Code::malformed, "model.vocab.b must be a whole number");
  EXPECT_FAILS(parse_with("/model/vocab/b", nullptr), Code::malformed, "model.vocab.b is missing");
  EXPECT_FAILS(parse_with("/model/vocab/b", -1), Code::out_of_range, "model.vocab.b is -1; token ids go from 0");
  EXPECT_FAILS(parse_with("/model/vocab/b", kMaxTokenId + 1), Code::out_of_range, "model.vocab.b is 4194304");
  EXPECT_FAILS(parse_with("/model/vocab/b", uint64_t{1} << 63), Code::malformed,
               "model.vocab.b must be a whole number");
  EXPECT_TRUE(parse_with("/model/vocab/b", kMaxTokenId).ok());
  EXPECT_FAILS(parse_with("/model/vocab/b", 2), Code::malformed, "model.vocab.b has the id 2, which is that of \"a\"");
  std::string twice = base().dump();
  twice.replace(twice.find("\"aba\":6"), 7, "\"aba\":6,\"aba\":7");
  EXPECT_FAILS(Tokenizer::parse(twice).status(), Code::malformed, "model.vocab.aba is listed twice");
}

TEST(TokenizerJson, UnknownToken) {
  EXPECT_FAILS(parse_with("/model/unk_token", "<none>"), Code::malformed,
               "model.unk_token \"<none>\" is not in model.vocab");
  EXPECT_FAILS(parse_with("/model/unk_token", 1), Code::malformed, "model.unk_token must be a string");
  EXPECT_TRUE(parse_with("/model/unk_token", nullptr).ok());
}

TEST(TokenizerJson, Merges) {
  EXPECT_FAILS(parse_without("/model/merges"), Code::malformed, "model.merges is missing");
  EXPECT_FAILS(parse_with("/model/merges", "a b"), Code::malformed, "model.merges must be an array");
  EXPECT_FAILS(parse_with("/model/merges/1", {"x", "a"}), Code::malformed,
               "model.merges[1] names the token \"x\", which is not in model.vocab");
  EXPECT_FAILS(parse_with("/model/merges/1", {"a", "x"}), Code::malformed, "the token \"x\"");
  EXPECT_FAILS(parse_with("/model/merges/1", {"b", "a"}), Code::malformed, "a merge whose result is \"ba\"");
  EXPECT_FAILS(parse_with("/model/merges/1", json::array({"a"})), Code::malformed, "must be a pair of strings");
  EXPECT_FAILS(parse_with("/model/merges/1", {"a", "b", "a"}), Code::malformed, "must be a pair of strings");
  EXPECT_FAILS(parse_with("/model/merges/1", {"a", 3}), Code::malformed, "must be a pair of strings");
  EXPECT_FAILS(parse_with("/model/merges/1", 3), Code::malformed, "must be a string or a pair of strings");
  EXPECT_FAILS(parse_with("/model/merges/1", "ab"), Code::malformed, "must be two tokens with one space between");
  EXPECT_FAILS(parse_with("/model/merges/1", "a b a"), Code::malformed, "must be two tokens with one space between");
  EXPECT_TRUE(parse_with("/model/merges/1", "ab a").ok());
  EXPECT_TRUE(parse_with("/model/merges/0", "#version: 0.2").ok());
}

// A merge makes a longer text of two, so a chain of merges can lead back only through an empty part.
TEST(TokenizerJson, MergeCycle) {
  json document = base();
  document["model"]["vocab"][""] = 7;
  EXPECT_TRUE(parse(document).ok());
  document["model"]["merges"].push_back({"", "a"});
  EXPECT_FAILS(parse(document), Code::malformed, "model.merges[2] has an empty part");
  document["model"]["merges"][2] = "a ";
  EXPECT_FAILS(parse(document), Code::malformed, "model.merges[2] has an empty part");
}

TEST(TokenizerJson, AddedTokens) {
  const auto with = [](const json& token) {
    json document = base();
    document["added_tokens"].push_back(token);
    return parse(document);
  };
  EXPECT_TRUE(parse_without("/added_tokens").ok());
  EXPECT_TRUE(with({{"id", 7}, {"content", "<x>"}}).ok());
  EXPECT_TRUE(with({{"id", 0}, {"content", "<s>"}}).ok());
  EXPECT_TRUE(with({{"id", 9}, {"content", ""}}).ok());
  EXPECT_FAILS(parse_with("/added_tokens", "no"), Code::malformed, "added_tokens must be an array");
  EXPECT_FAILS(with(3), Code::malformed, "added_tokens[1].id is missing");
  EXPECT_FAILS(with({{"content", "<x>"}}), Code::malformed, "added_tokens[1].id is missing");
  EXPECT_FAILS(with({{"id", "7"}, {"content", "<x>"}}), Code::malformed, "added_tokens[1].id must be a whole number");
  EXPECT_FAILS(with({{"id", -7}, {"content", "<x>"}}), Code::out_of_range, "added_tokens[1].id is -7");
  EXPECT_FAILS(with({{"id", 1 << 30}, {"content", "<x>"}}), Code::out_of_range, "added_tokens[1].id is 1073741824");
  EXPECT_FAILS(with({{"id", 7}}), Code::malformed, "added_tokens[1].content is missing");
  EXPECT_FAILS(with({{"id", 7}, {"content", "<x>"}, {"special", "yes"}}), Code::malformed,
               "added_tokens[1].special must be true or false");
  EXPECT_FAILS(with({{"id", 0}, {"content", "<x>"}}), Code::malformed,
               "added token \"<x>\" has the id 0 of added token \"<s>\"");
  EXPECT_FAILS(with({{"id", 9}, {"content", "ab"}}), Code::malformed,
               "added token \"ab\" has the id 9, but model.vocab gives it 5");
  json twice = base();
  twice["added_tokens"].push_back({{"id", 8}, {"content", "<x>"}});
  twice["added_tokens"].push_back({{"id", 9}, {"content", "<x>"}});
  EXPECT_FAILS(parse(twice), Code::malformed, "added token \"<x>\" is listed with the ids 8 and 9");
}

TEST(TokenizerJson, AddedTokensAfterNormalization) {
  json document = base();
  document["added_tokens"].push_back({{"id", 8}, {"content", "x y"}, {"normalized", true}});
  EXPECT_TRUE(parse(document).ok());
  document["added_tokens"].push_back({{"id", 9}, {"content", "x_y"}, {"normalized", true}});
  EXPECT_FAILS(parse(document), Code::malformed, "added token \"x_y\" is another one's text after normalisation");
  document["added_tokens"].erase(2);
  document["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", "x y"}}}, {"content", ""}};
  EXPECT_FAILS(parse(document), Code::malformed, "added token \"x y\" is empty after normalisation");
}

// The ids decide, since checkpoints rename vocabulary rows by way of added tokens.
TEST(TokenizerJson, AddedTokenTakesOverAnId) {
  json document = base();
  document["added_tokens"].push_back({{"id", 5}, {"content", "<x>"}, {"special", true}});
  const auto tokenizer = Tokenizer::parse(document.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  EXPECT_THAT(tokenizer->encode("<x>"), testing::ElementsAre(5));
  EXPECT_EQ(tokenizer->token(5), "<x>");
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{5}), "<x>");
}

TEST(TokenizerJson, UnknownComponents) {
  const json unknown = {{"type", "Mystery"}};
  EXPECT_FAILS(parse_with("/normalizer", unknown), Code::unsupported, "normalizer: Mystery");
  EXPECT_FAILS(parse_with("/pre_tokenizer", unknown), Code::unsupported, "pre_tokenizer: Mystery");
  EXPECT_FAILS(parse_with("/post_processor", unknown), Code::unsupported, "post_processor: Mystery");
  EXPECT_FAILS(parse_with("/decoder", unknown), Code::unsupported, "decoder: Mystery");
  EXPECT_FAILS(parse_with("/decoder/decoders/1", unknown), Code::unsupported, "decoder.decoders[1]: Mystery");
  for (const char* type : {"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "ByteLevel", "Precompiled"}) {
    EXPECT_FAILS(parse_with("/normalizer", {{"type", type}}), Code::unsupported, std::string("normalizer: ") + type);
  }
  for (const char* type : {"ByteLevel", "Whitespace", "BertPreTokenizer", "Digits"}) {
    EXPECT_FAILS(parse_with("/pre_tokenizer", {{"type", type}}), Code::unsupported,
                 std::string("pre_tokenizer: ") + type);
  }
  for (const char* type : {"ByteLevel", "WordPiece", "CTC", "BPEDecoder"}) {
    EXPECT_FAILS(parse_with("/decoder", {{"type", type}}), Code::unsupported, std::string("decoder: ") + type);
  }
  EXPECT_FAILS(parse_with("/post_processor", {{"type", "ByteLevel"}}), Code::unsupported, "post_processor: ByteLevel");
  EXPECT_FAILS(parse_with("/normalizer", "NFC"), Code::malformed, "normalizer must be an object");
  EXPECT_FAILS(parse_without("/normalizer/type"), Code::malformed, "normalizer.type is missing");
}

TEST(TokenizerJson, Patterns) {
  EXPECT_FAILS(parse_with("/normalizer/pattern", {{"Regex", "\\s+"}}), Code::unsupported, "normalizer.pattern: Regex");
  EXPECT_FAILS(parse_with("/pre_tokenizer/pattern", {{"Regex", "\\s+"}}), Code::unsupported,
               "pre_tokenizer.pattern: Regex");
  EXPECT_FAILS(parse_with("/normalizer/pattern", {{"String", ""}}), Code::malformed,
               "normalizer.pattern.String must not be empty");
  EXPECT_FAILS(parse_with("/pre_tokenizer/pattern/String", ""), Code::malformed, "must not be empty");
  EXPECT_FAILS(parse_with("/decoder/decoders/0/pattern/String", ""), Code::malformed, "must not be empty");
  EXPECT_FAILS(parse_without("/normalizer/pattern"), Code::malformed, "normalizer.pattern.String is missing");
  EXPECT_FAILS(parse_without("/normalizer/content"), Code::malformed, "normalizer.content is missing");
  EXPECT_FAILS(parse_with("/pre_tokenizer/behavior", "Shredded"), Code::unsupported,
               "pre_tokenizer.behavior: Shredded");
  EXPECT_FAILS(parse_without("/pre_tokenizer/behavior"), Code::malformed, "pre_tokenizer.behavior is missing");
}

// A short file must not be able to turn a short text into gigabytes.
TEST(TokenizerJson, GrowthIsBounded) {
  const auto replace = [](const std::string& content) {
    return json{{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", content}};
  };
  EXPECT_TRUE(parse_with("/normalizer", replace(std::string(64, 'a'))).ok());
  EXPECT_FAILS(parse_with("/normalizer", replace(std::string(65, 'a'))), Code::out_of_range, "65 times longer");
  json doubling = {{"type", "Sequence"}, {"normalizers", json::array()}};
  for (int i = 0; i < 7; ++i) doubling["normalizers"].push_back(replace("aa"));
  EXPECT_FAILS(parse_with("/normalizer", doubling), Code::out_of_range,
               "normalizer.normalizers[6] can make a text 128");
  EXPECT_FAILS(parse_with("/normalizer", {{"type", "Prepend"}, {"prepend", std::string(100, 'a')}}), Code::out_of_range,
               "101 times longer");
  EXPECT_FAILS(parse_with("/decoder", replace(std::string(1000, 'a'))), Code::out_of_range, "1000 times longer");
  json many = {{"type", "Sequence"}, {"normalizers", json::array()}};
  for (int i = 0; i < 33; ++i) many["normalizers"].push_back(replace("b"));
  EXPECT_FAILS(parse_with("/normalizer", many), Code::malformed, "one of more than 32 steps");
}

TEST(TokenizerJson, Metaspace) {
  const json metaspace = {{"type", "Metaspace"}, {"replacement", "_"}};
  const auto with = [&](const std::string& key, const json& value) {
    json changed = metaspace;
    changed[key] = value;
    return parse_with("/pre_tokenizer", changed);
  };
  EXPECT_TRUE(parse_with("/pre_tokenizer", metaspace).ok());
  EXPECT_TRUE(with("add_prefix_space", false).ok());
  EXPECT_FAILS(with("replacement", "__"), Code::malformed, "pre_tokenizer.replacement must be one character");
  EXPECT_FAILS(with("replacement", ""), Code::malformed, "pre_tokenizer.replacement must be one character");
  EXPECT_FAILS(with("prepend_scheme", "last"), Code::unsupported, "pre_tokenizer.prepend_scheme: last");
  json contradictory = metaspace;
  contradictory["prepend_scheme"] = "always";
  contradictory["add_prefix_space"] = false;
  EXPECT_FAILS(parse_with("/pre_tokenizer", contradictory), Code::malformed, "contradicts its add_prefix_space");
}

TEST(TokenizerJson, Decoders) {
  const auto with = [](const json& decoders) {
    return parse_with("/decoder", {{"type", "Sequence"}, {"decoders", decoders}});
  };
  EXPECT_TRUE(with(json::array()).ok());
  EXPECT_FAILS(with({{{"type", "Fuse"}}, {{"type", "ByteFallback"}}}), Code::unsupported,
               "decoder.decoders[1]: ByteFallback after Fuse");
  EXPECT_FAILS(with({{{"type", "Strip"}, {"content", "ab"}, {"start", 1}, {"stop", 0}}}), Code::malformed,
               "decoder.decoders[0].content must be one character");
  EXPECT_FAILS(with({{{"type", "Strip"}, {"content", "a"}, {"start", -1}, {"stop", 0}}}), Code::malformed,
               "decoder.decoders[0].start must be a whole number");
  EXPECT_FAILS(with({{{"type", "Strip"}, {"content", "a"}, {"start", 1}}}), Code::malformed,
               "decoder.decoders[0].stop must be a whole number");
  EXPECT_FAILS(parse_without("/decoder/decoders"), Code::malformed, "decoder.decoders is missing");
}

TEST(TokenizerJson, PostProcessor) {
  EXPECT_TRUE(parse_without("/post_processor").ok());
  EXPECT_FAILS(parse_without("/post_processor/single"), Code::malformed, "post_processor.single is missing");
  EXPECT_FAILS(parse_with("/post_processor/single/0/SpecialToken/id", "<x>"), Code::malformed,
               "post_processor.single[0].SpecialToken.id names \"<x>\", which is not in special_tokens");
  EXPECT_FAILS(parse_with("/post_processor/single/1/Sequence/id", "B"), Code::malformed,
               "must be the one place of sequence A");
  EXPECT_FAILS(parse_with("/post_processor/single/2", base()["post_processor"]["single"][1]), Code::malformed,
               "must be the one place of sequence A");
  EXPECT_FAILS(parse_with("/post_processor/single/1", json::object()), Code::malformed,
               "post_processor.single[1] must be a Sequence or a SpecialToken");
  EXPECT_FAILS(parse_without("/post_processor/single/1/Sequence"), Code::malformed,
               "must be a Sequence or a SpecialToken");
  EXPECT_FAILS(parse_with("/post_processor/single", json::array()), Code::malformed, "has no place for the text");
  EXPECT_FAILS(parse_with("/post_processor/special_tokens/<s>/ids/0", -1), Code::out_of_range,
               "post_processor.special_tokens.<s>.ids[0] is -1");
  EXPECT_FAILS(parse_with("/post_processor/special_tokens/<s>/ids", std::vector<int>(40, 0)), Code::malformed,
               "adds more than 32 tokens");
  EXPECT_FAILS(parse_with("/post_processor/special_tokens/<s>/ids/0", 100), Code::malformed,
               "post_processor adds the id 100, which no token has");
  const json one = base()["post_processor"];
  EXPECT_TRUE(parse_with("/post_processor", {{"type", "Sequence"}, {"processors", {one}}}).ok());
  EXPECT_FAILS(parse_with("/post_processor", {{"type", "Sequence"}, {"processors", {one, one}}}), Code::unsupported,
               "post_processor.processors[1]: a second TemplateProcessing");
}

}  // namespace
}  // namespace zaya::text
