#include "text/jinja/tests.h"

#include <unordered_map>

#include "text/jinja/error.h"
#include "text/jinja/filters.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

// A question about the value alone.
template <bool (*kIs)(const Value&)>
bool plain(Interpreter&, const Value& value, Arguments& arguments) {
  bind("this test", arguments, {}, 0);
  return kIs(value);
}

template <Compare::Operator kOperator>
bool compares(Interpreter&, const Value& value, Arguments& arguments) {
  return compare(kOperator, value, bind_positional("this test", arguments, 1, 1)[0]);
}

bool remainder_is(const Value& value, const Value& divisor, int64_t remainder) {
  return equal(apply(Binary::Operator::modulo, value, divisor), Value::integer(remainder));
}

bool is_boolean(const Value& value) { return value.is(Kind::boolean); }
bool is_callable(const Value& value) { return value.is_undefined() || value.as<CallableObject>(); }
bool is_defined(const Value& value) { return !value.is_undefined(); }
bool is_escaped(const Value& value) { return value.is_string() && value.as_string().markup; }
bool is_even(const Value& value) { return remainder_is(value, Value::integer(2), 0); }
bool is_false(const Value& value) { return value.is(Kind::boolean) && !truthy(value); }
bool is_filter(const Value& value) {
  hash(value);  // a name is looked up, so what cannot be hashed is an error
  return value.is_string() && filter_exists(value.text());
}
bool is_float(const Value& value) { return value.is(Kind::floating); }
bool is_integer(const Value& value) { return value.is(Kind::integer); }
bool is_iterable(const Value& value) { return iterable(value); }
bool is_lower_text(const Value& value) { return all_cased(to_text(value), false); }
bool is_mapping(const Value& value) { return value.is(Kind::dict); }
bool is_none(const Value& value) { return value.is_none(); }
bool is_number(const Value& value) { return value.is_number(); }
bool is_odd(const Value& value) { return remainder_is(value, Value::integer(2), 1); }
bool is_string(const Value& value) { return value.is_string(); }
bool is_test(const Value& value) {
  hash(value);
  return value.is_string() && find_test(value.text());
}
bool is_true(const Value& value) { return value.is(Kind::boolean) && truthy(value); }
bool is_undefined(const Value& value) { return value.is_undefined(); }
bool is_upper_text(const Value& value) { return all_cased(to_text(value), true); }

// What has a length and items.
bool is_sequence(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_sequence() || value.is(Kind::dict) ||
         value.as<RangeObject>();
}

bool is_divisible(Interpreter&, const Value& value, Arguments& arguments) {
  return remainder_is(value, bind("divisibleby", arguments, {"num"}, 1)[0], 0);
}

bool is_in(Interpreter&, const Value& value, Arguments& arguments) {
  return contains(bind("in", arguments, {"seq"}, 1)[0], value);
}

bool is_same(Interpreter&, const Value& value, Arguments& arguments) {
  return value.same_as(bind("sameas", arguments, {"other"}, 1)[0]);
}

const std::unordered_map<std::string_view, TestFunction>& tests() {
  using Operator = Compare::Operator;
  static const std::unordered_map<std::string_view, TestFunction> kTests = {
      {"boolean", plain<is_boolean>},
      {"callable", plain<is_callable>},
      {"defined", plain<is_defined>},
      {"divisibleby", is_divisible},
      {"eq", compares<Operator::eq>},
      {"equalto", compares<Operator::eq>},
      {"==", compares<Operator::eq>},
      {"escaped", plain<is_escaped>},
      {"even", plain<is_even>},
      {"false", plain<is_false>},
      {"filter", plain<is_filter>},
      {"float", plain<is_float>},
      {"ge", compares<Operator::ge>},
      {">=", compares<Operator::ge>},
      {"greaterthan", compares<Operator::gt>},
      {"gt", compares<Operator::gt>},
      {">", compares<Operator::gt>},
      {"in", is_in},
      {"integer", plain<is_integer>},
      {"iterable", plain<is_iterable>},
      {"le", compares<Operator::le>},
      {"<=", compares<Operator::le>},
      {"lessthan", compares<Operator::lt>},
      {"lower", plain<is_lower_text>},
      {"lt", compares<Operator::lt>},
      {"<", compares<Operator::lt>},
      {"mapping", plain<is_mapping>},
      {"ne", compares<Operator::ne>},
      {"!=", compares<Operator::ne>},
      {"none", plain<is_none>},
      {"number", plain<is_number>},
      {"odd", plain<is_odd>},
      {"sameas", is_same},
      {"sequence", plain<is_sequence>},
      {"string", plain<is_string>},
      {"test", plain<is_test>},
      {"true", plain<is_true>},
      {"undefined", plain<is_undefined>},
      {"upper", plain<is_upper_text>},
  };
  return kTests;
}

}  // namespace

TestFunction find_test(std::string_view name) {
  const auto entry = tests().find(name);
  return entry == tests().end() ? nullptr : entry->second;
}

void refuse_test(std::string_view name, int line) { fail_syntax("No test named '" + std::string(name) + "'.", line); }

}  // namespace zaya::text::jinja
