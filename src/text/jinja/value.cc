#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "text/jinja/error.h"
#include "text/jinja/meter.h"
#include "text/jinja/objects.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

// Values nest this deeply at most when compared or hashed (Python stops at about the same depth).
constexpr int kMaxDepth = 200;
// Dicts up to this size are searched entry by entry.
constexpr size_t kSmallDict = 8;

size_t hash_text(std::string_view text) {
  spend_text(text.size());
  return std::hash<std::string_view>()(text);
}

// The order of an integer and a float, exactly: a conversion to double could round.
int order_mixed(int64_t i, double d) {
  if (std::isnan(d)) return 2;
  if (d >= 0x1p63) return -1;
  if (d < -0x1p63) return 1;
  const double whole = std::trunc(d);
  const auto w = static_cast<int64_t>(whole);
  if (i != w) return i < w ? -1 : 1;
  return d == whole ? 0 : (d > whole ? -1 : 1);
}

int order_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) {
    const int64_t x = a.as_integer(), y = b.as_integer();
    return x < y ? -1 : x > y;
  }
  if (a.is_integral()) return order_mixed(a.as_integer(), b.as_double());
  if (b.is_integral()) {
    const int reversed = order_mixed(b.as_integer(), a.as_double());
    return reversed == 2 ? 2 : -reversed;
  }
  const double x = a.as_double(), y = b.as_double();
  if (std::isnan(x) || std::isnan(y)) return 2;
  return x < y ? -1 : x > y;
}

bool equal_at(const Value& a, const Value& b, int depth);

// keys() and items() of dicts compare as sets; two values() are equal only if they are one.
bool equal_views(const ViewObject& a, const ViewObject& b, int depth) {
  const auto& entries = a.dict.as_dict().entries();
  if (a.part == ViewObject::Part::values || b.part == ViewObject::Part::values) return false;
  if (entries.size() != b.dict.as_dict().size()) return false;
  if (a.part != b.part) return entries.empty();  // a key that is a pair of the other: not worth supporting
  for (const auto& [key, value] : entries) {
    const Value* other = b.dict.as_dict().find(key);
    if (!other || (a.part == ViewObject::Part::items && !equal_at(value, *other, depth + 1))) return false;
  }
  return true;
}

bool equal_items(const std::vector<Value>& a, const std::vector<Value>& b, int depth) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!equal_at(a[i], b[i], depth)) return false;
  }
  return true;
}

bool equal_at(const Value& a, const Value& b, int depth) {
  if (depth > kMaxDepth) fail_limit("values nested too deeply to be compared");
  spend(1);
  if (a.is_number() && b.is_number()) return order_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::string: spend_text(std::min(a.text().size(), b.text().size())); return a.text() == b.text();
    case Kind::list:
    case Kind::tuple: return a.same_as(b) || equal_items(a.items(), b.items(), depth + 1);
    case Kind::dict: {
      if (a.same_as(b)) return true;
      if (a.as_dict().size() != b.as_dict().size()) return false;
      for (const auto& [key, value] : a.as_dict().entries()) {
        const Value* other = b.as_dict().find(key);
        if (!other || !equal_at(value, *other, depth + 1)) return false;
      }
      return true;
    }
    case Kind::other: {
      if (a.same_as(b)) return true;
      const auto* v = a.as<ViewObject>();
      const auto* w = b.as<ViewObject>();
      if (v && w) return equal_views(*v, *w, depth);
      const auto* r = a.as<RangeObject>();
      const auto* s = b.as<RangeObject>();
      if (!r || !s || r->length != s->length) return false;
      if (r->length == 0) return true;
      return r->start == s->start && (r->length == 1 || r->step == s->step);
    }
    default: return true;  // none, undefined, missing: one value each
  }
}

int order_at(const Value& a, const Value& b, const char* operation, int depth) {
  if (depth > kMaxDepth) fail_limit("values nested too deeply to be compared");
  spend(1);
  if (a.is_number() && b.is_number()) return order_numbers(a, b);
  if (a.is_string() && b.is_string()) {  // UTF-8 sorts as its code points do
    spend_text(std::min(a.text().size(), b.text().size()));
    const int c = a.text().compare(b.text());
    return c < 0 ? -1 : c > 0;
  }
  if (a.is_sequence() && a.kind() == b.kind()) {
    const auto& x = a.items();
    const auto& y = b.items();
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equal_at(x[i], y[i], depth + 1)) return order_at(x[i], y[i], operation, depth + 1);
    }
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  require_defined(a);
  require_defined(b);
  fail("'" + std::string(operation) + "' not supported between instances of '" + std::string(type_name(a)) + "' and '" +
       std::string(type_name(b)) + "'");
}

size_t hash_at(const Value& value, int depth) {
  if (depth > kMaxDepth) fail_limit("values nested too deeply to be hashed");
  switch (value.kind()) {
    case Kind::boolean:
    case Kind::integer: return std::hash<int64_t>()(value.as_integer());
    case Kind::floating: {  // as the equal integer, if there is one
      const double d = value.as_double();
      if (d == std::trunc(d) && d >= -0x1p63 && d < 0x1p63) return std::hash<int64_t>()(static_cast<int64_t>(d));
      return std::hash<double>()(d);
    }
    case Kind::string: return hash_text(value.text());
    case Kind::tuple: {
      size_t seed = value.items().size();
      for (const Value& item : value.items()) seed = seed * 1000003 + hash_at(item, depth + 1);
      return seed;
    }
    case Kind::list: fail("unhashable type: 'list'");
    case Kind::dict: fail("unhashable type: 'dict'");
    case Kind::other:
      if (const auto* range = value.as<RangeObject>()) return std::hash<int64_t>()(range->length);
      if (const auto* view = value.as<ViewObject>(); view && view->part != ViewObject::Part::values) {
        fail("unhashable type: '" + std::string(view->type_name()) + "'");
      }
      return std::hash<const void*>()(&value.as_other());
    default: return static_cast<size_t>(value.kind());
  }
}

}  // namespace

Value Value::floating(double d) {
  Value value(Kind::floating);
  value.scalar_.d = d;
  return value;
}

Value Value::string(std::string text, bool markup) {
  return Value(Kind::string, make_ref<StringObject>(std::move(text), markup));
}
Value Value::list(std::vector<Value> items) { return Value(Kind::list, make_ref<ListObject>(std::move(items))); }
Value Value::tuple(std::vector<Value> items) { return Value(Kind::tuple, make_ref<ListObject>(std::move(items))); }
Value Value::dict(Ref<DictObject> dict) { return Value(Kind::dict, dict); }
Value Value::other(Ref<OtherObject> object) { return Value(Kind::other, object); }
Value Value::undefined(std::string message) {
  return Value(Kind::undefined, make_ref<UndefinedObject>(std::move(message)));
}
Value Value::undefined_name(std::string_view name) { return undefined("'" + std::string(name) + "' is undefined"); }

const StringObject& Value::as_string() const { return static_cast<const StringObject&>(*object_); }
const std::string& Value::text() const { return as_string().text; }
const std::vector<Value>& Value::items() const { return static_cast<const ListObject&>(*object_).items; }
const DictObject& Value::as_dict() const { return static_cast<const DictObject&>(*object_); }
const UndefinedObject& Value::as_undefined() const { return static_cast<const UndefinedObject&>(*object_); }
OtherObject& Value::as_other() const { return static_cast<OtherObject&>(*object_); }

bool Value::same_as(const Value& other) const {
  if (kind_ != other.kind_) return false;
  switch (kind_) {
    case Kind::missing:
    case Kind::none: return true;
    case Kind::boolean: return scalar_.i == other.scalar_.i;
    case Kind::integer:
      return scalar_.i == other.scalar_.i && scalar_.i >= -5 && scalar_.i <= 256;  // CPython shares these
    case Kind::floating: return false;
    case Kind::tuple: return object_.get() == other.object_.get() || (items().empty() && other.items().empty());
    default: return object_.get() == other.object_.get();
  }
}

StringObject::StringObject(std::string string_text, bool is_markup)
    : Object(sizeof(StringObject) + string_text.size()),
      text(std::move(string_text)),
      length(count_code_points(text)),
      markup(is_markup) {
  check_text_size(text.size());
  spend_text(text.size());
}

ListObject::ListObject(std::vector<Value> list_items)
    : Object(sizeof(ListObject) + list_items.size() * sizeof(Value)), items(std::move(list_items)) {
  spend(items.size());
}

template <class Matches>
const DictObject::Entry* DictObject::find_hashed(size_t key_hash, Matches matches) const {
  if (entries_.size() <= kSmallDict) {
    for (const Entry& entry : entries_) {
      if (matches(entry.first)) return &entry;
    }
    return nullptr;
  }
  const auto [first, last] = places_.equal_range(key_hash);
  for (auto place = first; place != last; ++place) {
    if (matches(entries_[place->second].first)) return &entries_[place->second];
  }
  return nullptr;
}

const Value* DictObject::find(const Value& key) const {
  const Entry* entry = find_hashed(hash(key), [&](const Value& candidate) { return equal(candidate, key); });
  return entry ? &entry->second : nullptr;
}

const Value* DictObject::find(std::string_view key) const {
  const size_t key_hash = entries_.size() <= kSmallDict ? 0 : hash_text(key);
  const Entry* entry =
      find_hashed(key_hash, [&](const Value& candidate) { return candidate.is_string() && candidate.text() == key; });
  return entry ? &entry->second : nullptr;
}

void DictObject::set(Value key, Value value) {
  const size_t key_hash = hash(key);
  const Entry* entry = find_hashed(key_hash, [&](const Value& candidate) { return equal(candidate, key); });
  if (entry) {
    const_cast<Entry*>(entry)->second = std::move(value);
    return;
  }
  spend(1);
  grow(sizeof(Entry) + 32);
  entries_.emplace_back(std::move(key), std::move(value));
  if (entries_.size() == kSmallDict + 1) {
    for (size_t i = 0; i < entries_.size(); ++i) places_.emplace(hash(entries_[i].first), i);
  } else if (entries_.size() > kSmallDict) {
    places_.emplace(key_hash, entries_.size() - 1);
  }
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::missing:
    case Kind::undefined: return "Undefined";
    case Kind::none: return "NoneType";
    case Kind::boolean: return "bool";
    case Kind::integer: return "int";
    case Kind::floating: return "float";
    case Kind::string: return value.as_string().markup ? "Markup" : "str";
    case Kind::list: return "list";
    case Kind::tuple: return "tuple";
    case Kind::dict: return "dict";
    case Kind::other: return value.as_other().type_name();
  }
  return "object";
}

bool truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::missing:
    case Kind::undefined:
    case Kind::none: return false;
    case Kind::boolean:
    case Kind::integer: return value.as_integer() != 0;
    case Kind::floating: return value.as_double() != 0;
    case Kind::string: return !value.text().empty();
    case Kind::list:
    case Kind::tuple: return !value.items().empty();
    case Kind::dict: return value.as_dict().size() != 0;
    case Kind::other: {
      if (const auto* range = value.as<RangeObject>()) return range->length != 0;
      if (const auto* view = value.as<ViewObject>()) return view->dict.as_dict().size() != 0;
      return true;
    }
  }
  return true;
}

bool equal(const Value& a, const Value& b) { return equal_at(a, b, 0); }
int order(const Value& a, const Value& b, const char* operation) { return order_at(a, b, operation, 0); }
size_t hash(const Value& value) { return hash_at(value, 0); }

void require_defined(const Value& value) {
  if (value.is_undefined()) fail(value.as_undefined().message);
}

}  // namespace zaya::text::jinja
