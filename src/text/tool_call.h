// Finds the model's tool calls in its streamed answer and turns them into JSON arguments while they come.
//
// The form that ZAYA1's chat template teaches:
//   <zyphra_tool_call><function=NAME><parameter=P>
//   value
//   </parameter>…</function></zyphra_tool_call>
// White space between the tags does not matter; one line break after <parameter=P> and one before </parameter> belong
// to the form, everything else is the value. A value is text; what JSON it means is said by the tool's parameter
// schema.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "nlohmann/json.hpp"

namespace zaya::text {

// The types that a JSON schema allows for a value, as far as they decide how a text is read.
struct ValueTypes {
  bool string = true, number = true, integer = true, boolean = true, null = true, object = true, array = true;

  bool only_string() const { return string && !number && !integer && !boolean && !null && !object && !array; }

  // From "type" (a name or a list), "anyOf"/"oneOf"/"allOf", "enum" and "const"; anything else leaves all types open.
  static ValueTypes of(const nlohmann::ordered_json& schema, int depth = 8);
};

// The JSON text of a value: what its types allow, else a string. With "integer" 5.0 is 5; True, False and None are
// read as their writer meant them; where a string is allowed beside other types, text that is JSON of another
// allowed type is that.
std::string typed_json(std::string_view value, const ValueTypes& types);

// A JSON string with its quotes; invalid UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text);

class ToolCallParser {
 public:
  // `tools`: an array of {"type": "function", "function": {"name", "parameters"}} as the chat API has it; parameters of
  // tools that it does not name are of any type.
  explicit ToolCallParser(const nlohmann::ordered_json& tools);

  struct Piece {
    enum class Kind { content, call, arguments } kind;
    // content: text of the answer. call: the function's name; arguments follow. arguments: a piece of the call's JSON
    // arguments; all pieces of a complete call make one JSON object.
    std::string text;
  };

  // Pieces in order. White space between answer and calls is dropped.
  std::vector<Piece> push(std::string_view chunk);
  // What was held back. With `complete`, a call that was left open is closed so that its arguments are JSON; without
  // (the answer was cut off) they stay as far as they came. Nothing may be pushed after it.
  std::vector<Piece> finish(bool complete);

  int calls() const { return calls_; }  // begun so far

 private:
  enum class State {
    content,         // the answer's text
    in_call,         // behind <zyphra_tool_call>: a function must come, else it was text after all
    function_name,   // behind "<function=", up to '>'
    in_function,     // between parameters
    parameter_name,  // behind "<parameter=", up to '>'
    value_start,     // behind <parameter=P>: one line break is the form's
    value,           // up to </parameter>
    after_function,  // up to </zyphra_tool_call>
  };

  bool step(bool at_end, std::vector<Piece>& pieces);
  void emit(std::vector<Piece>& pieces, Piece::Kind kind, std::string_view text);
  void begin_value(std::vector<Piece>& pieces);
  void end_value(std::vector<Piece>& pieces);
  void end_function(std::vector<Piece>& pieces);

  nlohmann::ordered_json tools_;
  State state_ = State::content;
  std::string held_;                                    // not settled yet
  std::string space_;                                   // of the answer: dropped if a call follows
  const nlohmann::ordered_json* properties_ = nullptr;  // of the function being called; may be null
  std::set<std::string> seen_;                          // parameters of this call
  std::string value_;                                   // of a parameter that has to be complete to be read
  ValueTypes types_;
  bool streaming_ = false;  // the value is a string and goes out as it comes
  bool skipping_ = false;   // a second value of one parameter: the first stands
  bool open_ = false;       // the arguments' brace is still open
  int calls_ = 0;
};

}  // namespace zaya::text
