#include "text/jinja/operators.h"

#include <cmath>
#include <limits>

#include "base/checked.h"
#include "text/jinja/error.h"
#include "text/jinja/format.h"
#include "text/jinja/meter.h"
#include "text/jinja/objects.h"
#include "text/jinja/text.h"

namespace zaya::text::jinja {
namespace {

using Operator = Binary::Operator;

const char* symbol(Operator op) {
  switch (op) {
    case Operator::add: return "+";
    case Operator::subtract: return "-";
    case Operator::multiply: return "*";
    case Operator::divide: return "/";
    case Operator::floor_divide: return "//";
    case Operator::modulo: return "%";
    case Operator::power: return "** or pow()";
  }
  return "?";
}

[[noreturn]] void fail_overflow() { fail_unsupported("an integer of more than 64 bits"); }

Value checked(std::optional<int64_t> value) {
  if (!value) fail_overflow();
  return Value::integer(*value);
}

Value floor_divide_integers(int64_t a, int64_t b) {
  if (b == 0) fail("integer division or modulo by zero");
  if (b == -1) return checked(a == std::numeric_limits<int64_t>::min() ? std::nullopt : std::optional<int64_t>(-a));
  const int64_t quotient = a / b;
  return Value::integer(a % b != 0 && (a % b < 0) != (b < 0) ? quotient - 1 : quotient);
}

Value modulo_integers(int64_t a, int64_t b) {
  if (b == 0) fail("integer modulo by zero");
  if (b == -1) return Value::integer(0);
  const int64_t remainder = a % b;
  return Value::integer(remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder);
}

Value power_integers(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) fail("0.0 cannot be raised to a negative power");
    return Value::floating(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  std::optional<int64_t> result = 1;
  std::optional<int64_t> square = base;
  for (; exponent > 0 && result; exponent >>= 1) {
    if (exponent & 1) result = square ? checked_mul(*result, *square) : std::nullopt;
    if (square) square = checked_mul(*square, *square);
  }
  return checked(result);
}

// Python's quotient and remainder of floats: the remainder has the divisor's sign.
std::pair<double, double> divide_floats(double a, double b) {
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (quotient == 0) return {std::copysign(0.0, a / b), remainder};
  double whole = std::floor(quotient);
  if (quotient - whole > 0.5) whole += 1;
  return {whole, remainder};
}

Value power_floats(double base, double exponent) {
  if (base == 0 && exponent < 0) fail("0.0 cannot be raised to a negative power");
  if (base < 0 && std::isfinite(base) && std::isfinite(exponent) && exponent != std::floor(exponent)) {
    fail_unsupported("a complex number");
  }
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent)) fail("Numerical result out of range");
  return Value::floating(result);
}

Value divide(const Value& left, const Value& right) {
  const double b = right.as_double();
  if (b == 0) fail("division by zero");
  if (left.is_integral() && right.is_integral()) {
    // In more digits than a double has, for integers beyond 2^53.
    return Value::floating(static_cast<double>(static_cast<long double>(left.as_integer()) / right.as_integer()));
  }
  return Value::floating(left.as_double() / b);
}

Value apply_integers(Operator op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case Operator::add: return checked(checked_add(a, b));
    case Operator::subtract:
      if (__builtin_sub_overflow(a, b, &result)) fail_overflow();
      return Value::integer(result);
    case Operator::multiply: return checked(checked_mul(a, b));
    case Operator::floor_divide: return floor_divide_integers(a, b);
    case Operator::modulo: return modulo_integers(a, b);
    case Operator::power: return power_integers(a, b);
    case Operator::divide: break;
  }
  return divide(Value::integer(a), Value::integer(b));
}

Value apply_floats(Operator op, double a, double b) {
  switch (op) {
    case Operator::add: return Value::floating(a + b);
    case Operator::subtract: return Value::floating(a - b);
    case Operator::multiply: return Value::floating(a * b);
    case Operator::floor_divide:
      if (b == 0) fail("float floor division by zero");
      return Value::floating(divide_floats(a, b).first);
    case Operator::modulo:
      if (b == 0) fail("float modulo");
      return Value::floating(divide_floats(a, b).second);
    case Operator::power: return power_floats(a, b);
    case Operator::divide: break;
  }
  return divide(Value::floating(a), Value::floating(b));
}

Value add_strings(const StringObject& a, const StringObject& b) {
  check_text_size(uint64_t{a.text.size()} + b.text.size());
  if (!a.markup && !b.markup) return Value::string(a.text + b.text);
  return Value::string((a.markup ? a.text : escape(a.text)) + (b.markup ? b.text : escape(b.text)), true);
}

Value multiply_sequence(const Value& sequence, const Value& amount) {
  const int64_t times = std::max<int64_t>(0, amount.as_integer());
  if (sequence.is_string()) return Value::string(repeat(sequence.text(), times), sequence.as_string().markup);
  const auto& items = sequence.items();
  const auto size = checked_mul(static_cast<int64_t>(items.size()), times);
  // Charged before it is built; the list itself is charged for its bytes.
  if (!size) fail_limit("a list is too long");
  spend(static_cast<uint64_t>(*size));
  if (Meter* meter = Meter::current()) {
    const size_t bytes = static_cast<size_t>(*size) * sizeof(Value);
    meter->hold(bytes);
    meter->release(bytes);
  }
  std::vector<Value> repeated;
  repeated.reserve(static_cast<size_t>(*size));
  for (int64_t i = 0; i < times && !items.empty(); ++i) repeated.insert(repeated.end(), items.begin(), items.end());
  return sequence.is(Kind::list) ? Value::list(std::move(repeated)) : Value::tuple(std::move(repeated));
}

bool repeatable(const Value& value) { return value.is_string() || value.is_sequence(); }

}  // namespace

std::string repeat(std::string_view text, int64_t amount) {
  const auto size = checked_mul(static_cast<int64_t>(text.size()), std::max<int64_t>(0, amount));
  check_text_size(size ? static_cast<uint64_t>(*size) : ~uint64_t{0});
  std::string repeated;
  if (*size == 0) return repeated;
  repeated.reserve(static_cast<size_t>(*size));
  for (int64_t i = 0; i < amount; ++i) repeated += text;
  return repeated;
}

Value apply(Operator op, const Value& left, const Value& right) {
  if (left.is_number() && right.is_number()) {
    if (left.is_integral() && right.is_integral()) return apply_integers(op, left.as_integer(), right.as_integer());
    return apply_floats(op, left.as_double(), right.as_double());
  }
  if (op == Operator::modulo && left.is_string()) return format_percent(left, right);
  require_defined(left);
  require_defined(right);
  if (op == Operator::add) {
    if (left.is_string() && right.is_string()) return add_strings(left.as_string(), right.as_string());
    if (left.is_sequence() && left.kind() == right.kind()) {
      std::vector<Value> items = left.items();
      spend(items.size() + right.items().size());
      items.insert(items.end(), right.items().begin(), right.items().end());
      return left.is(Kind::list) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
    }
  }
  if (op == Operator::multiply) {
    if (repeatable(left) && right.is_integral()) return multiply_sequence(left, right);
    if (left.is_integral() && repeatable(right)) return multiply_sequence(right, left);
  }
  fail(std::string("unsupported operand type(s) for ") + symbol(op) + ": '" + std::string(type_name(left)) + "' and '" +
       std::string(type_name(right)) + "'");
}

Value apply(Unary::Operator op, const Value& operand) {
  if (op == Unary::Operator::logical_not) return Value::boolean(!truthy(operand));
  require_defined(operand);
  const bool negative = op == Unary::Operator::negative;
  if (operand.is_integral()) {
    const int64_t i = operand.as_integer();
    if (negative && i == std::numeric_limits<int64_t>::min()) fail_overflow();
    return Value::integer(negative ? -i : i);
  }
  if (operand.is(Kind::floating)) return Value::floating(negative ? -operand.as_double() : operand.as_double());
  fail(std::string("bad operand type for unary ") + (negative ? "-" : "+") + ": '" + std::string(type_name(operand)) +
       "'");
}

bool contains(const Value& haystack, const Value& needle) {
  switch (haystack.kind()) {
    case Kind::string:
      if (!needle.is_string()) {
        fail("'in <string>' requires string as left operand, not " + std::string(type_name(needle)));
      }
      spend_text(haystack.text().size());
      return haystack.text().find(needle.text()) != std::string::npos;
    case Kind::dict: return haystack.as_dict().find(needle) != nullptr;
    case Kind::other:
      if (const auto* range = haystack.as<RangeObject>(); range && needle.is_integral()) {
        const int64_t i = needle.as_integer();
        if (range->length == 0) return false;
        const int64_t low = std::min(range->start, range->at(range->length - 1));
        const int64_t high = std::max(range->start, range->at(range->length - 1));
        return i >= low && i <= high && (Int128{i} - range->start) % range->step == 0;
      }
      if (const auto* view = haystack.as<ViewObject>(); view && view->part == ViewObject::Part::keys) {
        return view->dict.as_dict().find(needle) != nullptr;
      }
      break;
    default: break;
  }
  if (!iterable(haystack)) fail("argument of type '" + std::string(type_name(haystack)) + "' is not iterable");
  auto iterator = iterate(haystack);
  Value item;
  while (iterator->next(item)) {
    if (item.same_as(needle) || equal(item, needle)) return true;
  }
  return false;
}

bool compare(Compare::Operator op, const Value& left, const Value& right) {
  switch (op) {
    case Compare::Operator::eq: return equal(left, right);
    case Compare::Operator::ne: return !equal(left, right);
    case Compare::Operator::lt: return order(left, right, "<") == -1;
    case Compare::Operator::le: {
      const int result = order(left, right, "<=");
      return result == -1 || result == 0;
    }
    case Compare::Operator::gt: return order(left, right, ">") == 1;
    case Compare::Operator::ge: {
      const int result = order(left, right, ">=");
      return result == 1 || result == 0;
    }
    case Compare::Operator::in: return contains(right, left);
    case Compare::Operator::not_in: return !contains(right, left);
  }
  return false;
}

int64_t require_integer(const Value& value) {
  require_defined(value);
  if (!value.is_integral()) {
    fail("'" + std::string(type_name(value)) + "' object cannot be interpreted as an integer");
  }
  return value.as_integer();
}

}  // namespace zaya::text::jinja
