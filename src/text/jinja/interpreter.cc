#include "text/jinja/interpreter.h"

#include "text/jinja/error.h"
#include "text/jinja/filters.h"
#include "text/jinja/globals.h"
#include "text/jinja/meter.h"
#include "text/jinja/print.h"
#include "text/jinja/tests.h"

namespace zaya::text::jinja {

Activation::Activation(const Function& function, Ref<Activation> outer, Interpreter& interpreter)
    : MutableObject(sizeof(Activation) + static_cast<size_t>(function.slots) * sizeof(Value), interpreter),
      slots_(static_cast<size_t>(function.slots)),
      outer_(std::move(outer)) {}

void Activation::clear() {
  for (Value& slot : slots_) slot = Value();
}

Value& Activation::at(Slot slot) {
  Activation* activation = this;
  for (int i = 0; i < slot.hops; ++i) activation = activation->outer_.get();
  return activation->slots_[static_cast<size_t>(slot.index)];
}

Value MacroObject::call(Interpreter& interpreter, Arguments arguments) {
  return interpreter.call_macro(*this, closure_, std::move(arguments));
}

Interpreter::Interpreter(const TemplateNode& root, Value variables, const RenderOptions& options)
    : root_(root), variables_(std::move(variables)), options_(options) {}

Interpreter::~Interpreter() {
  // Values form cycles only through mutable objects. Emptying one may end others, so each is kept while that happens.
  activation_ = {};
  filtered_text_ = nullptr;
  std::vector<Ref<MutableObject>> left;
  for (MutableObject* object = mutable_objects_; object; object = object->next_) left.emplace_back(object);
  for (const auto& object : left) object->clear();
}

std::string Interpreter::run() {
  activation_ = make_ref<Activation>(root_.function, Ref<Activation>(), *this);
  enter(root_.function.scope);
  execute(root_.body);
  return std::move(output_);
}

void Interpreter::print(std::string_view text) {
  if (text.size() > options_.limits.output_bytes - output_.size()) {
    fail_limit("the template prints more than " + std::to_string(options_.limits.output_bytes) + " bytes");
  }
  spend_text(text.size());
  output_ += text;
}

// What was printed since `outer_text` was put aside; printing goes on behind that.
Value Interpreter::captured(std::string outer_text) {
  std::string text = std::exchange(output_, std::move(outer_text));
  return Value::string(std::move(text));
}

Value Interpreter::resolve(const std::string& name) {
  const Value* value = variables_.as_dict().find(name);
  return value ? *value : find_global(name);
}

void Interpreter::enter(const Scope& scope) {
  for (const Load& load : scope.loads) {
    Value& target = activation_->at({0, load.index});
    switch (load.from) {
      case Load::From::parameter: break;
      case Load::From::context: target = resolve(load.name); break;
      case Load::From::outer: target = activation_->at(load.outer); break;
      case Load::From::nothing: target = Value(); break;
    }
  }
}

void Interpreter::leave(const Scope& scope) {
  for (const Load& load : scope.loads) activation_->at({0, load.index}) = Value();
}

Interpreter::Flow Interpreter::execute(const Block& block) {
  for (const StatementPtr& statement : block) {
    const Flow flow = execute(*statement);
    if (flow != Flow::next) return flow;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::execute(const Statement& statement) {
  spend(1);
  line_ = statement.line;
  switch (statement.kind) {
    case Statement::Kind::text: print(static_cast<const Text&>(statement).text); return Flow::next;
    case Statement::Kind::print: {
      const Value value = evaluate(*static_cast<const Print&>(statement).value);
      if (value.is_string()) {
        print(value.text());
      } else {
        print(to_text(value));
      }
      return Flow::next;
    }
    case Statement::Kind::if_chain: return run_if(static_cast<const IfChain&>(statement));
    case Statement::Kind::for_loop: return run_for(static_cast<const ForLoop&>(statement));
    case Statement::Kind::set: {
      const auto& set = static_cast<const Set&>(statement);
      check_namespaces(*set.target);
      assign(*set.target, evaluate(*set.value));
      return Flow::next;
    }
    case Statement::Kind::set_block: return run_set_block(static_cast<const SetBlock&>(statement));
    case Statement::Kind::macro: {
      const auto& macro = static_cast<const Macro&>(statement);
      activation_->at(macro.slot) = Value::other(make_ref<MacroObject>(macro.callable, activation_));
      return Flow::next;
    }
    case Statement::Kind::call_block: run_call_block(static_cast<const CallBlock&>(statement)); return Flow::next;
    case Statement::Kind::generation: {
      const auto& generation = static_cast<const Generation&>(statement);
      const DepthGuard guard;
      enter(generation.scope);
      execute(generation.body);
      leave(generation.scope);
      return Flow::next;
    }
    case Statement::Kind::filter_block: return run_filter_block(static_cast<const FilterBlock&>(statement));
    case Statement::Kind::with: return run_with(static_cast<const With&>(statement));
    case Statement::Kind::break_loop: return Flow::break_loop;
    case Statement::Kind::continue_loop: return Flow::continue_loop;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::run_if(const IfChain& chain) {
  const DepthGuard guard;
  for (const auto& [test, body] : chain.branches) {
    if (truthy(evaluate(*test))) return execute(body);
  }
  return execute(chain.otherwise);
}

// The items of a for for which its test holds. The test reads the variables as they are when the item is due.
class ConditionIterator : public IteratorObject {
 public:
  ConditionIterator(Interpreter& interpreter, const ForLoop& loop, const Value& iterated)
      : interpreter_(interpreter), loop_(loop), iterator_(iterate(iterated)), outer_(interpreter.activation_) {}

  bool next(Value& item) override {
    const DepthGuard guard;
    const Ref<Activation> running = interpreter_.activation_;
    bool found = false;
    if (!activation_) {
      activation_ = make_ref<Activation>(loop_.test_function, outer_, interpreter_);
      interpreter_.activation_ = activation_;
      interpreter_.enter(loop_.test_function.scope);
    }
    interpreter_.activation_ = activation_;
    while (!found && iterator_->next(item)) {
      interpreter_.assign(*loop_.test_target, item);
      found = truthy(interpreter_.evaluate(*loop_.test));
      if (found) item = interpreter_.evaluate(*loop_.test_target);
    }
    interpreter_.activation_ = running;
    return found;
  }

 private:
  Interpreter& interpreter_;
  const ForLoop& loop_;
  Ref<IteratorObject> iterator_;
  Ref<Activation> outer_, activation_;
};

Interpreter::Flow Interpreter::run_for(const ForLoop& loop) {
  const DepthGuard guard;
  Value iterated = evaluate(*loop.iterated);
  if (loop.test) iterated = Value::other(make_ref<ConditionIterator>(*this, loop, iterated));
  const auto walk = make_ref<LoopObject>(iterated);
  bool ran = false;
  Value item;
  while (walk->next(item)) {
    spend(1);
    line_ = loop.line;
    assign(*loop.target, item);
    activation_->at(loop.loop) = Value::other(walk);
    enter(loop.body_scope);
    const Flow flow = execute(loop.body);
    if (flow == Flow::break_loop) {
      // Python leaves the mark that the loop ran unset when a break comes first: the else then runs, too.
      break;
    }
    if (flow == Flow::next) ran = true;
  }
  leave(loop.body_scope);
  if (ran || loop.otherwise.empty()) return Flow::next;
  enter(loop.otherwise_scope);
  const Flow flow = execute(loop.otherwise);
  leave(loop.otherwise_scope);
  return flow;
}

Interpreter::Flow Interpreter::run_set_block(const SetBlock& set) {
  const DepthGuard guard;
  std::string outer_text = std::exchange(output_, std::string());
  enter(set.scope);
  const Flow flow = execute(set.body);
  Value text = captured(std::move(outer_text));
  if (flow != Flow::next) return flow;
  line_ = set.line;
  check_namespaces(*set.target);
  if (set.filter) {
    const Value* const outer_filtered = std::exchange(filtered_text_, &text);
    Value filtered = evaluate(*set.filter);
    filtered_text_ = outer_filtered;
    text = std::move(filtered);
  }
  assign(*set.target, text);
  leave(set.scope);
  return Flow::next;
}

Interpreter::Flow Interpreter::run_filter_block(const FilterBlock& block) {
  const DepthGuard guard;
  std::string outer_text = std::exchange(output_, std::string());
  enter(block.scope);
  const Flow flow = execute(block.body);
  const Value text = captured(std::move(outer_text));
  if (flow != Flow::next) return flow;
  const Value* const outer_filtered = std::exchange(filtered_text_, &text);
  const Value filtered = evaluate(*block.filter);
  filtered_text_ = outer_filtered;
  print(to_text(filtered));
  leave(block.scope);
  return Flow::next;
}

Interpreter::Flow Interpreter::run_with(const With& with) {
  const DepthGuard guard;
  enter(with.scope);
  for (const auto& [target, value] : with.bindings) assign(*target, evaluate(*value));
  const Flow flow = execute(with.body);
  leave(with.scope);
  return flow;
}

void Interpreter::run_call_block(const CallBlock& block) {
  const DepthGuard guard;
  const auto& call = static_cast<const Call&>(*block.call);
  const Value callee = evaluate(*call.callee);
  Arguments arguments = evaluate_arguments(call.arguments);
  for (const auto& [name, value] : arguments.keywords) {
    if (name == "caller") fail("the call passes the argument 'caller' twice");
  }
  arguments.keywords.emplace_back("caller", Value::other(make_ref<MacroObject>(block.callable, activation_)));
  print(to_text(this->call(callee, std::move(arguments))));
}

Value Interpreter::call_macro(const MacroObject& macro, const Ref<Activation>& closure, Arguments arguments) {
  const Callable& callable = macro.callable();
  const std::string name = callable.name.empty() ? "caller" : callable.name;
  if (calls_ >= options_.limits.call_depth) {
    fail_limit("macros call each other more than " + std::to_string(options_.limits.call_depth) + " deep");
  }
  const DepthGuard guard;
  const size_t count = callable.parameters.size();
  std::vector<Value> bound(count);
  auto& positional = arguments.positional;
  auto& keywords = arguments.keywords;
  const auto take_keyword = [&](std::string_view keyword) {
    for (auto entry = keywords.begin(); entry != keywords.end(); ++entry) {
      if (entry->first != keyword) continue;
      Value value = std::move(entry->second);
      keywords.erase(entry);
      return value;
    }
    return Value();
  };
  bool caller_bound = false;
  for (size_t i = 0; i < count; ++i) {
    bound[i] = i < positional.size() ? positional[i] : take_keyword(callable.parameters[i].name);
    caller_bound |= callable.parameters[i].name == "caller";
  }
  Value caller;
  if (callable.caller >= 0 && !caller_bound) {
    caller = take_keyword("caller");
    if (caller.is_missing() || caller.is_none()) caller = Value::undefined("No caller defined");
  }
  if (callable.keywords < 0 && !keywords.empty()) {
    fail("macro '" + name + "' takes no keyword argument '" + keywords[0].first + "'");
  }
  if (callable.positional < 0 && positional.size() > count) {
    fail("macro '" + name + "' takes not more than " + std::to_string(count) + " argument(s)");
  }

  const auto activation = make_ref<Activation>(callable.function, closure, *this);
  for (size_t i = 0; i < count; ++i) activation->at({0, callable.parameters[i].index}) = bound[i];
  if (callable.caller >= 0 && !caller_bound) activation->at({0, callable.caller}) = caller;
  if (callable.keywords >= 0) {
    auto rest = make_ref<DictObject>();
    for (auto& [keyword, value] : keywords) rest->set(Value::string(keyword), value);
    activation->at({0, callable.keywords}) = Value::dict(rest);
  }
  if (callable.positional >= 0) {
    std::vector<Value> rest(positional.begin() + static_cast<ptrdiff_t>(std::min(count, positional.size())),
                            positional.end());
    activation->at({0, callable.positional}) = Value::tuple(std::move(rest));
  }

  // An error ends the render, so nothing below needs to be undone when it throws.
  const Ref<Activation> running = std::exchange(activation_, activation);
  const int line = line_;
  std::string outer_text = std::exchange(output_, std::string());
  ++calls_;
  enter(callable.function.scope);
  for (const Callable::Parameter& parameter : callable.parameters) {
    Value& slot = activation_->at({0, parameter.index});
    if (!slot.is_missing()) continue;
    Value fallback = parameter.fallback ? evaluate(*parameter.fallback)
                                        : Value::undefined("parameter '" + parameter.name + "' was not provided");
    activation_->at({0, parameter.index}) = std::move(fallback);
  }
  execute(callable.body);
  --calls_;
  line_ = line;
  activation_ = running;
  return captured(std::move(outer_text));
}

// set a.b = …: every such a must be a namespace, before anything is evaluated.
void Interpreter::check_namespaces(const Expression& target) {
  if (target.kind == Expression::Kind::namespace_target) {
    if (!activation_->at(static_cast<const NamespaceTarget&>(target).slot).as<NamespaceObject>()) {
      fail("cannot assign attribute on non-namespace object");
    }
  } else if (target.kind == Expression::Kind::tuple) {
    for (const ExpressionPtr& item : static_cast<const Sequence&>(target).items) check_namespaces(*item);
  }
}

void Interpreter::assign(const Expression& target, const Value& value) {
  switch (target.kind) {
    case Expression::Kind::name: activation_->at(static_cast<const Name&>(target).slot) = value; return;
    case Expression::Kind::namespace_target: {
      const auto& place = static_cast<const NamespaceTarget&>(target);
      auto* object = activation_->at(place.slot).as<NamespaceObject>();
      if (!object) fail("cannot assign attribute on non-namespace object");
      object->set(place.attribute, value);
      return;
    }
    case Expression::Kind::tuple: {
      const auto& items = static_cast<const Sequence&>(target).items;
      auto iterator = iterate(value);
      std::vector<Value> parts;
      Value part;
      while (parts.size() <= items.size() && iterator->next(part)) parts.push_back(std::move(part));
      if (parts.size() > items.size()) {
        fail("too many values to unpack (expected " + std::to_string(items.size()) + ")");
      }
      if (parts.size() < items.size()) {
        fail("not enough values to unpack (expected " + std::to_string(items.size()) + ", got " +
             std::to_string(parts.size()) + ")");
      }
      for (size_t i = 0; i < items.size(); ++i) assign(*items[i], parts[i]);
      return;
    }
    default: fail("cannot assign to this expression");
  }
}

Value Interpreter::call(const Value& callee, Arguments arguments) {
  require_defined(callee);
  auto* callable = callee.as<CallableObject>();
  if (!callable) fail("'" + std::string(type_name(callee)) + "' object is not callable");
  const Value kept = callee;  // while it runs
  return callable->call(*this, std::move(arguments));
}

Value Interpreter::call_filter(const Value& name, const Value& input, Arguments& arguments) {
  if (!name.is_string()) {
    require_defined(name);
    fail("No filter named " + repr(name) + ".");
  }
  const FilterFunction filter = find_filter(name.text());
  if (!filter) refuse_filter(name.text(), line_);
  return filter(*this, input, arguments);
}

bool Interpreter::call_test(const Value& name, const Value& input, Arguments& arguments) {
  if (!name.is_string()) {
    require_defined(name);
    fail("No test named " + repr(name) + ".");
  }
  const TestFunction test = find_test(name.text());
  if (!test) refuse_test(name.text(), line_);
  return test(*this, input, arguments);
}

}  // namespace zaya::text::jinja
