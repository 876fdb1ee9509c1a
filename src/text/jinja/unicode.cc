#include "text/jinja/unicode.h"

#include <algorithm>

#include "simdjson.h"
#include "text/jinja/unicode_tables.h"

namespace zaya::text::jinja {
namespace {

// The entry that holds `c`, or null. A run of stride 2 may enclose members of the next one, so two are looked at.
template <class Range>
const Range* find_range(const Range* ranges, size_t size, char32_t c) {
  const Range* after =
      std::upper_bound(ranges, ranges + size, c, [](char32_t code, const Range& r) { return code < r.first; });
  for (int i = 0; i < 2 && after != ranges; ++i) {
    --after;
    if (c <= after->last && (c - after->first) % after->stride == 0) return after;
  }
  return nullptr;
}

const SpecialCase* find_special(const SpecialCase* cases, size_t size, char32_t c) {
  const SpecialCase* found = std::lower_bound(
      cases, cases + size, c, [](const SpecialCase& entry, char32_t code) { return entry.code < code; });
  return found != cases + size && found->code == c ? found : nullptr;
}

void append_special(std::string& text, const SpecialCase& special) {
  for (const uint32_t code : special.mapped) {
    if (code) append_utf8(text, code);
  }
}

void append_shifted(std::string& text, const CaseRange* ranges, size_t size, char32_t c) {
  const CaseRange* range = find_range(ranges, size, c);
  append_utf8(text, range ? static_cast<char32_t>(static_cast<int32_t>(c) + range->shift) : c);
}

void append_upper(std::string& text, char32_t c) {
  if (const SpecialCase* special = find_special(kSpecialToUpper, kSpecialToUpperSize, c))
    return append_special(text, *special);
  append_shifted(text, kToUpper, kToUpperSize, c);
}

void append_lower(std::string& text, char32_t c) {
  if (const SpecialCase* special = find_special(kSpecialToLower, kSpecialToLowerSize, c))
    return append_special(text, *special);
  append_shifted(text, kToLower, kToLowerSize, c);
}

void append_title(std::string& text, char32_t c) {
  if (const SpecialCase* special = find_special(kTitleUnlikeUpper, kTitleUnlikeUpperSize, c)) {
    return append_special(text, *special);
  }
  append_upper(text, c);
}

bool is_cased(char32_t c) { return is_upper(c) || is_lower(c) || is_title(c); }
bool is_case_ignorable(char32_t c) { return find_range(kCaseIgnorable, kCaseIgnorableSize, c) != nullptr; }

constexpr char32_t kCapitalSigma = 0x3A3;

// Lower case of the code point at [begin, end): a capital sigma that ends a word becomes a final one.
void append_lower_in_context(std::string& result, std::string_view text, size_t begin, size_t end, char32_t c) {
  if (c != kCapitalSigma) return append_lower(result, c);
  bool after_letter = false, before_letter = false;
  for (size_t offset = begin; offset > 0;) {
    const char32_t previous = previous_code_point(text, offset);
    if (is_case_ignorable(previous)) continue;
    after_letter = is_cased(previous);
    break;
  }
  for (size_t offset = end; after_letter && offset < text.size();) {
    const char32_t next = next_code_point(text, offset);
    if (is_case_ignorable(next)) continue;
    before_letter = is_cased(next);
    break;
  }
  append_utf8(result, after_letter && !before_letter ? 0x3C2 : 0x3C3);
}

// Calls visit(code point, begin, end) for each code point.
template <class Visit>
void for_each_code_point(std::string_view text, Visit&& visit) {
  for (size_t offset = 0; offset < text.size();) {
    const size_t begin = offset;
    const char32_t c = next_code_point(text, offset);
    visit(c, begin, offset);
  }
}

template <class IsIn>
std::string_view strip_where(std::string_view text, Strip ends, IsIn&& is_in) {
  size_t begin = 0, end = text.size();
  while (ends.left && begin < end) {
    size_t next = begin;
    if (!is_in(next_code_point(text, next))) break;
    begin = next;
  }
  while (ends.right && end > begin) {
    size_t previous = end;
    if (!is_in(previous_code_point(text, previous))) break;
    end = previous;
  }
  return text.substr(begin, end - begin);
}

}  // namespace

bool valid_utf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

size_t count_code_points(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

char32_t next_code_point(std::string_view text, size_t& offset) {
  const auto byte = [&] { return static_cast<char32_t>(static_cast<unsigned char>(text[offset++])); };
  const char32_t first = byte();
  if (first < 0x80) return first;
  char32_t c = first < 0xE0 ? first & 0x1F : first < 0xF0 ? first & 0x0F : first & 0x07;
  for (int more = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3; more > 0 && offset < text.size(); --more)
    c = c << 6 | (byte() & 0x3F);
  return c;
}

char32_t previous_code_point(std::string_view text, size_t& offset) {
  do {
    --offset;
  } while (offset > 0 && (static_cast<unsigned char>(text[offset]) & 0xC0) == 0x80);
  size_t begin = offset;
  return next_code_point(text, begin);
}

void append_utf8(std::string& text, char32_t c) {
  const auto put = [&](char32_t byte) { text += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::vector<char32_t> decode(std::string_view text) {
  std::vector<char32_t> codes;
  codes.reserve(count_code_points(text));
  for_each_code_point(text, [&](char32_t c, size_t, size_t) { codes.push_back(c); });
  return codes;
}

size_t byte_offset(std::string_view text, size_t index) {
  size_t offset = 0;
  for (; offset < text.size(); ++offset) {
    if ((static_cast<unsigned char>(text[offset]) & 0xC0) == 0x80) continue;
    if (index == 0) break;
    --index;
  }
  return offset;
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_line_break(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool is_printable(char32_t c) {
  if (c < 0x7F) return c >= 0x20;
  return !find_range(kUnprintable, kUnprintableSize, c);
}
bool is_alpha(char32_t c) {
  if (c < 0x80) return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
  return find_range(kAlpha, kAlphaSize, c);
}
bool is_decimal(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  return find_range(kDecimal, kDecimalSize, c);
}
bool is_digit(char32_t c) { return is_decimal(c) || find_range(kOtherDigit, kOtherDigitSize, c); }
bool is_numeric(char32_t c) { return is_digit(c) || find_range(kOtherNumeric, kOtherNumericSize, c); }
bool is_upper(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z';
  return find_range(kUpper, kUpperSize, c);
}
bool is_lower(char32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z';
  return find_range(kLower, kLowerSize, c);
}
bool is_title(char32_t c) { return find_range(kTitle, kTitleSize, c); }

bool all_cased(std::string_view text, bool upper_case) {
  bool cased = false, other = false;
  for_each_code_point(text, [&](char32_t c, size_t, size_t) {
    cased |= upper_case ? is_upper(c) : is_lower(c);
    other |= is_title(c) || (upper_case ? is_lower(c) : is_upper(c));
  });
  return cased && !other;
}

std::string upper(std::string_view text) {
  std::string result;
  for_each_code_point(text, [&](char32_t c, size_t, size_t) { append_upper(result, c); });
  return result;
}

std::string lower(std::string_view text) {
  std::string result;
  for_each_code_point(
      text, [&](char32_t c, size_t begin, size_t end) { append_lower_in_context(result, text, begin, end, c); });
  return result;
}

std::string capitalize(std::string_view text) {
  std::string result;
  for_each_code_point(text, [&](char32_t c, size_t begin, size_t end) {
    if (begin == 0) return append_title(result, c);
    append_lower_in_context(result, text, begin, end, c);
  });
  return result;
}

std::string title(std::string_view text) {
  std::string result;
  bool inside_word = false;
  for_each_code_point(text, [&](char32_t c, size_t begin, size_t end) {
    if (inside_word) {
      append_lower_in_context(result, text, begin, end, c);
    } else {
      append_title(result, c);
    }
    inside_word = is_cased(c);
  });
  return result;
}

std::string swap_case(std::string_view text) {
  std::string result;
  for_each_code_point(text, [&](char32_t c, size_t begin, size_t end) {
    if (is_upper(c)) return append_lower_in_context(result, text, begin, end, c);
    if (is_lower(c)) return append_upper(result, c);
    append_utf8(result, c);
  });
  return result;
}

std::string case_fold(std::string_view text) {
  std::string result;
  for_each_code_point(text, [&](char32_t c, size_t, size_t) {
    if (const SpecialCase* special = find_special(kFoldUnlikeLower, kFoldUnlikeLowerSize, c)) {
      return append_special(result, *special);
    }
    append_lower(result, c);
  });
  return result;
}

std::string_view strip(std::string_view text, Strip ends) { return strip_where(text, ends, is_space); }

std::string_view strip(std::string_view text, std::string_view characters, Strip ends) {
  std::vector<char32_t> set = decode(characters);
  std::sort(set.begin(), set.end());
  return strip_where(text, ends, [&](char32_t c) { return std::binary_search(set.begin(), set.end(), c); });
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t offset = 0; offset < text.size();) {
    const size_t end = offset;
    const char32_t c = next_code_point(text, offset);
    if (!is_line_break(c)) continue;
    if (c == '\r' && offset < text.size() && text[offset] == '\n') ++offset;
    lines.push_back(text.substr(begin, (keep_ends ? offset : end) - begin));
    begin = offset;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

}  // namespace zaya::text::jinja
