#include "text/jinja/objects.h"

#include "text/jinja/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/meter.h"

namespace zaya::text::jinja {

std::vector<Value> bind(std::string_view function, Arguments& arguments, std::initializer_list<const char*> parameters,
                        size_t required) {
  const std::string name(function);
  std::vector<Value> bound(parameters.size());
  if (arguments.positional.size() > bound.size()) {
    fail(name + "() takes at most " + std::to_string(bound.size()) + " arguments (" +
         std::to_string(arguments.positional.size()) + " given)");
  }
  std::move(arguments.positional.begin(), arguments.positional.end(), bound.begin());
  for (auto& [keyword, value] : arguments.keywords) {
    size_t place = 0;
    while (place < bound.size() && keyword != parameters.begin()[place]) ++place;
    if (place == bound.size()) fail(name + "() got an unexpected keyword argument '" + keyword + "'");
    if (!bound[place].is_missing()) fail(name + "() got multiple values for argument '" + keyword + "'");
    bound[place] = std::move(value);
  }
  for (size_t i = 0; i < required; ++i) {
    if (bound[i].is_missing()) fail(name + "() misses its argument '" + parameters.begin()[i] + "'");
  }
  return bound;
}

std::vector<Value> bind_positional(std::string_view function, Arguments& arguments, size_t required, size_t maximum) {
  const std::string name(function);
  if (!arguments.keywords.empty()) fail(name + "() takes no keyword arguments");
  const size_t given = arguments.positional.size();
  if (given < required || given > maximum) {
    fail(name + "() takes " +
         (given < required ? "at least " + std::to_string(required) : "at most " + std::to_string(maximum)) +
         " arguments (" + std::to_string(given) + " given)");
  }
  std::vector<Value> bound = std::move(arguments.positional);
  bound.resize(maximum);
  return bound;
}

namespace {

int64_t range_length(int64_t start, int64_t stop, int64_t step) {
  if (step == 0) fail("range() arg 3 must not be zero");
  const Int128 distance = step > 0 ? static_cast<Int128>(stop) - start : static_cast<Int128>(start) - stop;
  const Int128 stride = step > 0 ? static_cast<Int128>(step) : -static_cast<Int128>(step);
  const Int128 length = distance <= 0 ? 0 : (distance + stride - 1) / stride;
  if (length > RangeObject::kMaxRange) {
    fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (" + std::to_string(RangeObject::kMaxRange) +
         ").");
  }
  return static_cast<int64_t>(length);
}

}  // namespace

RangeObject::RangeObject(int64_t range_start, int64_t range_stop, int64_t range_step)
    : OtherObject(sizeof(RangeObject)),
      start(range_start),
      stop(range_stop),
      step(range_step),
      length(range_length(start, stop, step)) {}

std::string_view ViewObject::type_name() const {
  switch (part) {
    case Part::keys: return "dict_keys";
    case Part::values: return "dict_values";
    case Part::items: return "dict_items";
  }
  return "dict_view";
}

Value ViewObject::at(size_t index) const {
  const auto& [key, value] = dict.as_dict().entries()[index];
  if (part == Part::keys) return key;
  if (part == Part::values) return value;
  return Value::tuple({key, value});
}

MutableObject::MutableObject(size_t bytes, Interpreter& interpreter)
    : OtherObject(bytes), list_(&interpreter.mutable_objects_), next_(*list_) {
  if (next_) next_->previous_ = this;
  *list_ = this;
}

MutableObject::~MutableObject() {
  if (previous_) {
    previous_->next_ = next_;
  } else {
    *list_ = next_;
  }
  if (next_) next_->previous_ = previous_;
}

const Value* NamespaceObject::find(std::string_view name) const {
  for (const auto& [key, value] : attributes_) {
    if (key == name) return &value;
  }
  return nullptr;
}

void NamespaceObject::set(const std::string& name, Value value) {
  if (!name.empty() && name[0] == '_') {
    fail("a namespace cannot store the attribute '" + name + "': names that begin with an underscore are reserved");
  }
  for (auto& [key, old] : attributes_) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  spend(1 + attributes_.size());
  grow(sizeof(attributes_[0]) + name.size());
  attributes_.emplace_back(name, std::move(value));
}

Value JoinerObject::call(Interpreter&, Arguments arguments) {
  bind("joiner", arguments, {}, 0);
  if (std::exchange(used_, true)) return separator;
  return Value::string("");
}

}  // namespace zaya::text::jinja
