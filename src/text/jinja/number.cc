#include "text/jinja/number.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "text/jinja/error.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

// Drops the underscores that stand between two digits; nothing when one stands elsewhere.
std::optional<std::string> without_underscores(std::string_view text, bool (*digit)(char)) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      plain += text[i];
    } else if (i == 0 || i + 1 == text.size() || !digit(text[i - 1]) || !digit(text[i + 1])) {
      return std::nullopt;
    }
  }
  return plain;
}

// The exponent behind the "e" of a number in scientific form.
int exponent_of(std::string_view scientific) {
  std::string_view digits = scientific.substr(scientific.find('e') + 1);
  if (!digits.empty() && digits[0] == '+') digits.remove_prefix(1);
  int exponent = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
  return exponent;
}

}  // namespace

std::optional<double> parse_float(std::string_view text) {
  const auto plain = without_underscores(strip(text, Strip{}), [](char c) { return c >= '0' && c <= '9'; });
  if (!plain || plain->empty()) return std::nullopt;
  std::string_view digits = *plain;
  const bool negative = digits[0] == '-';
  if (negative || digits[0] == '+') digits.remove_prefix(1);
  const std::string word = lower(digits);
  double value = 0;
  if (word == "inf" || word == "infinity") {
    value = HUGE_VAL;
  } else if (word == "nan") {
    value = NAN;
  } else {
    // from_chars reads "inf" and "nan(…)" too, and a second sign must not pass.
    if (word.empty() || word.find_first_not_of("0123456789.e+-") != std::string::npos || word[0] == '+' ||
        word[0] == '-') {
      return std::nullopt;
    }
    const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (rest != word.data() + word.size() || error == std::errc::invalid_argument) return std::nullopt;
    if (error == std::errc::result_out_of_range) value = std::strtod(word.c_str(), nullptr);  // 0 or infinity
  }
  return negative ? -value : value;
}

std::optional<int64_t> parse_integer(std::string_view text, int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  std::string_view digits = strip(text, Strip{});
  const bool negative = !digits.empty() && digits[0] == '-';
  if (negative || (!digits.empty() && digits[0] == '+')) digits.remove_prefix(1);
  bool prefixed = false;
  if (digits.size() > 1 && digits[0] == '0') {
    const char kind = static_cast<char>(digits[1] | 0x20);
    const int64_t prefix_base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
    if (prefix_base != 0 && (base == 0 || base == prefix_base)) {
      base = prefix_base;
      prefixed = true;
      digits.remove_prefix(2);
      if (!digits.empty() && digits[0] == '_') digits.remove_prefix(1);
    }
  }
  const auto plain = without_underscores(
      digits, [](char c) { return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'); });
  if (!plain || plain->empty() || plain->front() == '-' || plain->front() == '+') return std::nullopt;
  if (base == 0) {
    base = 10;
    if (!prefixed && plain->front() == '0' && plain->find_first_not_of('0') != std::string::npos) return std::nullopt;
  }
  const std::string signed_text = (negative ? "-" : "") + *plain;
  int64_t value = 0;
  const auto [rest, error] =
      std::from_chars(signed_text.data(), signed_text.data() + signed_text.size(), value, static_cast<int>(base));
  if (rest != signed_text.data() + signed_text.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range)
    fail_unsupported("an integer of more than 64 bits (" + signed_text.substr(0, 40) + ")");
  if (error != std::errc()) return std::nullopt;
  return value;
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  std::string_view shortest(buffer, static_cast<size_t>(end - buffer));  // [-]d[.ddd]e±dd
  std::string text;
  if (shortest[0] == '-') {
    text = "-";
    shortest.remove_prefix(1);
  }
  const size_t e = shortest.find('e');
  const int exponent = exponent_of(shortest);
  std::string digits(1, shortest[0]);
  if (e > 2) digits += shortest.substr(2, e - 2);
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    text += digits[0];
    if (count > 1) text += "." + digits.substr(1);
    const int magnitude = std::abs(exponent);
    return text + (exponent < 0 ? "e-" : "e+") + (magnitude < 10 ? "0" : "") + std::to_string(magnitude);
  }
  if (exponent < 0) return text + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1) return text + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  return text + digits.substr(0, static_cast<size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<size_t>(exponent) + 1);
}

double round_float(double value, int64_t digits) {
  if (!std::isfinite(value) || value == 0 || digits > 330) return value;
  if (digits < -330) return std::copysign(0.0, value);
  // The C library prints the exact binary value correctly rounded, half to even: round there, in decimal.
  char buffer[1024];
  if (digits >= 0) {
    std::snprintf(buffer, sizeof(buffer), "%.*f", static_cast<int>(digits), value);
    return std::strtod(buffer, nullptr);
  }
  std::snprintf(buffer, sizeof(buffer), "%.17e", value);
  const int exponent = exponent_of(buffer);
  const int64_t significant = exponent + 1 + digits;  // digits to keep
  if (significant < 0) return std::copysign(0.0, value);
  if (significant == 0) {  // up only beyond half of the unit
    return std::fabs(value) > std::strtod(("5e" + std::to_string(exponent)).c_str(), nullptr)
               ? std::copysign(std::strtod(("1e" + std::to_string(exponent + 1)).c_str(), nullptr), value)
               : std::copysign(0.0, value);
  }
  std::snprintf(buffer, sizeof(buffer), "%.*e", static_cast<int>(significant - 1), value);
  return std::strtod(buffer, nullptr);
}

}  // namespace zaya::text::jinja
