#include "text/tool_call.h"

#include <gmock/gmock.h>

#include <utility>

namespace zaya::text {
namespace {

using Json = nlohmann::ordered_json;
using Kind = ToolCallParser::Piece::Kind;

const Json kTools = Json::parse(R"([{"type": "function", "function": {"name": "weather", "parameters": {
  "type": "object", "properties": {
    "city": {"type": "string"}, "days": {"type": "integer"}, "celsius": {"type": "boolean"},
    "limits": {"type": "object"}, "scale": {"type": "number"}, "note": {"type": ["string", "null"]},
    "tags": {"anyOf": [{"type": "array"}, {"type": "null"}]}, "unit": {"enum": ["C", "F", 3]}}}}}])");

struct Answer {
  std::string content;
  std::vector<std::pair<std::string, std::string>> calls;  // name, arguments
};

// The whole answer, from chunks of `size` bytes.
Answer parse(const std::string& text, size_t size, bool complete = true) {
  ToolCallParser parser(kTools);
  Answer answer;
  const auto take = [&](const std::vector<ToolCallParser::Piece>& pieces) {
    for (const auto& piece : pieces) {
      if (piece.kind == Kind::content) answer.content += piece.text;
      if (piece.kind == Kind::call) answer.calls.emplace_back(piece.text, "");
      if (piece.kind == Kind::arguments) answer.calls.back().second += piece.text;
    }
  };
  for (size_t i = 0; i < text.size(); i += size) take(parser.push(std::string_view(text).substr(i, size)));
  take(parser.finish(complete));
  EXPECT_EQ(static_cast<size_t>(parser.calls()), answer.calls.size());
  return answer;
}

std::string call(const std::string& parameters, const std::string& name = "weather") {
  return "<zyphra_tool_call><function=" + name + ">" + parameters + "</function></zyphra_tool_call>";
}
std::string parameter(const std::string& name, const std::string& value) {
  return "<parameter=" + name + ">\n" + value + "\n</parameter>";
}

// Whatever the chunks: the same answer.
class Chunked : public testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(Sizes, Chunked, testing::Values(1, 2, 3, 7, 1000));

TEST_P(Chunked, ArgumentsAreTypedByTheSchema) {
  const Answer answer =
      parse("Let me look.\n" + call(parameter("city", "Zürich \"old\"\ntown\\") + parameter("days", "3") + "\n" +
                                    parameter("celsius", "True") + parameter("limits", "{\"low\": [1, 2.50]}") +
                                    parameter("scale", "1e-3") + parameter("note", "null") +
                                    parameter("tags", "[\"a\"]") + parameter("unit", "3")),
            GetParam());
  EXPECT_EQ(answer.content, "Let me look.");
  ASSERT_EQ(answer.calls.size(), 1u);
  EXPECT_EQ(answer.calls[0].first, "weather");
  EXPECT_EQ(answer.calls[0].second,
            R"({"city": "Zürich \"old\"\ntown\\", "days": 3, "celsius": true, "limits": {"low": [1, 2.50]}, )"
            R"("scale": 1e-3, "note": null, "tags": ["a"], "unit": 3})");
  EXPECT_TRUE(Json::accept(answer.calls[0].second));
}

TEST_P(Chunked, SeveralCallsAndTheTextAroundThem) {
  const Answer answer =
      parse(call(parameter("city", "A")) + "\n" + call("") + "\n\n" + call("", "other") + "\nDone. ", GetParam());
  ASSERT_EQ(answer.calls.size(), 3u);
  EXPECT_EQ(answer.calls[0].second, R"({"city": "A"})");
  EXPECT_EQ(answer.calls[1].second, "{}");
  EXPECT_EQ(answer.calls[2].first, "other");
  EXPECT_EQ(answer.content, "\nDone.");
}

TEST_P(Chunked, TextThatOnlyLooksLikeACallIsText) {
  for (const std::string text : {"a < b <zyphra_tool", "<zyphra_tool_call> is the tag.  ", "<function=f>", "x\n\n"}) {
    const Answer answer = parse(text, GetParam());
    EXPECT_TRUE(answer.calls.empty());
    EXPECT_EQ(answer.content, text);
  }
}

TEST_P(Chunked, OnlyTheFormsOwnLineBreaksAreDropped) {
  const Answer answer =
      parse(call(parameter("city", "\n a\r\n\n </par </parameter") + "<parameter=free>x</parameter>"), GetParam());
  ASSERT_EQ(answer.calls.size(), 1u);
  EXPECT_EQ(Json::parse(answer.calls[0].second),
            Json::parse(R"({"city": "\n a\r\n\n </par </parameter", "free": "x"})"));
}

TEST_P(Chunked, AnAnswerThatBreaksOff) {
  const std::string text = "<zyphra_tool_call>\n<function=weather>\n<parameter=city>\nBer";
  EXPECT_EQ(parse(text, GetParam(), true).calls[0].second, R"({"city": "Ber"})");
  EXPECT_EQ(parse(text, GetParam(), false).calls[0].second, R"({"city": "Ber)");
  EXPECT_EQ(parse("<zyphra_tool_call><function=weather><parameter=da", GetParam()).calls[0].second, "{}");
  EXPECT_EQ(parse("<zyphra_tool_call><function=weather><parameter=city>", GetParam()).calls[0].second,
            R"({"city": ""})");
  EXPECT_EQ(parse("<zyphra_tool_call><function=weather></zyphra_tool_call>ok", GetParam()).content, "ok");
}

TEST_P(Chunked, ASecondValueOfOneParameterIsLeftOut) {
  const Answer answer =
      parse(call(parameter("city", "A") + " stray < " + parameter("city", "B") + parameter("days", "x")), GetParam());
  EXPECT_EQ(answer.calls[0].second, R"({"city": "A", "days": "x"})");
}

TEST(ToolCall, StringsStreamBeforeTheirEnd) {
  ToolCallParser parser(kTools);
  std::string arguments;
  for (const auto& piece : parser.push("<zyphra_tool_call><function=weather><parameter=city>\nNew Yo")) {
    if (piece.kind == Kind::arguments) arguments += piece.text;
  }
  EXPECT_EQ(arguments, R"({"city": "New Yo)");
}

TEST(ToolCall, ValuesAndTypes) {
  const auto typed = [](std::string_view value, const char* schema) {
    return typed_json(value, ValueTypes::of(Json::parse(schema)));
  };
  EXPECT_EQ(typed("5.0", R"({"type": "integer"})"), "5");
  EXPECT_EQ(typed("5.5", R"({"type": "integer"})"), "\"5.5\"");
  EXPECT_EQ(typed("12345678901234567890123", R"({"type": "integer"})"), "12345678901234567890123");
  EXPECT_EQ(typed("7", R"({"type": "number"})"), "7");
  EXPECT_EQ(typed("007", R"({"type": "string"})"), "\"007\"");
  EXPECT_EQ(typed("007", R"({})"), "\"007\"");  // no JSON
  EXPECT_EQ(typed(" 7 ", R"({})"), "7");
  EXPECT_EQ(typed("None", R"({"anyOf": [{"type": "integer"}, {"type": "null"}]})"), "null");
  EXPECT_EQ(typed("None", R"({"type": "string"})"), "\"None\"");
  EXPECT_EQ(typed("true", R"({"enum": ["true", "false"]})"), "\"true\"");
  EXPECT_EQ(typed("\"x\"", R"({"type": ["string", "integer"]})"), R"("\"x\"")");
  EXPECT_EQ(typed(std::string(100'000, '['), R"({"type": "array"})").size(), 100'002u);
  EXPECT_EQ(typed("a\xFF", R"({"type": "string"})"), "\"a\xEF\xBF\xBD\"");
}

}  // namespace
}  // namespace zaya::text
