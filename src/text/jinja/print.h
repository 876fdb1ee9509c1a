// Values as Python prints them.
#pragma once

#include <string>

#include "text/jinja/value.h"

namespace zaya::text::jinja {

// str(value)
std::string to_text(const Value& value);
// The same as a string value; a string is itself.
Value to_string_value(const Value& value);
// repr(value)
std::string repr(const Value& value);
std::string repr_text(std::string_view text);

// json.dumps as transformers' tojson calls it. Missing or none: the default.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool pretty = false;  // one item a line, indented by `indent`
  std::string indent;
  std::string item_separator = ", ", key_separator = ": ";
};
std::string to_json(const Value& value, const JsonStyle& style);

}  // namespace zaya::text::jinja
