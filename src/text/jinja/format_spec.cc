#include "text/jinja/format_spec.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/jinja/error.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/text.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

constexpr int64_t kMaxPrecision = 500;

std::string digits_of(uint64_t magnitude, unsigned base, bool upper_case) {
  const char* const digits = upper_case ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string text;
  do {
    text.insert(text.begin(), digits[magnitude % base]);
    magnitude /= base;
  } while (magnitude);
  return text;
}

std::string format_float(double value, const Spec& spec) {
  if (!std::isfinite(value)) {
    std::string text = std::isnan(value) ? "nan" : "inf";
    return spec.conversion < 'a' ? upper(text) : text;
  }
  const int64_t precision = spec.precision.value_or(6);
  if (precision > kMaxPrecision) fail_limit("a precision of more than " + std::to_string(kMaxPrecision));
  const std::string format = std::string("%") + (spec.alternate ? "#" : "") + ".*" + spec.conversion;
  char buffer[1024];
  std::snprintf(buffer, sizeof(buffer), format.c_str(), static_cast<int>(precision), std::fabs(value));
  return buffer;
}

// The number for %d, %x, …
int64_t integer_argument(const Value& value, char conversion) {
  require_defined(value);
  if (value.is_integral()) return value.as_integer();
  const bool decimal = conversion == 'd' || conversion == 'i' || conversion == 'u';
  if (decimal && value.is(Kind::floating)) {
    const double d = value.as_double();
    if (!std::isfinite(d)) fail("cannot convert float to integer");
    if (d >= 0x1p63 || d < -0x1p63) fail_unsupported("an integer of more than 64 bits");
    return static_cast<int64_t>(d);
  }
  fail(std::string("%") + conversion + " format: " + (decimal ? "a real number" : "an integer") + " is required, not " +
       std::string(type_name(value)));
}

std::string pad_text(const Spec& spec, std::string text) {
  const int64_t room = std::max<int64_t>(0, spec.width - static_cast<int64_t>(count_code_points(text)));
  return spec.left ? text + repeat(" ", room) : repeat(" ", room) + text;
}

}  // namespace

std::string pad_number(const Spec& spec, bool negative, const std::string& prefix, std::string digits) {
  const std::string sign = negative ? "-" : spec.plus ? "+" : spec.blank ? " " : "";
  const auto size = static_cast<int64_t>(sign.size() + prefix.size() + digits.size());
  const int64_t room = std::max<int64_t>(0, spec.width - size);
  if (spec.left) return sign + prefix + digits + repeat(" ", room);
  if (spec.zero) return sign + prefix + repeat("0", room) + digits;
  return repeat(" ", room) + sign + prefix + digits;
}

std::string convert(const Spec& spec, const Value& value, bool markup) {
  switch (spec.conversion) {
    case 's':
    case 'r':
    case 'a': {
      if (spec.conversion == 'a') fail_unsupported("the format %a");
      std::string text = spec.conversion == 'r' ? repr(value) : to_text(value);
      if (markup) text = spec.conversion == 's' ? escape(value).text() : escape(text);
      if (spec.precision) text = text.substr(0, byte_offset(text, static_cast<size_t>(*spec.precision)));
      return pad_text(spec, std::move(text));
    }
    case 'c': {
      require_defined(value);
      if (value.is_string() && value.as_string().length == 1) return pad_text(spec, value.text());
      if (!value.is_integral()) fail("%c requires int or char");
      const int64_t code = value.as_integer();
      if (code < 0 || code > 0x10FFFF) fail("%c arg not in range(0x110000)");
      if (code >= 0xD800 && code <= 0xDFFF) fail_unsupported("a lone surrogate in a string");
      std::string text;
      append_utf8(text, static_cast<char32_t>(code));
      return pad_text(spec, std::move(text));
    }
    case 'd':
    case 'i':
    case 'u':
    case 'o':
    case 'x':
    case 'X': {
      const int64_t number = integer_argument(value, spec.conversion);
      const uint64_t magnitude = number < 0 ? ~static_cast<uint64_t>(number) + 1 : static_cast<uint64_t>(number);
      const unsigned base = spec.conversion == 'o' ? 8 : spec.conversion == 'x' || spec.conversion == 'X' ? 16 : 10;
      std::string digits = digits_of(magnitude, base, spec.conversion == 'X');
      const int64_t zeros = spec.precision.value_or(0) - static_cast<int64_t>(digits.size());
      if (zeros > 0) digits = repeat("0", zeros) + digits;
      const std::string prefix = !spec.alternate || base == 10 ? ""
                                 : base == 8                   ? "0o"
                                 : spec.conversion == 'x'      ? "0x"
                                                               : "0X";
      return pad_number(spec, number < 0, prefix, std::move(digits));
    }
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G': {
      require_defined(value);
      if (!value.is_number()) fail("must be real number, not " + std::string(type_name(value)));
      const double number = value.as_double();
      Spec finite = spec;
      if (!std::isfinite(number)) finite.zero = false;
      return pad_number(finite, std::signbit(number) && !std::isnan(number), "", format_float(number, spec));
    }
    default: fail(std::string("unsupported format character '") + spec.conversion + "'");
  }
}

}  // namespace zaya::text::jinja
