// A tool schema, chunk sizes and an answer: the pieces do not depend on the chunks, and a call's arguments are JSON.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "text/tool_call.h"

namespace {

using zaya::text::ToolCallParser;
using Json = nlohmann::ordered_json;

struct Answer {
  std::string content;
  std::vector<std::pair<std::string, std::string>> calls;
  bool operator==(const Answer&) const = default;
};

Answer parse(const Json& tools, std::string_view text, size_t chunk) {
  ToolCallParser parser(tools);
  Answer answer;
  const auto take = [&](const std::vector<ToolCallParser::Piece>& pieces) {
    for (const auto& piece : pieces) {
      if (piece.kind == ToolCallParser::Piece::Kind::content) answer.content += piece.text;
      if (piece.kind == ToolCallParser::Piece::Kind::call) answer.calls.emplace_back(piece.text, "");
      if (piece.kind == ToolCallParser::Piece::Kind::arguments) {
        if (answer.calls.empty()) std::abort();
        answer.calls.back().second += piece.text;
      }
    }
  };
  for (size_t i = 0; i < text.size(); i += chunk) take(parser.push(text.substr(i, chunk)));
  take(parser.finish(true));
  return answer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Json kTools = Json::parse(R"([{"function": {"name": "f", "parameters": {"properties": {
    "s": {"type": "string"}, "i": {"type": "integer"}, "b": {"type": ["boolean", "null"]}, "o": {"type": "object"}}}}}])");
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Answer whole = parse(kTools, text, text.size() + 1);
  for (const auto& [name, arguments] : whole.calls) {
    const Json json = Json::parse(arguments, nullptr, false);
    if (!json.is_object()) std::abort();
  }
  if (!(parse(kTools, text, 1 + data[0] % 8) == whole)) std::abort();
  return 0;
}
