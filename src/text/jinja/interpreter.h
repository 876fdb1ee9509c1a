// Runs a resolved tree: walks it, printing into a string.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/objects.h"
#include "text/jinja/template.h"

namespace zaya::text::jinja {

// The variables of one running function. Macros keep the activation in which they were defined.
class Activation : public MutableObject {
 public:
  Activation(const Function& function, Ref<Activation> outer, Interpreter& interpreter);
  std::string_view type_name() const override { return "frame"; }
  void clear() override;
  Value& at(Slot slot);

 private:
  std::vector<Value> slots_;
  Ref<Activation> outer_;  // null for the template
};

// A macro, or the body of a call block.
class MacroObject : public CallableObject {
 public:
  MacroObject(const Callable& callable, Ref<Activation> closure)
      : CallableObject(sizeof(MacroObject)), callable_(callable), closure_(std::move(closure)) {}
  std::string_view type_name() const override { return "Macro"; }
  Value call(Interpreter& interpreter, Arguments arguments) override;
  const Callable& callable() const { return callable_; }

 private:
  const Callable& callable_;
  Ref<Activation> closure_;
};

class Interpreter {
 public:
  // `variables` is a dict; options and it must outlive the interpreter.
  Interpreter(const TemplateNode& root, Value variables, const RenderOptions& options);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // The rendered text. Throws Error.
  std::string run();
  // The line being run, for errors.
  int line() const { return line_; }

  // Calls any value; fails for what cannot be called.
  Value call(const Value& callee, Arguments arguments);
  Value call_filter(const Value& name, const Value& input, Arguments& arguments);
  bool call_test(const Value& name, const Value& input, Arguments& arguments);
  const RenderOptions& options() const { return options_; }

 private:
  friend class MutableObject;
  friend class MacroObject;
  friend class ConditionIterator;

  enum class Flow { next, break_loop, continue_loop };

  // statements (interpreter.cc)
  Flow execute(const Block& block);
  Flow execute(const Statement& statement);
  Flow run_if(const IfChain& chain);
  Flow run_for(const ForLoop& loop);
  Flow run_set_block(const SetBlock& set);
  Flow run_filter_block(const FilterBlock& block);
  Flow run_with(const With& with);
  void run_call_block(const CallBlock& call);
  Value call_macro(const MacroObject& macro, const Ref<Activation>& closure, Arguments arguments);
  void enter(const Scope& scope);
  void leave(const Scope& scope);
  void check_namespaces(const Expression& target);
  void assign(const Expression& target, const Value& value);
  void print(std::string_view text);
  Value captured(std::string outer_text);

  // expressions (expressions.cc)
  Value evaluate(const Expression& expression);
  std::vector<Value> evaluate_all(const std::vector<ExpressionPtr>& expressions);
  Value evaluate_dict(const Dict& dict);
  Value evaluate_concat(const Concat& concat);
  Value evaluate_compare(const Compare& compare);
  Value evaluate_item(const Item& item);
  Value evaluate_call(const Call& call);
  Value evaluate_filter(const Filter& filter);
  Value evaluate_test(const Test& test);
  Value evaluate_conditional(const Conditional& conditional);
  Arguments evaluate_arguments(const CallArguments& arguments);
  Value resolve(const std::string& name);

  const TemplateNode& root_;
  Value variables_;
  const RenderOptions& options_;
  MutableObject* mutable_objects_ = nullptr;
  Ref<Activation> activation_;
  std::string output_;
  const Value* filtered_text_ = nullptr;  // what a filter without an input works on
  int line_ = 0;
  int calls_ = 0;
};

}  // namespace zaya::text::jinja
