#include "text/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "text/jinja/error.h"
#include "text/jinja/number.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

// "\r\n" and "\r" become "\n", and one newline at the very end is dropped.
std::string normalize_newlines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text += source[i];
    }
  }
  return text;
}

bool is_digit_of(char c, int base) {
  if (c >= '0' && c <= '9') return c - '0' < base;
  const char lower = static_cast<char>(c | 0x20);
  return base == 16 && lower >= 'a' && lower <= 'f';
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalize_newlines(source)) {
    if (!source_.empty() && source_.back() == '\n') source_.pop_back();
  }

  std::vector<Token> run() {
    while (position_ < source_.size()) text_and_tag();
    add(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  bool at(std::string_view text) const { return std::string_view(source_).substr(position_, text.size()) == text; }
  char peek(size_t ahead = 0) const { return position_ + ahead < source_.size() ? source_[position_ + ahead] : '\0'; }

  void advance(size_t count) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(position_),
                                         source_.begin() + static_cast<ptrdiff_t>(position_ + count), '\n'));
    position_ += count;
  }

  // Moves over white space; says whether there was some.
  bool skip_space() {
    size_t end = position_;
    while (end < source_.size()) {
      size_t next = end;
      if (!is_space(next_code_point(source_, next))) break;
      end = next;
    }
    const bool moved = end != position_;
    advance(end - position_);
    return moved;
  }

  void add(TokenKind kind, std::string text) {
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    tokens_.push_back(std::move(token));
  }

  void remember_line_start() { line_starting_ = position_ > 0 && source_[position_ - 1] == '\n'; }

  // The text in front of a tag as it will be printed.
  std::string_view strip_before_tag(std::string_view text, char sign, bool variable) const {
    if (sign == '-') return strip(text, Strip{.left = false, .right = true});
    if (sign == '+' || variable) return text;
    const size_t newline = text.rfind('\n');
    const size_t line_begin = newline == std::string_view::npos ? 0 : newline + 1;
    if (line_begin == 0 && !line_starting_) return text;
    const bool blank = strip(text.substr(line_begin), Strip{}).empty();
    return blank ? text.substr(0, line_begin) : text;
  }

  // Text up to the next tag, then that tag.
  void text_and_tag() {
    size_t tag = source_.find('{', position_);
    while (tag != std::string::npos && tag + 1 < source_.size() && !is_tag_mark(source_[tag + 1])) {
      tag = source_.find('{', tag + 1);
    }
    if (tag == std::string::npos || tag + 1 >= source_.size()) {
      add(TokenKind::data, source_.substr(position_));
      advance(source_.size() - position_);
      return;
    }
    const char mark = source_[tag + 1];
    const char sign =
        tag + 2 < source_.size() && (source_[tag + 2] == '-' || source_[tag + 2] == '+') ? source_[tag + 2] : '\0';
    const std::string_view text = std::string_view(source_).substr(position_, tag - position_);
    const std::string_view kept = strip_before_tag(text, sign, mark == '{');
    if (!kept.empty()) add(TokenKind::data, std::string(kept));
    advance(text.size() + 2 + (sign ? 1 : 0));
    if (mark == '#') {
      comment();
    } else if (mark == '{') {
      add(TokenKind::variable_begin, "{{");
      code(true);
    } else if (!raw()) {
      add(TokenKind::block_begin, "{%");
      code(false);
    }
  }

  static bool is_tag_mark(char c) { return c == '%' || c == '{' || c == '#'; }

  void comment() {
    const int begin = line_;
    const size_t end = source_.find("#}", position_);
    if (end == std::string::npos) fail_syntax("Missing end of comment tag", begin);
    const char sign = end > position_ ? source_[end - 1] : '\0';
    advance(end + 2 - position_);
    after_block(sign);
  }

  // Behind the end of a block or comment that was written with `sign` before it.
  void after_block(char sign) {
    if (sign == '-') {
      skip_space();
    } else if (sign != '+' && peek() == '\n') {
      advance(1);
    }
    remember_line_start();
  }

  // Matches `[+-]?%}` at `end`; its length, or 0.
  size_t block_end_length(size_t end) const {
    const size_t sign = end < source_.size() && (source_[end] == '-' || source_[end] == '+') ? 1 : 0;
    return source_.compare(end + sign, 2, "%}") == 0 && end + sign + 2 <= source_.size() ? sign + 2 : 0;
  }

  size_t space_end(size_t offset) const {
    while (offset < source_.size()) {
      size_t next = offset;
      if (!is_space(next_code_point(source_, next))) break;
      offset = next;
    }
    return offset;
  }

  // {% raw %} … {% endraw %}, behind "{%" and its sign; false when this is another block.
  bool raw() {
    size_t end = space_end(position_);
    if (source_.compare(end, 3, "raw") != 0) return false;
    end = space_end(end + 3);
    const size_t length = block_end_length(end);
    if (length == 0 || source_[end] == '+') return false;
    const int begin = line_;
    const bool strip_right = source_[end] == '-';
    advance(end + length - position_);
    if (strip_right) skip_space();
    remember_line_start();
    for (size_t tag = source_.find("{%", position_); tag != std::string::npos; tag = source_.find("{%", tag + 1)) {
      size_t inside = tag + 2;
      const char sign =
          inside < source_.size() && (source_[inside] == '-' || source_[inside] == '+') ? source_[inside] : '\0';
      inside = space_end(inside + (sign ? 1 : 0));
      if (source_.compare(inside, 6, "endraw") != 0) continue;
      inside = space_end(inside + 6);
      const size_t closing = block_end_length(inside);
      if (closing == 0) continue;
      const std::string_view text = std::string_view(source_).substr(position_, tag - position_);
      const std::string_view kept = strip_before_tag(text, sign, false);
      if (!kept.empty()) add(TokenKind::data, std::string(kept));
      advance(inside + closing - position_);
      after_block(source_[inside]);
      return true;
    }
    fail_syntax("Missing end of raw directive", begin);
  }

  // The inside of {{ }} or {% %}, to its end.
  void code(bool variable) {
    std::string open;  // the closing brackets that are due, innermost last
    while (position_ < source_.size()) {
      if (open.empty()) {
        if (variable && (at("-}}") || at("}}"))) {
          const bool minus = peek() == '-';
          add(TokenKind::variable_end, "}}");
          advance(minus ? 3 : 2);
          if (minus) skip_space();
          remember_line_start();
          return;
        }
        if (const size_t length = variable ? 0 : block_end_length(position_)) {
          const char sign = peek();
          add(TokenKind::block_end, "%}");
          advance(length);
          after_block(sign);
          return;
        }
      }
      if (skip_space()) continue;
      const char c = peek();
      if (c >= '0' && c <= '9') {
        number();
      } else if (c == '\'' || c == '"') {
        string(c);
      } else if (!name()) {
        symbol(open);
      }
    }
    // An open tag at the end of the template: the parser says what it misses.
  }

  // Digits of `base` with single underscores between them; their end.
  size_t digits_end(size_t offset, int base) const {
    while (offset < source_.size()) {
      const size_t digit = source_[offset] == '_' ? offset + 1 : offset;
      if (digit >= source_.size() || !is_digit_of(source_[digit], base)) break;
      offset = digit + 1;
    }
    return offset;
  }

  bool decimal_at(size_t offset) const { return offset < source_.size() && is_digit_of(source_[offset], 10); }

  void number() {
    const size_t begin = position_;
    // A float needs a fraction or an exponent, and no dot before it ("a.1.5" are two subscripts).
    if (begin == 0 || source_[begin - 1] != '.') {
      size_t end = digits_end(begin, 10);
      bool is_float = false;
      if (end < source_.size() && source_[end] == '.' && decimal_at(end + 1)) {
        is_float = true;
        end = digits_end(end + 1, 10);
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        const size_t sign = end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-') ? 1 : 0;
        if (decimal_at(end + 1 + sign)) {
          is_float = true;
          end = digits_end(end + 1 + sign, 10);
        }
      }
      if (is_float) {
        add(TokenKind::floating, source_.substr(begin, end - begin));
        tokens_.back().floating = parse_float(tokens_.back().text).value_or(0);
        advance(end - begin);
        return;
      }
    }
    int base = 10;
    size_t end = begin;
    const char kind = static_cast<char>(peek(1) | 0x20);
    if (peek() == '0' && (kind == 'b' || kind == 'o' || kind == 'x')) {
      base = kind == 'b' ? 2 : kind == 'o' ? 8 : 16;
      end = digits_end(begin + 2, base);
      if (end == begin + 2) base = 10;
    }
    if (base == 10) {
      end = begin + 1;
      if (peek() == '0') {  // only more zeros
        while (end < source_.size() &&
               (source_[end] == '0' || (source_[end] == '_' && end + 1 < source_.size() && source_[end + 1] == '0'))) {
          ++end;
        }
      } else {
        end = digits_end(end, 10);
      }
    }
    std::string digits = source_.substr(base == 10 ? begin : begin + 2, end - (base == 10 ? begin : begin + 2));
    digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
    add(TokenKind::integer, source_.substr(begin, end - begin));
    Token& token = tokens_.back();
    const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), token.integer, base);
    if (error != std::errc() || rest != digits.data() + digits.size()) {
      throw Error{Code::unsupported, "the integer " + token.text + " needs more than 64 bits", line_};
    }
    advance(end - begin);
  }

  bool name() {
    size_t end = position_;
    while (end < source_.size()) {
      size_t next = end;
      const char32_t c = next_code_point(source_, next);
      if (c != '_' && !is_alnum(c)) break;
      end = next;
    }
    if (end == position_) return false;
    add(TokenKind::name, source_.substr(position_, end - position_));
    advance(end - position_);
    return true;
  }

  void symbol(std::string& open) {
    static constexpr std::string_view kSymbols[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                    "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                    ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (std::string_view candidate : kSymbols) {
      if (!at(candidate)) continue;
      const char c = candidate[0];
      if (c == '(') open += ')';
      if (c == '[') open += ']';
      if (c == '{') open += '}';
      if (c == ')' || c == ']' || c == '}') {
        if (open.empty()) fail_syntax("unexpected '" + std::string(candidate) + "'", line_);
        if (open.back() != c) {
          fail_syntax("unexpected '" + std::string(candidate) + "', expected '" + open.back() + "'", line_);
        }
        open.pop_back();
      }
      add(TokenKind::symbol, std::string(candidate));
      advance(candidate.size());
      return;
    }
    size_t end = position_;
    next_code_point(source_, end);
    fail_syntax("unexpected char '" + source_.substr(position_, end - position_) + "'", line_);
  }

  void string(char quote) {
    size_t end = position_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail_syntax("unexpected char '" + std::string(1, quote) + "'", line_);
    add(TokenKind::string, unescape(std::string_view(source_).substr(position_ + 1, end - position_ - 1)));
    advance(end + 1 - position_);
  }

  // Python's escapes in string literals.
  std::string unescape(std::string_view text) const {
    std::string result;
    for (size_t i = 0; i < text.size();) {
      if (text[i] != '\\') {
        result += text[i++];
        continue;
      }
      const char c = text[i + 1];  // a backslash is never the last character of a literal
      i += 2;
      switch (c) {
        case '\n': break;
        case '\\':
        case '\'':
        case '"': result += c; break;
        case 'a': result += '\a'; break;
        case 'b': result += '\b'; break;
        case 'f': result += '\f'; break;
        case 'n': result += '\n'; break;
        case 'r': result += '\r'; break;
        case 't': result += '\t'; break;
        case 'v': result += '\v'; break;
        case 'x': append_hex(result, text, i, 2); break;
        case 'u': append_hex(result, text, i, 4); break;
        case 'U': append_hex(result, text, i, 8); break;
        case 'N': fail_unsupported("the escape \\N{…}", line_);
        default:
          if (c >= '0' && c <= '7') {
            char32_t code = static_cast<char32_t>(c - '0');
            for (int n = 1; n < 3 && i < text.size() && text[i] >= '0' && text[i] <= '7'; ++n) {
              code = code * 8 + static_cast<char32_t>(text[i++] - '0');
            }
            append_utf8(result, code);
          } else if (static_cast<unsigned char>(c) < 0x80) {
            result += '\\';
            result += c;
          } else {
            --i;
            append_escaped(result, next_code_point(text, i));
          }
      }
    }
    return result;
  }

  void append_hex(std::string& result, std::string_view text, size_t& i, size_t digits) const {
    uint32_t code = 0;
    for (size_t n = 0; n < digits; ++n, ++i) {
      if (i >= text.size() || !is_digit_of(text[i], 16)) fail_syntax("truncated \\x, \\u or \\U escape", line_);
      const char c = text[i];
      code = code * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    if (code > 0x10FFFF) fail_syntax("illegal Unicode character in an escape", line_);
    if (code >= 0xD800 && code <= 0xDFFF) fail_unsupported("a lone surrogate in a string", line_);
    append_utf8(result, code);
  }

  // jinja2 spells code points beyond ASCII as escapes before it reads the escapes, so a backslash in front of one
  // leaves that spelling in the string.
  static void append_escaped(std::string& result, char32_t c) {
    static constexpr char kHex[] = "0123456789abcdef";
    const int digits = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
    result += digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U";
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) result += kHex[(c >> shift) & 15];
  }

  std::string source_;
  size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::data: return "text";
    case TokenKind::block_begin: return "the begin of a block";
    case TokenKind::block_end: return "the end of a block";
    case TokenKind::variable_begin: return "the begin of a print statement";
    case TokenKind::variable_end: return "the end of a print statement";
    case TokenKind::end: return "the end of the template";
    case TokenKind::string: return "a string";
    default: return "'" + token.text + "'";
  }
}

}  // namespace zaya::text::jinja
