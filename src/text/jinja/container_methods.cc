// The methods of list, tuple, dict, range and of numbers.
#include <cmath>

#include "text/jinja/attributes.h"
#include "text/jinja/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/meter.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"

namespace zaya::text::jinja {
namespace {

bool matches(const Value& item, const Value& wanted) { return item.same_as(wanted) || equal(item, wanted); }

Value count(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind_positional("count", arguments, 1, 1);
  auto iterator = iterate(self);
  int64_t times = 0;
  Value item;
  while (iterator->next(item)) times += matches(item, bound[0]);
  return Value::integer(times);
}

Value index(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind_positional("index", arguments, 1, 3);
  const auto length = static_cast<int64_t>(require_length(self));
  const auto place = [&](const Value& value, int64_t otherwise) {
    if (value.is_missing()) return otherwise;
    const int64_t i = require_integer(value);
    return i < 0 ? std::max<int64_t>(0, std::max(i, -length) + length) : i;
  };
  const int64_t start = place(bound[1], 0);
  const int64_t stop = std::min(place(bound[2], length), length);
  auto iterator = iterate(self);
  Value item;
  for (int64_t i = 0; i < stop && iterator->next(item); ++i) {
    if (i >= start && matches(item, bound[0])) return Value::integer(i);
  }
  fail(repr(bound[0]) + " is not in " + std::string(type_name(self)));
}

Value copy(Interpreter&, const Value& self, Arguments& arguments) {
  bind_positional("copy", arguments, 0, 0);
  if (self.is(Kind::list)) return Value::list(self.items());
  auto dict = make_ref<DictObject>();
  for (const auto& [key, value] : self.as_dict().entries()) dict->set(key, value);
  return Value::dict(dict);
}

Value dict_get(Interpreter&, const Value& self, Arguments& arguments) {
  const auto bound = bind_positional("get", arguments, 1, 2);
  if (const Value* value = self.as_dict().find(bound[0])) return *value;
  return bound[1].is_missing() ? Value::none() : bound[1];
}

template <ViewObject::Part kPart>
Value dict_view(Interpreter&, const Value& self, Arguments& arguments) {
  bind_positional("this method", arguments, 0, 0);
  return Value::other(make_ref<ViewObject>(self, kPart));
}

Value dict_fromkeys(Interpreter&, const Value&, Arguments& arguments) {
  const auto bound = bind_positional("fromkeys", arguments, 1, 2);
  auto dict = make_ref<DictObject>();
  auto iterator = iterate(bound[0]);
  Value key;
  while (iterator->next(key)) dict->set(key, bound[1].is_missing() ? Value::none() : bound[1]);
  return Value::dict(dict);
}

Value is_integer(Interpreter&, const Value& self, Arguments& arguments) {
  bind_positional("is_integer", arguments, 0, 0);
  const double d = self.as_double();
  return Value::boolean(std::isfinite(d) && d == std::floor(d));
}

Value bit_length(Interpreter&, const Value& self, Arguments& arguments) {
  bind_positional("bit_length", arguments, 0, 0);
  const int64_t i = self.as_integer();
  uint64_t magnitude = i < 0 ? ~static_cast<uint64_t>(i) + 1 : static_cast<uint64_t>(i);
  int64_t bits = 0;
  for (; magnitude; magnitude >>= 1) ++bits;
  return Value::integer(bits);
}

Value conjugate(Interpreter&, const Value& self, Arguments& arguments) {
  bind_positional("conjugate", arguments, 0, 0);
  return self.is(Kind::boolean) ? Value::integer(self.as_integer()) : self;
}

constexpr MethodEntry kListMethods[] = {
    {"append", nullptr, true},  {"clear", nullptr, true},  {"copy", copy},
    {"count", count},           {"extend", nullptr, true}, {"index", index},
    {"insert", nullptr, true},  {"pop", nullptr, true},    {"remove", nullptr, true},
    {"reverse", nullptr, true}, {"sort", nullptr, true},
};
constexpr MethodEntry kTupleMethods[] = {{"count", count}, {"index", index}};
constexpr MethodEntry kDictMethods[] = {
    {"clear", nullptr, true},
    {"copy", copy},
    {"fromkeys", dict_fromkeys},
    {"get", dict_get},
    {"items", dict_view<ViewObject::Part::items>},
    {"keys", dict_view<ViewObject::Part::keys>},
    {"pop", nullptr, true},
    {"popitem", nullptr, true},
    {"setdefault", nullptr, true},
    {"update", nullptr, true},
    {"values", dict_view<ViewObject::Part::values>},
};
constexpr MethodEntry kIntegerMethods[] = {{"as_integer_ratio"},     {"bit_count"},  {"bit_length", bit_length},
                                           {"conjugate", conjugate}, {"from_bytes"}, {"to_bytes"}};
constexpr MethodEntry kFloatMethods[] = {
    {"as_integer_ratio"}, {"conjugate", conjugate}, {"fromhex"}, {"hex"}, {"is_integer", is_integer}};
constexpr MethodEntry kViewMethods[] = {{"isdisjoint"}, {"mapping"}};
constexpr MethodEntry kGeneratorMethods[] = {{"close"}, {"send"}, {"throw"}};

template <size_t kSize>
const MethodEntry* find_in(const MethodEntry (&methods)[kSize], std::string_view name) {
  for (const MethodEntry& method : methods) {
    if (name == method.name) return &method;
  }
  return nullptr;
}

}  // namespace

const MethodEntry* find_container_method(const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::list: return find_in(kListMethods, name);
    case Kind::tuple: return find_in(kTupleMethods, name);
    case Kind::dict: return find_in(kDictMethods, name);
    case Kind::integer:
    case Kind::boolean: return find_in(kIntegerMethods, name);
    case Kind::floating: return find_in(kFloatMethods, name);
    case Kind::other:
      if (object.as<RangeObject>()) return find_in(kTupleMethods, name);
      if (object.as<ViewObject>()) return find_in(kViewMethods, name);
      if (object.as<IteratorObject>()) return find_in(kGeneratorMethods, name);
      return nullptr;
    default: return nullptr;
  }
}

}  // namespace zaya::text::jinja
