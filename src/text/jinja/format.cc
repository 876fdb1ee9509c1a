#include "text/jinja/format.h"

#include <cmath>
#include <optional>

#include "text/jinja/attributes.h"
#include "text/jinja/error.h"
#include "text/jinja/format_spec.h"
#include "text/jinja/meter.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/text.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

class PercentFormatter {
 public:
  PercentFormatter(const Value& format, const Value& arguments)
      : text_(format.text()), markup_(format.as_string().markup), arguments_(arguments) {}

  std::string run() {
    spend_text(text_.size());
    while (position_ < text_.size()) {
      const size_t percent = text_.find('%', position_);
      add(text_.substr(position_, percent == std::string_view::npos ? percent : percent - position_));
      if (percent == std::string_view::npos) break;
      position_ = percent + 1;
      conversion();
    }
    // A mapping need not be used; every other argument must be.
    const bool mapping = arguments_.is(Kind::dict) || arguments_.is(Kind::list) || arguments_.as<RangeObject>() ||
                         arguments_.is_undefined();
    if (arguments_.is(Kind::tuple) ? next_ < arguments_.items().size() : next_ == 0 && !mapping) {
      fail("not all arguments converted during string formatting");
    }
    return std::move(result_);
  }

 private:
  char peek() const {
    if (position_ >= text_.size()) fail("incomplete format");
    return text_[position_];
  }

  const Value& next_argument() {
    const size_t count = arguments_.is(Kind::tuple) ? arguments_.items().size() : 1;
    if (next_ >= count) fail("not enough arguments for format string");
    const size_t i = next_++;
    return arguments_.is(Kind::tuple) ? arguments_.items()[i] : arguments_;
  }

  int64_t number_or_star(bool& negative) {
    if (peek() == '*') {
      ++position_;
      const Value& value = next_argument();
      if (!value.is_integral()) fail("* wants int");
      int64_t number = value.as_integer();
      negative = number < 0;
      number = negative ? -std::max(number, -kMaxWidth - 1) : number;
      return std::min(number, kMaxWidth + 1);
    }
    int64_t number = 0;
    while (peek() >= '0' && peek() <= '9') number = std::min(number * 10 + (text_[position_++] - '0'), kMaxWidth + 1);
    return number;
  }

  void conversion() {
    Spec spec;
    Value value;
    if (peek() == '(') {
      int depth = 1;
      const size_t begin = ++position_;
      for (; depth > 0; ++position_) {
        if (position_ >= text_.size()) fail("incomplete format key");
        if (text_[position_] == '(') ++depth;
        if (text_[position_] == ')') --depth;
      }
      if (!arguments_.is(Kind::dict)) fail("format requires a mapping");
      const std::string key(text_.substr(begin, position_ - 1 - begin));
      const Value* found = arguments_.as_dict().find(key);
      if (!found) fail("the format's key " + repr_text(key) + " is missing");
      value = *found;
      next_ = 1;
    }
    for (bool flag = true; flag;) {
      switch (peek()) {
        case '-': spec.left = true; break;
        case '+': spec.plus = true; break;
        case ' ': spec.blank = true; break;
        case '#': spec.alternate = true; break;
        case '0': spec.zero = true; break;
        default: flag = false;
      }
      if (flag) ++position_;
    }
    bool negative = false;
    spec.width = number_or_star(negative);
    if (negative) spec.left = true;
    if (peek() == '.') {
      ++position_;
      negative = false;
      const int64_t precision = number_or_star(negative);
      spec.precision = negative ? 0 : precision;
    }
    if (spec.width > kMaxWidth || spec.precision.value_or(0) > kMaxWidth) {
      fail_limit("a format's width of more than " + std::to_string(kMaxWidth));
    }
    while (peek() == 'l' || peek() == 'h' || peek() == 'L') ++position_;
    spec.conversion = peek();
    ++position_;
    if (spec.conversion == '%') return add("%");
    if (value.is_missing()) value = next_argument();
    add(convert(spec, value, markup_));
  }

  void add(std::string_view text) {
    check_text_size(uint64_t{result_.size()} + text.size());
    spend_text(text.size());
    result_ += text;
  }

  std::string_view text_;
  bool markup_;
  const Value& arguments_;
  size_t position_ = 0, next_ = 0;
  std::string result_;
};

// ---- str.format ----

class BraceFormatter {
 public:
  BraceFormatter(const Value& format, Arguments& arguments)
      : text_(format.text()), markup_(format.as_string().markup), arguments_(arguments) {}

  std::string run() {
    spend_text(text_.size());
    while (position_ < text_.size()) {
      const char c = text_[position_++];
      const bool doubled = position_ < text_.size() && text_[position_] == c;
      if ((c == '{' || c == '}') && doubled) {
        ++position_;
        result_ += c;
      } else if (c == '{') {
        field();
      } else if (c == '}') {
        fail("Single '}' encountered in format string");
      } else {
        result_ += c;
      }
    }
    check_text_size(result_.size());
    return std::move(result_);
  }

 private:
  void field() {
    const size_t end = text_.find_first_of("{}", position_);
    if (end == std::string_view::npos) fail("expected '}' before end of string");
    if (text_[end] == '{') fail_unsupported("a field within a field of str.format");
    std::string_view field = text_.substr(position_, end - position_);
    position_ = end + 1;
    std::string_view spec, conversion;
    if (const size_t colon = field.find(':'); colon != std::string_view::npos) {
      spec = field.substr(colon + 1);
      field = field.substr(0, colon);
    }
    if (const size_t mark = field.find('!'); mark != std::string_view::npos) {
      conversion = field.substr(mark + 1);
      field = field.substr(0, mark);
    }
    Value value = lookup(field);
    if (conversion == "r") {
      value = Value::string(repr(value));
    } else if (conversion == "s") {
      value = to_string_value(value);
    } else if (!conversion.empty()) {
      fail("Unknown conversion specifier '" + std::string(conversion) + "'");
    }
    const std::string text = spec.empty() ? to_text(value) : with_spec(value, spec);
    check_text_size(uint64_t{result_.size()} + text.size());
    result_ += markup_ ? escape(Value::string(text)).text() : text;
  }

  // "0.name[key]"
  Value lookup(std::string_view field) {
    const size_t end = std::min(field.find_first_of(".["), field.size());
    const std::string first(field.substr(0, end));
    field.remove_prefix(end);
    Value value = argument(first);
    while (!field.empty()) {
      if (field[0] == '.') {
        const size_t stop = std::min(field.find_first_of(".[", 1), field.size());
        if (stop == 1) fail("Empty attribute in format string");
        value = get_attribute(value, field.substr(1, stop - 1));
        field.remove_prefix(stop);
      } else {
        const size_t stop = field.find(']');
        if (field[0] != '[' || stop == std::string_view::npos || stop == 1) fail("Empty attribute in format string");
        const std::string key(field.substr(1, stop - 1));
        const auto number = all_digits(key) ? parse_integer(key, 10) : std::nullopt;
        value = get_item(value, number ? Value::integer(*number) : Value::string(key));
        field.remove_prefix(stop + 1);
      }
    }
    return value;
  }

  static bool all_digits(const std::string& text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  }

  Value argument(const std::string& name) {
    int64_t index = 0;
    if (name.empty()) {
      if (numbered_ == Numbered::by_template)
        fail("cannot switch from manual field specification to automatic field numbering");
      numbered_ = Numbered::by_position;
      index = next_++;
    } else if (all_digits(name)) {
      if (numbered_ == Numbered::by_position)
        fail("cannot switch from automatic field numbering to manual field specification");
      numbered_ = Numbered::by_template;
      index = parse_integer(name, 10).value_or(-1);
    } else {
      for (const auto& [keyword, value] : arguments_.keywords) {
        if (keyword == name) return value;
      }
      fail("the format's key " + repr_text(name) + " is missing");
    }
    if (index >= static_cast<int64_t>(arguments_.positional.size())) {
      fail("Replacement index " + std::to_string(index) + " out of range for positional args tuple");
    }
    return arguments_.positional[static_cast<size_t>(index)];
  }

  // [[fill]align][sign][0][width][.precision][type] for strings and numbers.
  static std::string with_spec(const Value& value, std::string_view spec_text) {
    Spec spec;
    spec.conversion = '\0';
    char align = '\0';
    std::string fill = " ";
    size_t first = 0;
    next_code_point(spec_text, first);
    const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
    if (first < spec_text.size() && is_align(spec_text[first])) {
      fill = spec_text.substr(0, first);
      align = spec_text[first];
      spec_text.remove_prefix(first + 1);
    } else if (is_align(spec_text[0])) {
      align = spec_text[0];
      spec_text.remove_prefix(1);
    }
    const auto take = [&](char c) {
      if (spec_text.empty() || spec_text[0] != c) return false;
      spec_text.remove_prefix(1);
      return true;
    };
    const auto number = [&] {
      int64_t n = 0;
      while (!spec_text.empty() && spec_text[0] >= '0' && spec_text[0] <= '9') {
        n = std::min(n * 10 + (spec_text[0] - '0'), kMaxWidth + 1);
        spec_text.remove_prefix(1);
      }
      if (n > kMaxWidth) fail_limit("a format's width of more than " + std::to_string(kMaxWidth));
      return n;
    };
    if (take('+')) {
      spec.plus = true;
    } else if (take(' ')) {
      spec.blank = true;
    } else {
      take('-');
    }
    if (take('0')) spec.zero = true;
    spec.width = number();
    if (take('.')) spec.precision = number();
    if (!spec_text.empty() && std::string_view("sdeEfFgGxXob").find(spec_text[0]) != std::string_view::npos) {
      spec.conversion = spec_text[0];
      spec_text.remove_prefix(1);
    }
    if (!spec_text.empty()) fail_unsupported("the format specifier '" + std::string(spec_text) + "'");
    return apply_spec(value, spec, align, fill);
  }

  static std::string apply_spec(const Value& value, Spec spec, char align, const std::string& fill) {
    const int64_t width = std::exchange(spec.width, 0);
    const bool integral = value.is_integral() && !value.is(Kind::boolean);
    std::string text;
    if (value.is_string() && (spec.conversion == '\0' || spec.conversion == 's')) {
      if (spec.plus || spec.blank || spec.zero || align == '=') fail_unsupported("this format specifier for a string");
      spec.conversion = 's';
      text = convert(spec, value, false);
      if (!align) align = '<';
    } else if (value.is_number() && !value.is(Kind::boolean) && spec.conversion != 's' && spec.conversion != 'b') {
      if (spec.conversion == '\0') {
        if (!integral && spec.precision) fail_unsupported("a precision without a type in a format specifier");
        spec.conversion = integral ? 'd' : 'r';
      }
      if (integral && spec.precision && spec.conversion == 'd')
        fail("Precision not allowed in integer format specifier");
      if (spec.conversion == 'd' && !integral) fail("Unknown format code 'd' for object of type 'float'");
      if (spec.conversion == 'r') {
        const double number = value.as_double();
        const std::string digits = float_text(std::fabs(number));
        if (spec.zero && !align) spec.width = width;
        text = pad_number(spec, std::signbit(number), "", digits);
      } else {
        if (spec.zero && !align) spec.width = width;
        text = convert(spec, value, false);
      }
      if (!align) align = '>';
    } else {
      fail_unsupported("this format specifier for '" + std::string(type_name(value)) + "'");
    }
    if (align == '=') fail_unsupported("the alignment '=' in a format specifier");
    const int64_t room = std::max<int64_t>(0, width - static_cast<int64_t>(count_code_points(text)));
    const int64_t left = align == '>' ? room : align == '<' ? 0 : room / 2;
    return repeat(fill, left) + text + repeat(fill, room - left);
  }

  enum class Numbered { not_yet, by_position, by_template };

  std::string_view text_;
  bool markup_;
  Arguments& arguments_;
  size_t position_ = 0;
  int64_t next_ = 0;
  Numbered numbered_ = Numbered::not_yet;
  std::string result_;
};

}  // namespace

Value format_percent(const Value& format, const Value& arguments) {
  return Value::string(PercentFormatter(format, arguments).run(), format.as_string().markup);
}

std::string format_braces(const Value& format, Arguments& arguments) { return BraceFormatter(format, arguments).run(); }

}  // namespace zaya::text::jinja
