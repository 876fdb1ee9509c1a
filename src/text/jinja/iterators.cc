// Walking values: iter(), reversed(), list(), len(), and the loop variable.
#include "text/jinja/error.h"
#include "text/jinja/meter.h"
#include "text/jinja/objects.h"
#include "text/jinja/unicode.h"

namespace zaya::text::jinja {
namespace {

// Walks anything with a length and a position, forwards or backwards.
template <class At>
class IndexIterator : public IteratorObject {
 public:
  IndexIterator(size_t length, bool backwards, At at) : length_(length), backwards_(backwards), at_(std::move(at)) {}
  std::string_view type_name() const override { return backwards_ ? "reversed" : "iterator"; }
  bool next(Value& item) override {
    if (position_ == length_) return false;
    spend(1);
    item = at_(backwards_ ? length_ - 1 - position_ : position_);
    ++position_;
    return true;
  }

 private:
  size_t position_ = 0;
  size_t length_;
  bool backwards_;
  At at_;
};

template <class At>
Ref<IteratorObject> index_iterator(size_t length, bool backwards, At at) {
  return make_ref<IndexIterator<At>>(length, backwards, std::move(at));
}

// The code points of a string.
class TextIterator : public IteratorObject {
 public:
  explicit TextIterator(Value text) : text_(std::move(text)) {}
  std::string_view type_name() const override { return "str_iterator"; }
  bool next(Value& item) override {
    const std::string& text = text_.text();
    if (offset_ == text.size()) return false;
    spend(1);
    const size_t begin = offset_;
    next_code_point(text, offset_);
    item = Value::string(text.substr(begin, offset_ - begin));
    return true;
  }

 private:
  Value text_;
  size_t offset_ = 0;
};

class LoopIterator : public IteratorObject {
 public:
  explicit LoopIterator(Value loop) : loop_(std::move(loop)) {}
  bool next(Value& item) override {
    spend(1);
    Value value;
    if (!loop_.as<LoopObject>()->next(value)) return false;
    item = Value::tuple({value, loop_});
    return true;
  }

 private:
  Value loop_;
};

Ref<IteratorObject> sized_iterator(const Value& value, bool backwards) {
  switch (value.kind()) {
    case Kind::undefined: return index_iterator(0, backwards, [](size_t) { return Value(); });
    case Kind::list:
    case Kind::tuple:
      return index_iterator(value.items().size(), backwards, [value](size_t i) { return value.items()[i]; });
    case Kind::dict:
      return index_iterator(value.as_dict().size(), backwards,
                            [value](size_t i) { return value.as_dict().entries()[i].first; });
    case Kind::other:
      if (const auto* range = value.as<RangeObject>()) {
        return index_iterator(static_cast<size_t>(range->length), backwards,
                              [value, range](size_t i) { return Value::integer(range->at(static_cast<int64_t>(i))); });
      }
      if (const auto* view = value.as<ViewObject>()) {
        return index_iterator(view->dict.as_dict().size(), backwards, [value, view](size_t i) { return view->at(i); });
      }
      return {};
    default: return {};
  }
}

}  // namespace

Ref<IteratorObject> iterate(const Value& value) {
  if (value.is_string()) return make_ref<TextIterator>(value);
  if (auto* iterator = value.as<IteratorObject>()) return Ref<IteratorObject>(iterator);
  if (value.as<LoopObject>()) return make_ref<LoopIterator>(value);
  if (auto iterator = sized_iterator(value, false)) return iterator;
  fail("'" + std::string(type_name(value)) + "' object is not iterable");
}

bool iterable(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::string:
    case Kind::list:
    case Kind::tuple:
    case Kind::dict: return true;
    case Kind::other:
      return value.as<IteratorObject>() || value.as<RangeObject>() || value.as<ViewObject>() || value.as<LoopObject>();
    default: return false;
  }
}

Ref<IteratorObject> reverse(const Value& value) {
  if (value.is_string()) {
    std::vector<Value> letters = to_vector(value);
    return sized_iterator(Value::list(std::move(letters)), true);
  }
  return sized_iterator(value, true);
}

std::vector<Value> to_vector(const Value& value) {
  if (value.is_sequence()) {
    spend(value.items().size());
    return value.items();
  }
  std::vector<Value> items;
  auto iterator = iterate(value);
  Value item;
  while (iterator->next(item)) {
    items.push_back(std::move(item));
  }
  return items;
}

std::optional<size_t> length_of(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined: return 0;
    case Kind::string: return value.as_string().length;
    case Kind::list:
    case Kind::tuple: return value.items().size();
    case Kind::dict: return value.as_dict().size();
    case Kind::other:
      if (const auto* range = value.as<RangeObject>()) return static_cast<size_t>(range->length);
      if (const auto* view = value.as<ViewObject>()) return view->dict.as_dict().size();
      if (auto* loop = value.as<LoopObject>()) return static_cast<size_t>(loop->length());
      return std::nullopt;
    default: return std::nullopt;
  }
}

size_t require_length(const Value& value) {
  const auto length = length_of(value);
  if (!length) fail("object of type '" + std::string(type_name(value)) + "' has no len()");
  return *length;
}

LoopObject::LoopObject(const Value& iterated)
    : CallableObject(sizeof(LoopObject)), iterated_(iterated), iterator_(iterate(iterated)) {}

bool LoopObject::peek() {
  if (after_.is_missing()) {
    Value item;
    if (iterator_->next(item)) after_ = std::move(item);
  }
  return !after_.is_missing();
}

bool LoopObject::next(Value& item) {
  if (!peek()) return false;
  ++index0_;
  before_ = std::move(current_);
  current_ = std::exchange(after_, Value());
  item = current_;
  return true;
}

int64_t LoopObject::length() {
  if (!length_) {
    if (const auto length = iterated_.as<LoopObject>() ? std::nullopt : length_of(iterated_)) {
      length_ = static_cast<int64_t>(*length);
    } else {  // an iterator: read the rest to know
      std::vector<Value> rest = to_vector(Value::other(iterator_));
      length_ = static_cast<int64_t>(rest.size()) + index0_ + 1 + (after_.is_missing() ? 0 : 1);
      iterator_ = iterate(Value::list(std::move(rest)));
    }
  }
  return *length_;
}

Value LoopObject::cycle(const std::vector<Value>& choices) const {
  if (choices.empty()) fail("no items for cycling given");
  return choices[static_cast<size_t>(index0_ < 0 ? 0 : index0_) % choices.size()];
}

bool LoopObject::changed(std::vector<Value> values) {
  Value now = Value::tuple(std::move(values));
  if (!last_changed_.is_missing() && equal(last_changed_, now)) return false;
  last_changed_ = std::move(now);
  return true;
}

std::optional<Value> LoopObject::attribute(std::string_view name) {
  if (name == "index") return Value::integer(index0_ + 1);
  if (name == "index0") return Value::integer(index0_);
  if (name == "first") return Value::boolean(index0_ == 0);
  if (name == "last") return Value::boolean(!peek());
  if (name == "length") return Value::integer(length());
  if (name == "revindex") return Value::integer(length() - index0_);
  if (name == "revindex0") return Value::integer(length() - index0_ - 1);
  if (name == "previtem") return index0_ == 0 ? Value::undefined("there is no previous item") : before_;
  if (name == "nextitem") return peek() ? after_ : Value::undefined("there is no next item");
  if (name == "depth") return Value::integer(1);
  if (name == "depth0") return Value::integer(0);
  return std::nullopt;
}

Value LoopObject::call(Interpreter&, Arguments) {
  fail("The loop must have the 'recursive' marker to be called recursively.");
}

}  // namespace zaya::text::jinja
