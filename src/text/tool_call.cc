#include "text/tool_call.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace zaya::text {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kOpen = "<zyphra_tool_call>", kClose = "</zyphra_tool_call>";
constexpr std::string_view kFunction = "<function=", kFunctionEnd = "</function>";
constexpr std::string_view kParameter = "<parameter=", kParameterEnd = "</parameter>";
constexpr std::string_view kSpace = " \t\r\n";
// A name that goes on for longer is no name; it would be held back until the answer's end.
constexpr size_t kMaxName = 256;
// Deeper JSON in a value stays a string.
constexpr size_t kMaxDepth = 64;

// The length of the longest end of `text` that is a beginning of `tag`, but not all of it.
size_t partial_end(std::string_view text, std::string_view tag) {
  size_t length = std::min(text.size(), tag.size() - 1);
  while (length > 0 && !tag.starts_with(text.substr(text.size() - length))) --length;
  return length;
}

bool could_become(std::string_view text, std::string_view tag) {
  return text.size() < tag.size() && tag.starts_with(text);
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kSpace);
  return first == std::string_view::npos ? std::string_view()
                                         : text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

void allow(ValueTypes& types, std::string_view name) {
  if (name == "string") types.string = true;
  if (name == "number") types.number = types.integer = true;
  if (name == "integer") types.integer = true;
  if (name == "boolean") types.boolean = true;
  if (name == "null") types.null = true;
  if (name == "object") types.object = true;
  if (name == "array") types.array = true;
}

constexpr ValueTypes kNone{false, false, false, false, false, false, false};

void allow_value(ValueTypes& types, const Json& value) {
  if (value.is_string()) types.string = true;
  if (value.is_number_integer()) types.integer = true;
  if (value.is_number_float()) types.number = true;
  if (value.is_boolean()) types.boolean = true;
  if (value.is_null()) types.null = true;
  if (value.is_object()) types.object = true;
  if (value.is_array()) types.array = true;
}

ValueTypes merged(const ValueTypes& a, const ValueTypes& b, bool both) {
  const auto join = [both](bool x, bool y) { return both ? x && y : x || y; };
  return {join(a.string, b.string), join(a.number, b.number), join(a.integer, b.integer), join(a.boolean, b.boolean),
          join(a.null, b.null),     join(a.object, b.object), join(a.array, b.array)};
}

bool too_deep(std::string_view text) {
  size_t depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

std::string dumped(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

// A string's JSON without its quotes.
std::string escaped(std::string_view text) {
  const std::string quoted = json_string(text);
  return quoted.substr(1, quoted.size() - 2);
}

// How much of `text` ends in a whole UTF-8 character, so that an escape never sees half of one.
size_t whole_characters(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const unsigned char byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) return text.size();
    if (byte >= 0xC0) {
      const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
      return length > back ? text.size() - back : text.size();
    }
  }
  return text.size();
}

}  // namespace

ValueTypes ValueTypes::of(const Json& schema, int depth) {
  ValueTypes types;
  if (!schema.is_object() || depth == 0) return types;
  if (const auto type = schema.find("type"); type != schema.end()) {
    ValueTypes named = kNone;
    if (type->is_string()) allow(named, type->get_ref<const std::string&>());
    if (type->is_array()) {
      for (const Json& name : *type) {
        if (name.is_string()) allow(named, name.get_ref<const std::string&>());
      }
    }
    types = merged(types, named, true);
  }
  if (const auto values = schema.find("enum"); values != schema.end() && values->is_array()) {
    ValueTypes listed = kNone;
    for (const Json& value : *values) allow_value(listed, value);
    types = merged(types, listed, true);
  }
  if (const auto value = schema.find("const"); value != schema.end()) {
    ValueTypes one = kNone;
    allow_value(one, *value);
    types = merged(types, one, true);
  }
  for (const char* key : {"anyOf", "oneOf", "allOf"}) {
    const auto list = schema.find(key);
    if (list == schema.end() || !list->is_array() || list->empty()) continue;
    const bool all = key[1] == 'l';
    ValueTypes choices = all ? ValueTypes() : kNone;
    for (const Json& choice : *list) choices = merged(choices, ValueTypes::of(choice, depth - 1), all);
    types = merged(types, choices, true);
  }
  return types;
}

std::string json_string(std::string_view text) { return dumped(Json(std::string(text))); }

std::string typed_json(std::string_view value, const ValueTypes& types) {
  const std::string_view text = trimmed(value);
  if (types.only_string() || too_deep(text)) return json_string(value);
  if (types.boolean && (text == "True" || text == "False")) return text == "True" ? "true" : "false";
  if (types.null && text == "None") return "null";
  // Valid JSON goes out as the model wrote it: nothing is lost to a parser's idea of numbers or of an object's order.
  if (text.empty() || !Json::accept(text)) return json_string(value);
  bool fits = false;
  switch (text[0]) {
    case '{': fits = types.object; break;
    case '[': fits = types.array; break;
    case 't':
    case 'f': fits = types.boolean; break;
    case 'n': fits = types.null; break;
    case '"': break;  // the quotes are part of a string's value
    default: {
      if (text.find_first_of(".eE") == std::string::npos) {
        fits = types.integer;
      } else if (types.number) {
        fits = true;
      } else if (types.integer) {
        const double number = std::strtod(std::string(text).c_str(), nullptr);
        if (number == std::trunc(number) && std::abs(number) <= 9007199254740992.0) {
          return std::to_string(static_cast<int64_t>(number));
        }
      }
    }
  }
  return fits ? std::string(text) : json_string(value);
}

ToolCallParser::ToolCallParser(const Json& tools) : tools_(tools) {}

std::vector<ToolCallParser::Piece> ToolCallParser::push(std::string_view chunk) {
  held_.append(chunk);
  std::vector<Piece> pieces;
  while (step(false, pieces)) {
  }
  return pieces;
}

std::vector<ToolCallParser::Piece> ToolCallParser::finish(bool complete) {
  std::vector<Piece> pieces;
  while (step(true, pieces)) {
  }
  if (complete && open_) {
    if (state_ == State::value_start) {
      begin_value(pieces);
      state_ = State::value;
    }
    if (state_ == State::value) end_value(pieces);
    end_function(pieces);
  }
  return pieces;
}

void ToolCallParser::emit(std::vector<Piece>& pieces, Piece::Kind kind, std::string_view text) {
  if (text.empty()) return;
  if (kind != Piece::Kind::call && !pieces.empty() && pieces.back().kind == kind) {
    pieces.back().text.append(text);
  } else {
    pieces.push_back({kind, std::string(text)});
  }
}

bool ToolCallParser::step(bool at_end, std::vector<Piece>& pieces) {
  using Kind = Piece::Kind;
  switch (state_) {
    case State::content: {
      if (held_.empty() && !(at_end && !space_.empty())) return false;
      const size_t found = held_.find(kOpen);
      std::string text = std::move(space_);
      space_.clear();
      if (found != std::string::npos) {
        text.append(held_, 0, found);
        held_.erase(0, found + kOpen.size());
        emit(pieces, Kind::content, std::string_view(text).substr(0, text.find_last_not_of(kSpace) + 1));
        state_ = State::in_call;
        return true;
      }
      const size_t keep = at_end ? 0 : partial_end(held_, kOpen);
      text.append(held_, 0, held_.size() - keep);
      held_.erase(0, held_.size() - keep);
      // White space waits: in front of a call, and behind one, it is the form's.
      const size_t settled = at_end && calls_ == 0 ? text.size() : text.find_last_not_of(kSpace) + 1;
      emit(pieces, Kind::content, std::string_view(text).substr(0, settled));
      space_ = text.substr(settled);
      return false;
    }
    case State::in_call: {
      const size_t start = std::min(held_.find_first_not_of(kSpace), held_.size());
      const std::string_view text = std::string_view(held_).substr(start);
      if (text.starts_with(kFunction)) {
        held_.erase(0, start + kFunction.size());
        state_ = State::function_name;
        return true;
      }
      if (!at_end && could_become(text, kFunction)) return false;
      emit(pieces, Kind::content, kOpen);  // not a call: what was taken for its beginning is text
      state_ = State::content;
      return true;
    }
    case State::function_name:
    case State::parameter_name: {
      const bool function = state_ == State::function_name;
      const size_t end = held_.find('>');
      if (end == std::string::npos && held_.size() <= kMaxName && !at_end) return false;
      if (end == std::string::npos || end > kMaxName) {
        if (function) {
          emit(pieces, Kind::content, std::string(kOpen) + std::string(kFunction));
          state_ = State::content;
        } else {
          held_.clear();
          state_ = State::in_function;
        }
        return !held_.empty();
      }
      const std::string name(trimmed(std::string_view(held_).substr(0, end)));
      held_.erase(0, end + 1);
      if (!function) {
        skipping_ = !seen_.insert(name).second;
        types_ = ValueTypes();
        if (properties_ != nullptr) {
          if (const auto schema = properties_->find(name); schema != properties_->end())
            types_ = ValueTypes::of(*schema);
        }
        if (!skipping_) emit(pieces, Kind::arguments, (seen_.size() > 1 ? ", " : "") + json_string(name) + ": ");
        state_ = State::value_start;
        return true;
      }
      ++calls_;
      pieces.push_back({Kind::call, name});
      emit(pieces, Kind::arguments, "{");
      open_ = true;
      seen_.clear();
      properties_ = nullptr;
      for (const Json& tool : tools_) {
        const Json& declared = tool.contains("function") ? tool["function"] : tool;
        if (!declared.is_object()) continue;
        const auto declared_name = declared.find("name");
        if (declared_name == declared.end() || *declared_name != name) continue;
        const auto parameters = declared.find("parameters");
        if (parameters == declared.end() || !parameters->is_object()) continue;
        const auto properties = parameters->find("properties");
        if (properties != parameters->end() && properties->is_object()) properties_ = &*properties;
      }
      state_ = State::in_function;
      return true;
    }
    case State::in_function: {
      const size_t start = std::min(held_.find_first_not_of(kSpace), held_.size());
      const std::string_view text = std::string_view(held_).substr(start);
      if (text.starts_with(kParameter)) {
        held_.erase(0, start + kParameter.size());
        state_ = State::parameter_name;
        return true;
      }
      for (const std::string_view end : {kFunctionEnd, kClose}) {
        if (!text.starts_with(end)) continue;
        end_function(pieces);
        // Without </function> the call's own end does for both.
        if (end == kFunctionEnd) held_.erase(0, start + end.size());
        state_ = State::after_function;
        return true;
      }
      if (text.empty() || (!at_end && (could_become(text, kParameter) || could_become(text, kFunctionEnd) ||
                                       could_become(text, kClose)))) {
        return false;
      }
      held_.erase(0, held_.find('<', start + 1));  // stray text has no place in JSON
      return true;
    }
    case State::value_start: {
      if (held_.empty() || (held_ == "\r" && !at_end)) return false;
      if (held_.starts_with("\r\n")) {
        held_.erase(0, 2);
      } else if (held_[0] == '\n') {
        held_.erase(0, 1);
      }
      begin_value(pieces);
      state_ = State::value;
      return true;
    }
    case State::value: {
      const size_t found = held_.find(kParameterEnd);
      size_t settled = found;
      if (found == std::string::npos) {
        settled = held_.size() - (at_end ? 0 : partial_end(held_, kParameterEnd));
      }
      // The line break before the end tag is the form's.
      std::string_view text = std::string_view(held_).substr(0, settled);
      if (found != std::string::npos || at_end) {
        if (text.ends_with('\n')) text.remove_suffix(1);
        if (text.ends_with('\r')) text.remove_suffix(1);
      } else {
        if (text.ends_with('\n')) text.remove_suffix(1);
        if (text.ends_with('\r')) text.remove_suffix(1);
        text = text.substr(0, whole_characters(text));
        settled = text.size();
      }
      if (!skipping_) {
        if (streaming_) {
          emit(pieces, Kind::arguments, escaped(text));
        } else {
          value_.append(text);
        }
      }
      held_.erase(0, settled);
      if (found == std::string::npos) return false;
      held_.erase(0, kParameterEnd.size());
      end_value(pieces);
      state_ = State::in_function;
      return true;
    }
    case State::after_function: {
      const size_t start = std::min(held_.find_first_not_of(kSpace), held_.size());
      const std::string_view text = std::string_view(held_).substr(start);
      if (!at_end && could_become(text, kClose)) return false;
      // A second function in one call is a call of its own.
      if (!at_end && could_become(text, kFunction)) return false;
      if (text.starts_with(kFunction)) {
        state_ = State::in_call;
        return true;
      }
      held_.erase(0, start + (text.starts_with(kClose) ? kClose.size() : 0));
      state_ = State::content;
      return !held_.empty();
    }
  }
  return false;
}

void ToolCallParser::begin_value(std::vector<Piece>& pieces) {
  value_.clear();
  streaming_ = types_.only_string();
  if (streaming_ && !skipping_) emit(pieces, Piece::Kind::arguments, "\"");
}

void ToolCallParser::end_value(std::vector<Piece>& pieces) {
  if (!skipping_) emit(pieces, Piece::Kind::arguments, streaming_ ? "\"" : typed_json(value_, types_));
}

void ToolCallParser::end_function(std::vector<Piece>& pieces) {
  emit(pieces, Piece::Kind::arguments, "}");
  open_ = false;
}

}  // namespace zaya::text
