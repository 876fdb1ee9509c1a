#include "text/jinja/attributes.h"

#include <optional>

#include "text/jinja/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/print.h"
#include "text/jinja/text.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

Value unsafe(const Value& object, std::string_view name) {
  return Value::undefined("access to attribute '" + std::string(name) + "' of '" + std::string(type_name(object)) +
                          "' object is unsafe.");
}

Value absent(const Value& object, std::string_view name) {
  return Value::undefined("'" + std::string(type_name(object)) + " object' has no attribute '" + std::string(name) +
                          "'");
}

Value call_unsupported(Interpreter&, const Value& self, Arguments&) {
  fail_unsupported("this method of '" + std::string(type_name(self)) + "'");
}

Value loop_cycle(Interpreter&, const Value& self, Arguments& arguments) {
  if (!arguments.keywords.empty()) fail("cycle() takes no keyword arguments");
  return self.as<LoopObject>()->cycle(arguments.positional);
}
Value loop_changed(Interpreter&, const Value& self, Arguments& arguments) {
  if (!arguments.keywords.empty()) fail("changed() takes no keyword arguments");
  return Value::boolean(self.as<LoopObject>()->changed(std::move(arguments.positional)));
}
Value cycler_next(Interpreter&, const Value& self, Arguments& arguments) {
  bind_positional("next", arguments, 0, 0);
  auto* cycler = self.as<CyclerObject>();
  Value value = cycler->items[cycler->position];
  cycler->position = (cycler->position + 1) % cycler->items.size();
  return value;
}
Value cycler_reset(Interpreter&, const Value& self, Arguments& arguments) {
  bind_positional("reset", arguments, 0, 0);
  self.as<CyclerObject>()->position = 0;
  return Value::none();
}

std::optional<Value> macro_attribute(const Callable& callable, std::string_view name) {
  if (name == "name") return callable.name.empty() ? Value::none() : Value::string(callable.name);
  if (name == "caller") return Value::boolean(callable.caller >= 0);
  if (name == "catch_kwargs") return Value::boolean(callable.keywords >= 0);
  if (name == "catch_varargs") return Value::boolean(callable.positional >= 0);
  if (name != "arguments") return std::nullopt;
  std::vector<Value> names;
  for (const auto& parameter : callable.parameters) names.push_back(Value::string(parameter.name));
  return Value::tuple(std::move(names));
}

Value bound(const Value& object, const char* name, MethodObject::Method method) {
  return Value::other(make_ref<MethodObject>(object, name, method));
}

// getattr(object, name), if the object has it.
std::optional<Value> find_attribute(const Value& object, std::string_view name) {
  if (object.is_undefined()) {
    if (name.substr(0, 2) == "__") return std::nullopt;
    require_defined(object);
  }
  if (const auto* space = object.as<NamespaceObject>()) {
    const Value* value = space->find(name);
    return value ? std::optional<Value>(*value) : std::nullopt;
  }
  if (name.substr(0, 2) == "__" && name.size() > 4 && name.substr(name.size() - 2) == "__") {
    if (object.is(Kind::dict) && object.as_dict().find(name)) return std::nullopt;
    return unsafe(object, name);
  }
  const MethodEntry* method = nullptr;
  switch (object.kind()) {
    case Kind::string: method = find_string_method(name); break;
    case Kind::integer:
    case Kind::boolean:
      if (name == "real" || name == "numerator") return Value::integer(object.as_integer());
      if (name == "imag") return Value::integer(0);
      if (name == "denominator") return Value::integer(1);
      break;
    case Kind::floating:
      if (name == "real") return object;
      if (name == "imag") return Value::floating(0);
      break;
    default: break;
  }
  if (auto* loop = object.as<LoopObject>()) {
    if (auto value = loop->attribute(name)) return value;
    if (name == "cycle") return bound(object, "cycle", loop_cycle);
    if (name == "changed") return bound(object, "changed", loop_changed);
  }
  if (const auto* range = object.as<RangeObject>()) {
    if (name == "start") return Value::integer(range->start);
    if (name == "stop") return Value::integer(range->stop);
    if (name == "step") return Value::integer(range->step);
  }
  if (const auto* cycler = object.as<CyclerObject>()) {
    if (name == "next") return bound(object, "next", cycler_next);
    if (name == "reset") return bound(object, "reset", cycler_reset);
    if (name == "current") return cycler->items[cycler->position];
    if (name == "items") return Value::tuple(cycler->items);
    if (name == "pos") return Value::integer(static_cast<int64_t>(cycler->position));
  }
  if (const auto* function = object.as<FunctionObject>()) {
    if (function->name != std::string_view("dict") || name != "fromkeys") return std::nullopt;
    return bound(object, "fromkeys", find_container_method(Value::dict(make_ref<DictObject>()), "fromkeys")->method);
  }
  if (const auto* macro = object.as<MacroObject>()) return macro_attribute(macro->callable(), name);
  if (!method) method = find_container_method(object, name);
  if (!method) return std::nullopt;
  if (method->changes_object) return unsafe(object, name);
  return bound(object, method->name, method->method ? method->method : call_unsupported);
}

// object[index], if there is such an item. Like Python, false for types that have no items.
std::optional<Value> find_item(const Value& object, const Value& index) {
  switch (object.kind()) {
    case Kind::undefined: require_defined(object); return std::nullopt;
    case Kind::dict: {
      if (index.is(Kind::list) || index.is(Kind::dict)) return std::nullopt;  // unhashable
      const Value* value = object.as_dict().find(index);
      return value ? std::optional<Value>(*value) : std::nullopt;
    }
    case Kind::string:
    case Kind::list:
    case Kind::tuple: {
      if (!index.is_integral()) return std::nullopt;
      const auto length = static_cast<int64_t>(require_length(object));
      int64_t i = index.as_integer();
      if (i < 0) i += length;
      if (i < 0 || i >= length) return std::nullopt;
      if (!object.is_string()) return object.items()[static_cast<size_t>(i)];
      const StringObject& string = object.as_string();
      return Value::string(slice(string, Value::integer(i), Value::integer(i + 1), Value()), string.markup);
    }
    case Kind::other: {
      const auto* range = object.as<RangeObject>();
      if (!range || !index.is_integral()) return std::nullopt;
      int64_t i = index.as_integer();
      if (i < 0) i += range->length;
      if (i < 0 || i >= range->length) return std::nullopt;
      return Value::integer(range->at(i));
    }
    default: return std::nullopt;
  }
}

}  // namespace

Value get_attribute(const Value& object, std::string_view name) {
  if (auto value = find_attribute(object, name)) {
    if (!name.empty() && name[0] == '_' && !value->is_undefined()) return unsafe(object, name);
    return *std::move(value);
  }
  if (object.is(Kind::dict)) {
    if (const Value* value = object.as_dict().find(name)) return *value;
  }
  require_defined(object);
  return absent(object, name);
}

Value get_item(const Value& object, const Value& index) {
  if (auto value = find_item(object, index)) return *std::move(value);
  if (index.is_string()) {
    if (auto value = find_attribute(object, index.text())) {
      if (!index.text().empty() && index.text()[0] == '_' && !value->is_undefined())
        return unsafe(object, index.text());
      return *std::move(value);
    }
    return absent(object, index.text());
  }
  return Value::undefined("'" + std::string(type_name(object)) + " object' has no element " +
                          (index.is_number() ? repr(index) : "of this index"));
}

Value get_slice(const Value& object, const Value& start, const Value& stop, const Value& step) {
  require_defined(object);
  if (object.is_string()) {
    return Value::string(slice(object.as_string(), start, stop, step), object.as_string().markup);
  }
  if (const auto* range = object.as<RangeObject>()) {
    const SliceIndices indices = slice_indices(range->length, start, stop, step);
    const Int128 from = Int128{range->start} + Int128{indices.start} * range->step;
    const Int128 end = Int128{range->start} + Int128{indices.stop} * range->step;
    const Int128 stride = Int128{range->step} * indices.step;
    const auto fits = [](Int128 value) { return value == static_cast<int64_t>(value); };
    if (!fits(from) || !fits(end) || !fits(stride)) fail_unsupported("a range of integers of more than 64 bits");
    return Value::other(
        make_ref<RangeObject>(static_cast<int64_t>(from), static_cast<int64_t>(end), static_cast<int64_t>(stride)));
  }
  if (!object.is_sequence()) fail("'" + std::string(type_name(object)) + "' object is not subscriptable");
  const SliceIndices indices = slice_indices(static_cast<int64_t>(object.items().size()), start, stop, step);
  std::vector<Value> items;
  for (int64_t i = 0; i < indices.count; ++i) {
    items.push_back(object.items()[static_cast<size_t>(indices.start + i * indices.step)]);
  }
  return object.is(Kind::list) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

}  // namespace zaya::text::jinja
