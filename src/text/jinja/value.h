// The values a template works on: Python's, as far as templates can tell.
//
// Value is a small copyable handle: nothing, a boolean, an integer (64 bits; overflow is an error), a float, or a
// reference to an object on the heap. Strings, lists, tuples and dicts never change once made (the sandbox forbids it);
// namespaces do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/jinja/object.h"

namespace zaya::text::jinja {

enum class Kind : uint8_t {
  missing,  // an unbound variable or argument; templates never see it
  undefined,
  none,
  boolean,
  integer,
  floating,
  string,
  list,
  tuple,
  dict,
  other,  // OtherObject tells which
};

class StringObject;
class ListObject;
class DictObject;
class UndefinedObject;
class OtherObject;

class Value {
 public:
  Value() = default;  // missing
  static Value none() { return Value(Kind::none); }
  static Value boolean(bool b) { return Value(Kind::boolean, b ? 1 : 0); }
  static Value integer(int64_t i) { return Value(Kind::integer, i); }
  static Value floating(double d);
  static Value string(std::string text, bool markup = false);
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value dict(Ref<DictObject> dict);
  static Value other(Ref<OtherObject> object);
  // `message` is the error that using the value gives.
  static Value undefined(std::string message);
  static Value undefined_name(std::string_view name);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_missing() const { return kind_ == Kind::missing; }
  bool is_undefined() const { return kind_ == Kind::undefined; }
  bool is_none() const { return kind_ == Kind::none; }
  bool is_string() const { return kind_ == Kind::string; }
  // bool is an int in Python, so these two include booleans.
  bool is_integral() const { return kind_ == Kind::boolean || kind_ == Kind::integer; }
  bool is_number() const { return is_integral() || kind_ == Kind::floating; }
  bool is_sequence() const { return kind_ == Kind::list || kind_ == Kind::tuple; }

  // Each asks for the right kind.
  int64_t as_integer() const { return scalar_.i; }  // integer or boolean
  double as_double() const { return kind_ == Kind::floating ? scalar_.d : static_cast<double>(scalar_.i); }
  const StringObject& as_string() const;
  const std::string& text() const;
  const std::vector<Value>& items() const;  // of a list or tuple
  const DictObject& as_dict() const;
  const UndefinedObject& as_undefined() const;
  OtherObject& as_other() const;
  // The object as T when the value is one, else null.
  template <class T>
  T* as() const {
    return kind_ == Kind::other ? dynamic_cast<T*>(object_.get()) : nullptr;
  }
  // `is` in Python: the same object, or the same singleton.
  bool same_as(const Value& other) const;

 private:
  explicit Value(Kind kind, int64_t i = 0) : kind_(kind) { scalar_.i = i; }
  Value(Kind kind, Ref<Object> object) : kind_(kind), object_(std::move(object)) {}

  Kind kind_ = Kind::missing;
  union {
    int64_t i;
    double d;
  } scalar_ = {0};
  Ref<Object> object_;
};

// UTF-8, always valid. Lengths and positions are in code points, as Python counts.
class StringObject : public Object {
 public:
  StringObject(std::string text, bool markup);
  const std::string text;
  const size_t length;  // in code points
  // Marked as safe HTML by `safe` or `escape`: adding text to it escapes that text.
  const bool markup;
  bool ascii() const { return length == text.size(); }
};

class ListObject : public Object {
 public:
  explicit ListObject(std::vector<Value> list_items);
  const std::vector<Value> items;
};

// Keeps the order of insertion. Keys are hashable values; 1, 1.0 and true are one key.
class DictObject : public Object {
 public:
  using Entry = std::pair<Value, Value>;

  DictObject() : Object(sizeof(DictObject)) {}
  // Only while it is being built. Setting a key again keeps the first key and its place. Fails for unhashable keys.
  void set(Value key, Value value);
  // Null when absent; fails for unhashable keys.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }

 private:
  template <class Matches>
  const Entry* find_hashed(size_t hash, Matches matches) const;

  std::vector<Entry> entries_;
  std::unordered_multimap<size_t, size_t> places_;  // by hash; only for dicts of more than a few entries
};

class UndefinedObject : public Object {
 public:
  explicit UndefinedObject(std::string text)
      : Object(sizeof(UndefinedObject) + text.size()), message(std::move(text)) {}
  const std::string message;
};

// Everything else: ranges, views, iterators, namespaces, functions (objects.h).
class OtherObject : public Object {
 public:
  using Object::Object;
  // Python's name of the type, e.g. "range".
  virtual std::string_view type_name() const = 0;
};

// Python's type name: "str", "int", "NoneType", …
std::string_view type_name(const Value& value);

// bool(value)
bool truthy(const Value& value);

// a == b. Bounded in depth and charged.
bool equal(const Value& a, const Value& b);
// -1, 0 or 1; `operation` names the comparison in the error for values without an order ("<"). NaN gives 2.
int order(const Value& a, const Value& b, const char* operation);

// hash(value); fails for unhashable values.
size_t hash(const Value& value);

// Fails with the undefined value's message if it is one.
void require_defined(const Value& value);

}  // namespace zaya::text::jinja
