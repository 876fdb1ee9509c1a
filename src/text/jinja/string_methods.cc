// The methods of str.
#include <algorithm>
#include <unordered_map>

#include "text/jinja/attributes.h"
#include "text/jinja/error.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/meter.h"
#include "text/jinja/operators.h"
#include "text/jinja/text.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

// A result of the same type as `self`: a method of markup gives markup.
Value like(const Value& self, std::string text) { return Value::string(std::move(text), self.as_string().markup); }
Value like(const Value& self, std::string_view text) { return like(self, std::string(text)); }
Value like(const Value& self, const char* text) { return like(self, std::string(text)); }

const std::string& require_string(const Value& value, const char* what) {
  require_defined(value);
  if (!value.is_string()) fail(std::string(what) + " must be str, not " + std::string(type_name(value)));
  return value.text();
}

// The text of an argument that markup would escape first.
std::string escaped_argument(const Value& self, const Value& argument) {
  return self.as_string().markup ? escape(argument).text() : argument.text();
}

bool given(const Value& value) { return !value.is_missing() && !value.is_none(); }

template <std::string (*kConvert)(std::string_view)>
Value convert(Interpreter&, const Value& self, Arguments& arguments) {
  bind_positional("this method", arguments, 0, 0);
  spend_text(self.text().size());
  return like(self, kConvert(self.text()));
}

template <bool kLeft, bool kRight>
Value strip_ends(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind_positional("strip", arguments, 0, 1);
  const Strip ends{kLeft, kRight};
  spend_text(self.text().size());
  if (!given(bound[0])) {
    if (!bound[0].is_missing()) require_defined(bound[0]);
    return like(self, strip(self.text(), ends));
  }
  const std::string& characters = require_string(bound[0], "strip argument");
  spend(self.text().size() * (1 + characters.size() / 64) / 16);
  return like(self, strip(self.text(), characters, ends));
}

// ---- split ----

void add_piece(std::vector<Value>& pieces, const Value& self, std::string_view piece) {
  pieces.push_back(like(self, piece));
}

std::vector<Value> split_at_space(const Value& self, int64_t limit) {
  const std::string_view text = self.text();
  std::vector<Value> pieces;
  size_t offset = 0;
  while (true) {
    const std::string_view rest = strip(text.substr(offset), Strip{.left = true, .right = false});
    offset = text.size() - rest.size();
    if (rest.empty()) return pieces;
    if (limit >= 0 && static_cast<int64_t>(pieces.size()) == limit) {
      add_piece(pieces, self, rest);
      return pieces;
    }
    size_t end = offset;
    while (end < text.size()) {
      size_t next = end;
      if (is_space(next_code_point(text, next))) break;
      end = next;
    }
    add_piece(pieces, self, text.substr(offset, end - offset));
    offset = end;
  }
}

std::vector<Value> split_at_space_from_right(const Value& self, int64_t limit) {
  std::string_view text = self.text();
  std::vector<Value> pieces;
  while (true) {
    text = strip(text, Strip{.left = false, .right = true});
    if (text.empty()) break;
    if (limit >= 0 && static_cast<int64_t>(pieces.size()) == limit) {
      add_piece(pieces, self, text);
      break;
    }
    size_t begin = text.size();
    while (begin > 0) {
      size_t previous = begin;
      if (is_space(previous_code_point(text, previous))) break;
      begin = previous;
    }
    add_piece(pieces, self, text.substr(begin));
    text = text.substr(0, begin);
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

std::vector<Value> split_at(const Value& self, std::string_view separator, int64_t limit) {
  const std::string_view text = self.text();
  std::vector<Value> pieces;
  size_t offset = 0;
  while (limit < 0 || static_cast<int64_t>(pieces.size()) < limit) {
    const size_t found = text.find(separator, offset);
    if (found == std::string_view::npos) break;
    add_piece(pieces, self, text.substr(offset, found - offset));
    offset = found + separator.size();
  }
  add_piece(pieces, self, text.substr(offset));
  return pieces;
}

std::vector<Value> split_from_right_at(const Value& self, std::string_view separator, int64_t limit) {
  std::string_view text = self.text();
  std::vector<Value> pieces;
  while (limit < 0 || static_cast<int64_t>(pieces.size()) < limit) {
    const size_t found = text.rfind(separator);
    if (found == std::string_view::npos) break;
    add_piece(pieces, self, text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  add_piece(pieces, self, text);
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

template <bool kFromRight>
Value split(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind("split", arguments, {"sep", "maxsplit"}, 0);
  const int64_t limit = bound[1].is_missing() ? -1 : require_integer(bound[1]);
  spend_text(self.text().size());
  if (!given(bound[0])) {
    return Value::list(kFromRight ? split_at_space_from_right(self, limit) : split_at_space(self, limit));
  }
  const std::string& separator = require_string(bound[0], "separator");
  if (separator.empty()) fail("empty separator");
  return Value::list(kFromRight ? split_from_right_at(self, separator, limit) : split_at(self, separator, limit));
}

Value splitlines(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind("splitlines", arguments, {"keepends"}, 0);
  const bool keep_ends = !bound[0].is_missing() && require_integer(bound[0]) != 0;
  std::vector<Value> lines;
  spend_text(self.text().size());
  for (std::string_view line : split_lines(self.text(), keep_ends)) add_piece(lines, self, line);
  return Value::list(std::move(lines));
}

template <bool kFromRight>
Value partition(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind_positional("partition", arguments, 1, 1);
  const std::string& separator = require_string(bound[0], "separator");
  if (separator.empty()) fail("empty separator");
  const std::string_view text = self.text();
  spend_text(text.size());
  const size_t found = kFromRight ? text.rfind(separator) : text.find(separator);
  if (found == std::string_view::npos) {
    if (kFromRight) return Value::tuple({like(self, ""), like(self, ""), self});
    return Value::tuple({self, like(self, ""), like(self, "")});
  }
  return Value::tuple(
      {like(self, text.substr(0, found)), like(self, separator), like(self, text.substr(found + separator.size()))});
}

// ---- searching ----

// The part of the text between two positions in code points, as the methods' start and end arguments cut it.
struct Window {
  std::string_view text;
  size_t begin = 0;   // in code points
  bool valid = true;  // false when start lies behind the end: nothing is found, not even ""
};

Window window(const Value& self, const Value& start, const Value& end) {
  const StringObject& string = self.as_string();
  const auto length = static_cast<int64_t>(string.length);
  const auto place = [&](const Value& value, int64_t otherwise) {
    if (!given(value)) return otherwise;
    int64_t i = require_integer(value);
    if (i < 0) i = std::max<int64_t>(0, std::max(i, -length) + length);
    return i;
  };
  const int64_t first = place(start, 0);
  const int64_t last = std::min(place(end, length), length);
  if (first > last) return {{}, 0, false};
  const std::string_view text = string.text;
  const size_t begin = byte_offset(text, static_cast<size_t>(first));
  const size_t size = byte_offset(text.substr(begin), static_cast<size_t>(last - first));
  return {text.substr(begin, size), static_cast<size_t>(first), true};
}

template <bool kFromRight, bool kMustExist>
Value find(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind_positional("find", arguments, 1, 3);
  const std::string& wanted = require_string(bound[0], "the substring");
  spend_text(self.text().size());
  const Window part = window(self, bound[1], bound[2]);
  const size_t found = !part.valid  ? std::string_view::npos
                       : kFromRight ? part.text.rfind(wanted)
                                    : part.text.find(wanted);
  if (found == std::string_view::npos) {
    if (kMustExist) fail("substring not found");
    return Value::integer(-1);
  }
  return Value::integer(static_cast<int64_t>(part.begin + count_code_points(part.text.substr(0, found))));
}

Value count(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind_positional("count", arguments, 1, 3);
  const std::string& wanted = require_string(bound[0], "the substring");
  spend_text(self.text().size());
  const Window part = window(self, bound[1], bound[2]);
  if (!part.valid) return Value::integer(0);
  if (wanted.empty()) return Value::integer(static_cast<int64_t>(count_code_points(part.text)) + 1);
  int64_t times = 0;
  for (size_t found = part.text.find(wanted); found != std::string_view::npos;
       found = part.text.find(wanted, found + wanted.size())) {
    ++times;
  }
  return Value::integer(times);
}

template <bool kAtEnd>
Value has_affix(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind_positional(kAtEnd ? "endswith" : "startswith", arguments, 1, 3);
  const Window part = window(self, bound[1], bound[2]);
  const auto matches = [&](const Value& affix) {
    const std::string& text = require_string(affix, kAtEnd ? "endswith first arg" : "startswith first arg");
    spend_text(text.size());
    if (!part.valid || text.size() > part.text.size()) return false;
    return kAtEnd ? part.text.substr(part.text.size() - text.size()) == text : part.text.substr(0, text.size()) == text;
  };
  if (!bound[0].is(Kind::tuple)) return Value::boolean(matches(bound[0]));
  for (const Value& affix : bound[0].items()) {
    if (matches(affix)) return Value::boolean(true);
  }
  return Value::boolean(false);
}

template <bool kAtEnd>
Value remove_affix(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind_positional(kAtEnd ? "removesuffix" : "removeprefix", arguments, 1, 1);
  const std::string_view affix = require_string(bound[0], "argument");
  std::string_view text = self.text();
  if (affix.empty() || affix.size() > text.size()) return self;
  if (kAtEnd && text.substr(text.size() - affix.size()) == affix)
    return like(self, text.substr(0, text.size() - affix.size()));
  if (!kAtEnd && text.substr(0, affix.size()) == affix) return like(self, text.substr(affix.size()));
  return self;
}

// ---- building ----

Value replace_method(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind_positional("replace", arguments, 2, 3);
  const std::string& from = require_string(bound[0], "replace() argument 1");
  if (!self.as_string().markup) require_string(bound[1], "replace() argument 2");
  const int64_t limit = bound[2].is_missing() ? -1 : require_integer(bound[2]);
  return like(self, replace(self.text(), from, escaped_argument(self, bound[1]), limit));
}

Value join(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind_positional("join", arguments, 1, 1);
  if (!iterable(bound[0])) fail("can only join an iterable");
  auto iterator = iterate(bound[0]);
  Joiner joiner(self.text());
  Value item;
  for (int64_t i = 0; iterator->next(item); ++i) {
    if (!self.as_string().markup && !item.is_string()) {
      fail("sequence item " + std::to_string(i) + ": expected str instance, " + std::string(type_name(item)) +
           " found");
    }
    joiner.add(escaped_argument(self, item));
  }
  return like(self, joiner.take());
}

enum class Side { left, right, both };

template <Side kSide>
Value justify(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind_positional("justify", arguments, 1, 2);
  const int64_t width = require_integer(bound[0]);
  const std::string fill = bound[1].is_missing() ? " " : require_string(bound[1], "The fill character");
  if (count_code_points(fill) != 1) fail("The fill character must be exactly one character long");
  const int64_t room = width - static_cast<int64_t>(self.as_string().length);
  if (room <= 0) return self;
  const int64_t left = kSide == Side::right ? room : kSide == Side::left ? 0 : room / 2 + (room & width & 1);
  return like(self, repeat(fill, left) + self.text() + repeat(fill, room - left));
}

Value zfill(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind_positional("zfill", arguments, 1, 1);
  const int64_t room = require_integer(bound[0]) - static_cast<int64_t>(self.as_string().length);
  if (room <= 0) return self;
  const std::string& text = self.text();
  const size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  return like(self, text.substr(0, sign) + repeat("0", room) + text.substr(sign));
}

Value format_method(Interpreter&, const Value& self, Arguments& arguments) {
  return like(self, format_braces(self, arguments));
}

// ---- questions ----

template <bool (*kIs)(char32_t)>
Value all_are(Interpreter&, const Value& self, Arguments& arguments) {
  bind_positional("this method", arguments, 0, 0);
  const std::string& text = self.text();
  spend_text(text.size());
  for (size_t offset = 0; offset < text.size();) {
    if (!kIs(next_code_point(text, offset))) return Value::boolean(false);
  }
  return Value::boolean(!text.empty() || kIs == &is_printable);
}

Value isascii(Interpreter&, const Value& self, Arguments& arguments) {
  bind_positional("isascii", arguments, 0, 0);
  return Value::boolean(self.as_string().ascii());
}

template <bool kUpper>
Value is_case(Interpreter&, const Value& self, Arguments& arguments) {
  bind_positional("this method", arguments, 0, 0);
  return Value::boolean(all_cased(self.text(), kUpper));
}

Value istitle(Interpreter&, const Value& self, Arguments& arguments) {
  bind_positional("istitle", arguments, 0, 0);
  const std::string& text = self.text();
  bool cased = false, previous_cased = false;
  for (size_t offset = 0; offset < text.size();) {
    const char32_t c = next_code_point(text, offset);
    if (is_upper(c) || is_title(c)) {
      if (previous_cased) return Value::boolean(false);
      cased = previous_cased = true;
    } else if (is_lower(c)) {
      if (!previous_cased) return Value::boolean(false);
      cased = true;
    } else {
      previous_cased = false;
    }
  }
  return Value::boolean(cased);
}

Value isidentifier(Interpreter&, const Value& self, Arguments& arguments) {
  bind_positional("isidentifier", arguments, 0, 0);
  const std::string& text = self.text();
  for (size_t offset = 0; offset < text.size();) {
    const bool first = offset == 0;
    const char32_t c = next_code_point(text, offset);
    if (c != '_' && !(first ? is_alpha(c) : is_alnum(c))) return Value::boolean(false);
  }
  return Value::boolean(!text.empty());
}

Value expandtabs(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind("expandtabs", arguments, {"tabsize"}, 0);
  const int64_t size = bound[0].is_missing() ? 8 : require_integer(bound[0]);
  const std::string& text = self.text();
  std::string result;
  int64_t column = 0;
  for (size_t offset = 0; offset < text.size();) {
    const size_t begin = offset;
    const char32_t c = next_code_point(text, offset);
    if (c == '\t') {
      if (size <= 0) continue;
      const int64_t blanks = size - column % size;
      result += repeat(" ", blanks);
      check_text_size(result.size());
      column += blanks;
    } else {
      result.append(text, begin, offset - begin);
      column = c == '\n' || c == '\r' ? 0 : column + 1;
    }
  }
  return like(self, std::move(result));
}

}  // namespace

const MethodEntry* find_string_method(std::string_view name) {
  static const std::unordered_map<std::string_view, MethodEntry> kMethods = [] {
    const MethodEntry entries[] = {
        {"capitalize", convert<capitalize>},
        {"casefold", convert<case_fold>},
        {"center", justify<Side::both>},
        {"count", count},
        {"encode"},
        {"endswith", has_affix<true>},
        {"expandtabs", expandtabs},
        {"find", find<false, false>},
        {"format", format_method},
        {"format_map"},
        {"index", find<false, true>},
        {"isalnum", all_are<is_alnum>},
        {"isalpha", all_are<is_alpha>},
        {"isascii", isascii},
        {"isdecimal", all_are<is_decimal>},
        {"isdigit", all_are<is_digit>},
        {"isidentifier", isidentifier},
        {"islower", is_case<false>},
        {"isnumeric", all_are<is_numeric>},
        {"isprintable", all_are<is_printable>},
        {"isspace", all_are<is_space>},
        {"istitle", istitle},
        {"isupper", is_case<true>},
        {"join", join},
        {"ljust", justify<Side::left>},
        {"lower", convert<lower>},
        {"lstrip", strip_ends<true, false>},
        {"maketrans"},
        {"partition", partition<false>},
        {"removeprefix", remove_affix<false>},
        {"removesuffix", remove_affix<true>},
        {"replace", replace_method},
        {"rfind", find<true, false>},
        {"rindex", find<true, true>},
        {"rjust", justify<Side::right>},
        {"rpartition", partition<true>},
        {"rsplit", split<true>},
        {"rstrip", strip_ends<false, true>},
        {"split", split<false>},
        {"splitlines", splitlines},
        {"startswith", has_affix<false>},
        {"strip", strip_ends<true, true>},
        {"swapcase", convert<swap_case>},
        {"title", convert<title>},
        {"translate"},
        {"upper", convert<upper>},
        {"zfill", zfill},
    };
    std::unordered_map<std::string_view, MethodEntry> methods;
    for (const MethodEntry& entry : entries) methods.emplace(entry.name, entry);
    return methods;
  }();
  const auto entry = kMethods.find(name);
  return entry == kMethods.end() ? nullptr : &entry->second;
}

}  // namespace zaya::text::jinja
