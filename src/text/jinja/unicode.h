// UTF-8 text as Python sees it: code points, white space, letter case. Property tables: unicode_tables.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace zaya::text::jinja {

bool valid_utf8(std::string_view text);

// All below expect valid UTF-8.
size_t count_code_points(std::string_view text);
// The code point that begins at `offset`; moves `offset` behind it.
char32_t next_code_point(std::string_view text, size_t& offset);
// The code point that ends at `offset` (not 0); moves `offset` to its beginning.
char32_t previous_code_point(std::string_view text, size_t& offset);
void append_utf8(std::string& text, char32_t code_point);
std::vector<char32_t> decode(std::string_view text);
// The offset in bytes of the code point number `index`, at most the text's size.
size_t byte_offset(std::string_view text, size_t index);

// str.isspace of one code point
bool is_space(char32_t c);
// What str.splitlines splits at.
bool is_line_break(char32_t c);
// str.isprintable of one code point: repr() shows it as it is.
bool is_printable(char32_t c);
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);  // str.isdecimal
bool is_digit(char32_t c);    // str.isdigit
bool is_numeric(char32_t c);  // str.isnumeric
inline bool is_alnum(char32_t c) { return is_alpha(c) || is_numeric(c); }
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_title(char32_t c);  // category Lt
// str.isupper, str.islower of a whole text
bool all_cased(std::string_view text, bool upper_case);

// str.upper, str.lower, str.capitalize, str.title, str.swapcase, str.casefold
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);
std::string swap_case(std::string_view text);
std::string case_fold(std::string_view text);

// str.strip: which ends of `text` lose white space, or the code points of `characters`.
struct Strip {
  bool left = true, right = true;
};
std::string_view strip(std::string_view text, Strip ends);
std::string_view strip(std::string_view text, std::string_view characters, Strip ends);

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

}  // namespace zaya::text::jinja
