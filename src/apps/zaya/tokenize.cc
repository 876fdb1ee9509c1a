// zaya tokenize: text to ids and back; plumbing with JSON on stdout.
#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>

#include "apps/zaya/common.h"
#include "apps/zaya/verbs.h"
#include "text/tokenizer.h"

namespace zaya::app {
namespace {

struct Options {
  std::string model, prompt;
  bool decode = false, jsonl = false, special = false, skip_special = false;
};

// MODEL may also be a tokenizer.json itself.
Result<text::Tokenizer> load_tokenizer(const std::string& given) {
  ZAYA_ASSIGN(const std::filesystem::path path, model_directory(given));
  return text::Tokenizer::load(std::filesystem::is_directory(path) ? path / "tokenizer.json" : path);
}

Result<std::string> from_hex(const std::string& hex) {
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    const int high = digit(hex[i]), low = digit(hex[i + 1]);
    if (high < 0 || low < 0) return Status(Code::invalid_argument, "\"bytes\" must hold lower-case hexadecimal digits");
    bytes += static_cast<char>(high * 16 + low);
  }
  if (hex.size() % 2 != 0) return Status(Code::invalid_argument, "\"bytes\" must hold pairs of digits");
  return bytes;
}

Result<std::vector<text::TokenId>> ids_of(const text::Json& json) {
  std::vector<text::TokenId> ids;
  if (!json.is_array()) return Status(Code::invalid_argument, "expected an array of token ids, like [2, 5, 9]");
  for (const text::Json& id : json) {
    if (!id.is_number_integer() || id < 0 || id > text::kMaxTokenId) {
      return Status(Code::invalid_argument, fmt::format("{} is no token id", json_text(id)));
    }
    ids.push_back(id.get<text::TokenId>());
  }
  return ids;
}

// One line of --jsonl: a JSON string, or {"bytes": "<hex>"} for text that is no UTF-8; with --decode an array of ids.
Result<text::Json> convert_line(const text::Tokenizer& tokenizer, const Options& options, const std::string& line) {
  const text::Json json = text::Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (options.decode) {
    ZAYA_ASSIGN(const std::vector<text::TokenId> ids, ids_of(json));
    return text::Json(tokenizer.decode(ids, options.skip_special));
  }
  std::string text;
  if (json.is_string()) {
    text = json.get<std::string>();
  } else if (json.is_object() && json.contains("bytes") && json["bytes"].is_string()) {
    ZAYA_ASSIGN(text, from_hex(json["bytes"].get<std::string>()));
  } else {
    return Status(Code::invalid_argument, "expected a JSON string or {\"bytes\": \"<hex>\"} on each line");
  }
  return text::Json(tokenizer.encode(text, {.add_special_tokens = options.special}));
}

Status run(const Options& options) {
  ZAYA_ASSIGN(const text::Tokenizer tokenizer, load_tokenizer(options.model));
  if (options.jsonl) {
    for (std::string line; std::getline(std::cin, line);) {
      ZAYA_ASSIGN(const text::Json result, convert_line(tokenizer, options, line));
      fmt::print("{}\n", json_text(result));
      std::fflush(stdout);  // the program at the other end of the pipe may wait for it before it asks again
    }
    return Status();
  }
  std::string input = options.prompt;
  if (input.empty()) input.assign(std::istreambuf_iterator<char>(std::cin), {});
  if (options.decode) {
    ZAYA_ASSIGN(const std::vector<text::TokenId> ids, ids_of(text::Json::parse(input, nullptr, false)));
    fmt::print("{}\n", json_text({{"text", tokenizer.decode(ids, options.skip_special)}}));
    return Status();
  }
  text::Json tokens = text::Json::array();
  const std::vector<text::TokenId> ids = tokenizer.encode(input, {.add_special_tokens = options.special});
  for (text::TokenId id : ids) tokens.push_back(std::string(tokenizer.token(id)));
  fmt::print("{}\n", json_text({{"ids", ids}, {"tokens", tokens}}));
  return Status();
}

}  // namespace

Action add_tokenize(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  verb.add_option("MODEL", options->model, "Model directory or tokenizer.json");
  verb.add_option("-p,--prompt", options->prompt,
                  "The text, or with --decode the ids as [2, 5, 9] (default: standard input)");
  verb.add_flag("--decode", options->decode, "Turn ids into text");
  verb.add_flag("--special", options->special, "Add the special tokens of the tokenizer's post-processor");
  verb.add_flag("--skip-special", options->skip_special, "With --decode: leave special tokens out");
  verb.add_flag("--jsonl", options->jsonl, "One JSON value per line in, one per line out");
  return [options] {
    const Status status = run(*options);
    return status.ok() ? kFine : fail(status);
  };
}

}  // namespace zaya::app
