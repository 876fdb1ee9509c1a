// Template text to tokens, with jinja2's white space rules for trim_blocks and lstrip_blocks: a block tag takes the
// newline behind it and the blanks before it on its line; "-" takes all white space on its side, "+" none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace zaya::text::jinja {

enum class TokenKind : uint8_t {
  data,  // text outside of tags
  block_begin,
  block_end,
  variable_begin,
  variable_end,
  name,
  string,
  integer,
  floating,
  symbol,  // an operator or a bracket
  end,     // of the template
};

struct Token {
  TokenKind kind = TokenKind::end;
  int line = 1;
  std::string text;  // data, name, symbol: as written; string: its value
  int64_t integer = 0;
  double floating = 0;

  bool is_symbol(std::string_view symbol) const { return kind == TokenKind::symbol && text == symbol; }
  bool is_name(std::string_view name) const { return kind == TokenKind::name && text == name; }
};

// Throws Error (malformed) with the line. The result ends with a token of kind end. `source` is valid UTF-8.
std::vector<Token> tokenize(std::string_view source);

// For error messages: "the end of the template", "'}}'", "'name'", …
std::string describe(const Token& token);

}  // namespace zaya::text::jinja
