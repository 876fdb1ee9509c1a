#include "text/jinja/filters.h"

#include <cmath>
#include <unordered_map>

#include "text/jinja/attributes.h"
#include "text/jinja/error.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/meter.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/sequence_filters.h"
#include "text/jinja/text.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

bool given(const Value& value) { return !value.is_missing() && !value.is_none(); }

// The input of a text filter: markup stays markup, everything else is printed.
Value text_input(const Value& input) { return to_string_value(input); }

// A filter that is a method of str.
template <const char* kMethod>
Value by_method(Interpreter& interpreter, const Value& input, Arguments& arguments) {
  bind(kMethod, arguments, {}, 0);
  Arguments none;
  return find_string_method(kMethod)->method(interpreter, text_input(input), none);
}
constexpr char kUpper[] = "upper";
constexpr char kLower[] = "lower";
constexpr char kCapitalize[] = "capitalize";

Value filter_abs(Interpreter&, const Value& input, Arguments& arguments) {
  bind("abs", arguments, {}, 0);
  require_defined(input);
  if (input.is(Kind::floating)) return Value::floating(std::fabs(input.as_double()));
  if (!input.is_integral()) fail("bad operand type for abs(): '" + std::string(type_name(input)) + "'");
  return input.as_integer() < 0 ? apply(Unary::Operator::negative, input) : Value::integer(input.as_integer());
}

Value filter_attr(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("attr", arguments, {"name"}, 1);
  if (!bound[0].is_string()) fail("attribute name must be string");
  // Attributes only, never items.
  if (input.is(Kind::dict) && !find_container_method(input, bound[0].text())) {
    return Value::undefined("'dict object' has no attribute '" + bound[0].text() + "'");
  }
  return get_attribute(input, bound[0].text());
}

Value filter_center(Interpreter& interpreter, const Value& input, Arguments& arguments) {
  const auto bound = bind("center", arguments, {"width"}, 0);
  Arguments width{{bound[0].is_missing() ? Value::integer(80) : bound[0]}, {}};
  return find_string_method("center")->method(interpreter, text_input(input), width);
}

Value filter_default(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("default", arguments, {"default_value", "boolean"}, 0);
  if (!input.is_undefined() && !(truthy(bound[1]) && !truthy(input))) return input;
  return bound[0].is_missing() ? Value::string("") : bound[0];
}

Value filter_escape(Interpreter&, const Value& input, Arguments& arguments) {
  bind("escape", arguments, {}, 0);
  return escape(input);
}

Value filter_forceescape(Interpreter&, const Value& input, Arguments& arguments) {
  bind("forceescape", arguments, {}, 0);
  return Value::string(escape(to_text(input)), true);
}

Value filter_float(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("float", arguments, {"default"}, 0);
  require_defined(input);
  if (input.is_number()) return Value::floating(input.as_double());
  if (input.is_string()) {
    spend_text(input.text().size());
    if (const auto number = parse_float(input.text())) return Value::floating(*number);
  }
  return bound[0].is_missing() ? Value::floating(0) : bound[0];
}

std::optional<int64_t> float_to_integer(double d) {
  if (!std::isfinite(d)) return std::nullopt;
  if (d >= 0x1p63 || d < -0x1p63) fail_unsupported("an integer of more than 64 bits");
  return static_cast<int64_t>(d);
}

Value filter_int(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("int", arguments, {"default", "base"}, 0);
  require_defined(input);
  std::optional<int64_t> number;
  if (input.is_integral()) {
    number = input.as_integer();
  } else if (input.is(Kind::floating)) {
    if (std::isinf(input.as_double())) fail("cannot convert float infinity to integer");
    number = float_to_integer(input.as_double());
  } else if (input.is_string()) {
    spend_text(input.text().size());
    const Value base = bound[1].is_missing() ? Value::integer(10) : bound[1];
    if (base.is_integral()) number = parse_integer(input.text(), base.as_integer());
    if (!number) {  // "42.9" is 42
      if (const auto d = parse_float(input.text())) number = float_to_integer(*d);
    }
  }
  if (number) return Value::integer(*number);
  return bound[0].is_missing() ? Value::integer(0) : bound[0];
}

Value filter_format(Interpreter&, const Value& input, Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.keywords.empty()) {
    fail("can't handle positional and keyword arguments at the same time");
  }
  const Value text = text_input(input);
  if (arguments.keywords.empty()) return format_percent(text, Value::tuple(std::move(arguments.positional)));
  auto mapping = make_ref<DictObject>();
  for (auto& [name, value] : arguments.keywords) mapping->set(Value::string(name), value);
  return format_percent(text, Value::dict(mapping));
}

Value filter_indent(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("indent", arguments, {"width", "first", "blank"}, 0);
  require_defined(input);
  if (!input.is_string()) fail("can only concatenate str to '" + std::string(type_name(input)) + "'");
  const bool markup = input.as_string().markup;
  std::string indention = "    ";
  if (!bound[0].is_missing()) {
    indention = bound[0].is_string() ? bound[0].text() : repeat(" ", require_integer(bound[0]));
    if (markup && bound[0].is_string() && !bound[0].as_string().markup) indention = bound[0].text();
  }
  const bool blank_lines = truthy(bound[2]);
  const std::string text = input.text() + "\n";
  Joiner joiner("\n");
  bool is_first = true;
  for (std::string_view line : split_lines(text, false)) {
    const bool indented = is_first ? false : blank_lines || !line.empty();
    joiner.add((indented ? indention : std::string()) + std::string(line));
    is_first = false;
  }
  return Value::string((truthy(bound[1]) ? indention : std::string()) + joiner.take(), markup);
}

Value filter_replace(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("replace", arguments, {"old", "new", "count"}, 2);
  const int64_t count = given(bound[2]) ? require_integer(bound[2]) : -1;
  return Value::string(replace(to_text(input), to_text(bound[0]), to_text(bound[1]), count));
}

Value filter_round(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("round", arguments, {"precision", "method"}, 0);
  const std::string method = bound[1].is_missing() ? "common" : bound[1].is_string() ? bound[1].text() : "";
  if (method != "common" && method != "ceil" && method != "floor") fail("method must be common, ceil or floor");
  const Value precision = bound[0].is_missing() ? Value::integer(0) : bound[0];
  require_defined(input);
  if (!input.is_number()) fail("type " + std::string(type_name(input)) + " doesn't define __round__ method");
  if (method == "common") {
    // round(x, None) is an integer.
    if (precision.is_none()) {
      if (input.is_integral()) return Value::integer(input.as_integer());
      const auto rounded = float_to_integer(round_float(input.as_double(), 0));
      if (!rounded) fail("cannot convert float to integer");
      return Value::integer(*rounded);
    }
    const int64_t digits = require_integer(precision);
    if (!input.is_integral()) return Value::floating(round_float(input.as_double(), digits));
    if (digits >= 0) return Value::integer(input.as_integer());
    if (digits < -18) return Value::integer(0);
    int64_t unit = 1;
    for (int64_t i = 0; i > digits; --i) unit *= 10;
    const int64_t i = input.as_integer();
    const int64_t rest = i % unit, half = unit / 2, base = i - rest;
    int64_t up = std::abs(rest) > half || (std::abs(rest) == half && base / unit % 2 != 0) ? unit : 0;
    if (i < 0) up = -up;
    return apply(Binary::Operator::add, Value::integer(base), Value::integer(up));
  }
  const Value scale = apply(Binary::Operator::power, Value::integer(10), precision);
  const Value scaled = apply(Binary::Operator::multiply, input, scale);
  const double whole = method == "ceil" ? std::ceil(scaled.as_double()) : std::floor(scaled.as_double());
  if (!std::isfinite(whole)) fail("cannot convert float to integer");
  return apply(Binary::Operator::divide, scaled.is_integral() ? scaled : Value::floating(whole), scale);
}

Value filter_safe(Interpreter&, const Value& input, Arguments& arguments) {
  bind("safe", arguments, {}, 0);
  return Value::string(to_text(input), true);
}

Value filter_string(Interpreter&, const Value& input, Arguments& arguments) {
  bind("string", arguments, {}, 0);
  return to_string_value(input);
}

// Each word begins with an upper-case letter; words are what blanks, hyphens and opening brackets separate.
Value filter_title(Interpreter&, const Value& input, Arguments& arguments) {
  bind("title", arguments, {}, 0);
  const Value value = text_input(input);
  const std::string& text = value.text();
  spend_text(text.size());
  const auto separates = [](char32_t c) {
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || is_space(c);
  };
  std::string result;
  for (size_t offset = 0; offset < text.size();) {
    const size_t begin = offset;
    if (separates(next_code_point(text, offset))) {
      result.append(text, begin, offset - begin);
      continue;
    }
    const size_t behind_first = offset;
    while (offset < text.size()) {
      size_t next = offset;
      if (separates(next_code_point(text, next))) break;
      offset = next;
    }
    result += upper(std::string_view(text).substr(begin, behind_first - begin));
    result += lower(std::string_view(text).substr(behind_first, offset - behind_first));
  }
  return Value::string(std::move(result));
}

Value filter_tojson(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0);
  JsonStyle style;
  style.ensure_ascii = !bound[0].is_missing() && truthy(bound[0]);
  style.sort_keys = !bound[3].is_missing() && truthy(bound[3]);
  if (given(bound[1])) {
    style.pretty = true;
    style.item_separator = ",";
    style.indent = bound[1].is_string() ? bound[1].text() : repeat(" ", require_integer(bound[1]));
  }
  if (given(bound[2])) {
    const std::vector<Value> separators = to_vector(bound[2]);
    if (separators.size() != 2) fail("tojson: separators must be a pair");
    for (const Value& separator : separators) {
      if (!separator.is_string()) fail("tojson: separators must be strings");
    }
    style.item_separator = separators[0].text();
    style.key_separator = separators[1].text();
  }
  return Value::string(to_json(input, style));
}

Value filter_trim(Interpreter& interpreter, const Value& input, Arguments& arguments) {
  const auto bound = bind("trim", arguments, {"chars"}, 0);
  Arguments characters{{bound[0].is_missing() ? Value::none() : bound[0]}, {}};
  return find_string_method("strip")->method(interpreter, text_input(input), characters);
}

Value filter_truncate(Interpreter&, const Value& input, Arguments& arguments) {
  const auto bound = bind("truncate", arguments, {"length", "killwords", "end", "leeway"}, 0);
  const int64_t length = bound[0].is_missing() ? 255 : require_integer(bound[0]);
  const Value end = bound[2].is_missing() ? Value::string("...") : bound[2];
  const int64_t leeway = given(bound[3]) ? require_integer(bound[3]) : 5;
  require_defined(input);
  if (!input.is_string() || !end.is_string()) fail_unsupported("truncate of anything but text");
  const auto end_length = static_cast<int64_t>(end.as_string().length);
  if (length < end_length) fail("expected length >= " + std::to_string(end_length) + ", got " + std::to_string(length));
  if (leeway < 0) fail("expected leeway >= 0, got " + std::to_string(leeway));
  const StringObject& text = input.as_string();
  if (static_cast<int64_t>(text.length) - leeway <= length) return input;
  std::string kept = slice(text, Value(), Value::integer(length - end_length), Value());
  if (!truthy(bound[1])) kept = kept.substr(0, kept.rfind(' '));
  return apply(Binary::Operator::add, Value::string(std::move(kept), text.markup), end);
}

Value filter_wordcount(Interpreter&, const Value& input, Arguments& arguments) {
  bind("wordcount", arguments, {}, 0);
  const std::string text = to_text(input);
  spend_text(text.size());
  int64_t words = 0;
  bool inside = false;
  for (size_t offset = 0; offset < text.size();) {
    const char32_t c = next_code_point(text, offset);
    const bool letter = c == '_' || is_alnum(c);
    words += letter && !inside;
    inside = letter;
  }
  return Value::integer(words);
}

const std::unordered_map<std::string_view, FilterFunction>& filters() {
  // Without a function: jinja2 has it, we do not.
  static const std::unordered_map<std::string_view, FilterFunction> kFilters = {
      {"abs", filter_abs},
      {"attr", filter_attr},
      {"batch", filter_batch},
      {"capitalize", by_method<kCapitalize>},
      {"center", filter_center},
      {"count", filter_length},
      {"d", filter_default},
      {"default", filter_default},
      {"dictsort", filter_dictsort},
      {"e", filter_escape},
      {"escape", filter_escape},
      {"filesizeformat", nullptr},
      {"first", filter_first},
      {"float", filter_float},
      {"forceescape", filter_forceescape},
      {"format", filter_format},
      {"groupby", nullptr},
      {"indent", filter_indent},
      {"int", filter_int},
      {"items", filter_items},
      {"join", filter_join},
      {"last", filter_last},
      {"length", filter_length},
      {"list", filter_list},
      {"lower", by_method<kLower>},
      {"map", filter_map},
      {"max", filter_max},
      {"min", filter_min},
      {"pprint", nullptr},
      {"random", nullptr},
      {"reject", filter_reject},
      {"rejectattr", filter_rejectattr},
      {"replace", filter_replace},
      {"reverse", filter_reverse},
      {"round", filter_round},
      {"safe", filter_safe},
      {"select", filter_select},
      {"selectattr", filter_selectattr},
      {"slice", filter_slice},
      {"sort", filter_sort},
      {"string", filter_string},
      {"striptags", nullptr},
      {"sum", filter_sum},
      {"title", filter_title},
      {"tojson", filter_tojson},
      {"trim", filter_trim},
      {"truncate", filter_truncate},
      {"unique", filter_unique},
      {"upper", by_method<kUpper>},
      {"urlencode", nullptr},
      {"urlize", nullptr},
      {"wordcount", filter_wordcount},
      {"wordwrap", nullptr},
      {"xmlattr", nullptr},
  };
  return kFilters;
}

}  // namespace

FilterFunction find_filter(std::string_view name) {
  const auto entry = filters().find(name);
  return entry == filters().end() ? nullptr : entry->second;
}

bool filter_exists(std::string_view name) { return filters().count(name) != 0; }

void refuse_filter(std::string_view name, int line) {
  if (filter_exists(name)) fail_unsupported("the filter '" + std::string(name) + "'", line);
  fail_syntax("No filter named '" + std::string(name) + "'.", line);
}

}  // namespace zaya::text::jinja
