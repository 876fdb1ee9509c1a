// object.name and object[index], as jinja2's sandbox finds them.
#pragma once

#include <string_view>

#include "text/jinja/objects.h"
#include "text/jinja/value.h"

namespace zaya::text::jinja {

// The attribute, else the item of that name, else undefined.
Value get_attribute(const Value& object, std::string_view name);
// The item, else the attribute that a string names, else undefined. `index` is no slice.
Value get_item(const Value& object, const Value& index);
// object[start:stop:step]; fails for what cannot be sliced.
Value get_slice(const Value& object, const Value& start, const Value& stop, const Value& step);

// A method of one of Python's types. Without a function: it exists in Python; using it is an error.
struct MethodEntry {
  const char* name;
  MethodObject::Method method = nullptr;
  bool changes_object = false;  // what the sandbox hides
};
// Null when the type has no such method.
const MethodEntry* find_string_method(std::string_view name);
const MethodEntry* find_container_method(const Value& object, std::string_view name);

}  // namespace zaya::text::jinja
