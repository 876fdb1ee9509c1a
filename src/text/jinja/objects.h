// The rarer values: ranges, views of dicts, iterators, namespaces, callables.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/meter.h"
#include "text/jinja/value.h"

namespace zaya::text::jinja {

class Interpreter;

// Wide enough for the distance of two 64-bit integers.
__extension__ typedef __int128 Int128;

// The arguments of one call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
};

// Lays `arguments` out by the parameters' names, as Python binds a call: missing where none was given. `required` of
// them must be given. Consumes the values.
std::vector<Value> bind(std::string_view function, Arguments& arguments, std::initializer_list<const char*> parameters,
                        size_t required);
// The same for functions of C Python that take no keywords.
std::vector<Value> bind_positional(std::string_view function, Arguments& arguments, size_t required, size_t maximum);

// range(start, stop, step); at most kMaxRange long, as in jinja2's sandbox.
class RangeObject : public OtherObject {
 public:
  static constexpr int64_t kMaxRange = 100'000;
  RangeObject(int64_t range_start, int64_t range_stop, int64_t range_step);
  std::string_view type_name() const override { return "range"; }
  // The item; its value fits, though a part of the sum may not.
  int64_t at(int64_t index) const {
    return static_cast<int64_t>(static_cast<uint64_t>(start) +
                                static_cast<uint64_t>(index) * static_cast<uint64_t>(step));
  }
  const int64_t start, stop, step;
  const int64_t length;
};

// dict.keys(), dict.values(), dict.items()
class ViewObject : public OtherObject {
 public:
  enum class Part { keys, values, items };
  ViewObject(Value of, Part which) : OtherObject(sizeof(ViewObject)), dict(std::move(of)), part(which) {}
  std::string_view type_name() const override;
  Value at(size_t index) const;
  const Value dict;
  const Part part;
};

// What can be walked once: generators and iterators.
class IteratorObject : public OtherObject {
 public:
  IteratorObject() : OtherObject(sizeof(IteratorObject) + 64) {}
  std::string_view type_name() const override { return "generator"; }
  // False at the end. Charges a step.
  virtual bool next(Value& item) = 0;
};

// iter(value); fails for what cannot be iterated.
Ref<IteratorObject> iterate(const Value& value);
bool iterable(const Value& value);
// reversed(value), which sequences, dicts and views have; null for the others.
Ref<IteratorObject> reverse(const Value& value);
// list(value), charged.
std::vector<Value> to_vector(const Value& value);
// len(value); nothing when it has none.
std::optional<size_t> length_of(const Value& value);
size_t require_length(const Value& value);

// An iterator made of a function bool(Value& item).
template <class Next>
class GeneratorObject : public IteratorObject {
 public:
  explicit GeneratorObject(Next next) : next_(std::move(next)) {}
  bool next(Value& item) override {
    spend(1);
    const DepthGuard guard;
    return next_(item);
  }

 private:
  Next next_;
};

template <class Next>
Value generator(Next next) {
  return Value::other(make_ref<GeneratorObject<Next>>(std::move(next)));
}

// Objects that can come to hold themselves: the interpreter empties those left when a render ends.
class MutableObject : public OtherObject {
 public:
  MutableObject(size_t bytes, Interpreter& interpreter);
  ~MutableObject() override;
  virtual void clear() = 0;

 private:
  friend class Interpreter;
  MutableObject** list_;  // the interpreter's
  MutableObject* previous_ = nullptr;
  MutableObject* next_ = nullptr;
};

class NamespaceObject : public MutableObject {
 public:
  explicit NamespaceObject(Interpreter& interpreter) : MutableObject(sizeof(NamespaceObject), interpreter) {}
  std::string_view type_name() const override { return "Namespace"; }
  void clear() override { attributes_.clear(); }
  const Value* find(std::string_view name) const;
  void set(const std::string& name, Value value);
  const std::vector<std::pair<std::string, Value>>& attributes() const { return attributes_; }

 private:
  std::vector<std::pair<std::string, Value>> attributes_;
};

class CallableObject : public OtherObject {
 public:
  using OtherObject::OtherObject;
  virtual Value call(Interpreter& interpreter, Arguments arguments) = 0;
};

// A function of this program.
class FunctionObject : public CallableObject {
 public:
  using Function = Value (*)(Interpreter&, Arguments&);
  FunctionObject(const char* function_name, Function function)
      : CallableObject(sizeof(FunctionObject)), name(function_name), function_(function) {}
  std::string_view type_name() const override { return "function"; }
  Value call(Interpreter& interpreter, Arguments arguments) override { return function_(interpreter, arguments); }
  const char* const name;

 private:
  Function function_;
};

// value.method
class MethodObject : public CallableObject {
 public:
  using Method = Value (*)(Interpreter&, const Value& self, Arguments&);
  MethodObject(Value of, const char* method_name, Method method)
      : CallableObject(sizeof(MethodObject)), self(std::move(of)), name(method_name), method_(method) {}
  std::string_view type_name() const override { return "builtin_function_or_method"; }
  Value call(Interpreter& interpreter, Arguments arguments) override { return method_(interpreter, self, arguments); }
  const Value self;
  const char* const name;

 private:
  Method method_;
};

// cycler(…)
class CyclerObject : public OtherObject {
 public:
  explicit CyclerObject(std::vector<Value> cycler_items)
      : OtherObject(sizeof(CyclerObject) + cycler_items.size() * sizeof(Value)), items(std::move(cycler_items)) {}
  std::string_view type_name() const override { return "Cycler"; }
  const std::vector<Value> items;
  size_t position = 0;
};

// joiner(separator): nothing when first called, then the separator.
class JoinerObject : public CallableObject {
 public:
  explicit JoinerObject(Value sep) : CallableObject(sizeof(JoinerObject)), separator(std::move(sep)) {}
  std::string_view type_name() const override { return "Joiner"; }
  Value call(Interpreter& interpreter, Arguments arguments) override;
  const Value separator;

 private:
  bool used_ = false;
};

// The variable `loop`: the walk of one for statement, which reads ahead only as far as the template asks.
class LoopObject : public CallableObject {
 public:
  explicit LoopObject(const Value& iterated);
  std::string_view type_name() const override { return "LoopContext"; }
  // Moves to the next item; false at the end.
  bool next(Value& item);
  // An attribute such as index, or nothing.
  std::optional<Value> attribute(std::string_view name);
  Value call(Interpreter& interpreter, Arguments arguments) override;
  int64_t length();
  Value cycle(const std::vector<Value>& choices) const;
  bool changed(std::vector<Value> values);

 private:
  bool peek();

  Value iterated_;
  Ref<IteratorObject> iterator_;
  int64_t index0_ = -1;
  std::optional<int64_t> length_;
  Value before_, current_, after_;  // missing when there is none
  Value last_changed_;              // missing, or a tuple
};

}  // namespace zaya::text::jinja
