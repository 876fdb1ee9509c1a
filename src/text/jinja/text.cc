#include "text/jinja/text.h"

#include <algorithm>

#include "text/jinja/error.h"
#include "text/jinja/meter.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {

std::string escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&#34;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c;
    }
  }
  check_text_size(escaped.size());
  return escaped;
}

Value escape(const Value& value) {
  if (value.is_string() && value.as_string().markup) return value;
  return Value::string(escape(to_text(value)), true);
}

std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t count) {
  spend_text(text.size());
  std::string result;
  const auto add = [&](std::string_view piece) {
    check_text_size(uint64_t{result.size()} + piece.size());
    result += piece;
  };
  size_t offset = 0;
  if (from.empty()) {  // before every code point, and at the end
    while (count != 0) {
      add(to);
      if (count > 0) --count;
      if (offset == text.size()) return result;
      const size_t begin = offset;
      next_code_point(text, offset);
      add(text.substr(begin, offset - begin));
    }
  } else {
    while (count != 0) {
      const size_t found = text.find(from, offset);
      if (found == std::string_view::npos) break;
      add(text.substr(offset, found - offset));
      add(to);
      offset = found + from.size();
      if (count > 0) --count;
    }
  }
  add(text.substr(offset));
  return result;
}

SliceIndices slice_indices(int64_t length, const Value& start, const Value& stop, const Value& step) {
  const auto given = [](const Value& value) { return !value.is_missing() && !value.is_none(); };
  const auto index = [](const Value& value) {
    require_defined(value);
    if (!value.is_integral()) fail("slice indices must be integers or None or have an __index__ method");
    return value.as_integer();
  };
  SliceIndices result;
  if (given(step)) {
    result.step = index(step);
    if (result.step == 0) fail("slice step cannot be zero");
    // No sequence is this long; and -step must exist.
    result.step = std::clamp<int64_t>(result.step, -(int64_t{1} << 62), int64_t{1} << 62);
  }
  const bool backwards = result.step < 0;
  const int64_t lowest = backwards ? -1 : 0, highest = backwards ? length - 1 : length;
  const auto place = [&](const Value& value, int64_t otherwise) {
    if (!given(value)) return otherwise;
    int64_t i = index(value);
    if (i < 0) i = std::max(i, -length - 1) + length;
    return std::clamp(i, lowest, std::max(lowest, highest));
  };
  result.start = place(start, backwards ? highest : lowest);
  result.stop = place(stop, backwards ? lowest : highest);
  const int64_t distance = backwards ? result.start - result.stop : result.stop - result.start;
  const int64_t stride = backwards ? -result.step : result.step;
  result.count = distance <= 0 ? 0 : (distance - 1) / stride + 1;
  return result;
}

std::string slice(const StringObject& string, const Value& start, const Value& stop, const Value& step) {
  const SliceIndices indices = slice_indices(static_cast<int64_t>(string.length), start, stop, step);
  const std::string& text = string.text;
  if (indices.count == 0) return "";
  spend_text(text.size());
  if (indices.step == 1) {
    if (string.ascii()) return text.substr(static_cast<size_t>(indices.start), static_cast<size_t>(indices.count));
    const size_t begin = byte_offset(text, static_cast<size_t>(indices.start));
    return text.substr(begin, byte_offset(std::string_view(text).substr(begin), static_cast<size_t>(indices.count)));
  }
  const std::vector<char32_t> letters = decode(text);
  std::string result;
  for (int64_t i = 0; i < indices.count; ++i) {
    append_utf8(result, letters[static_cast<size_t>(indices.start + i * indices.step)]);
  }
  return result;
}

void Joiner::add(std::string_view text) {
  if (!first_) text_ += separator_;
  first_ = false;
  check_text_size(uint64_t{text_.size()} + text.size());
  spend_text(text.size() + separator_.size());
  text_ += text;
}

}  // namespace zaya::text::jinja
