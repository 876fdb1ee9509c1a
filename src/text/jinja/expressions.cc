// How the interpreter evaluates expressions.
#include "text/jinja/attributes.h"
#include "text/jinja/error.h"
#include "text/jinja/filters.h"
#include "text/jinja/globals.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/meter.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/tests.h"
#include "text/jinja/text.h"

namespace zaya::text::jinja {

Value Interpreter::evaluate(const Expression& expression) {
  const DepthGuard guard;
  spend(1);
  line_ = expression.line;
  switch (expression.kind) {
    case Expression::Kind::constant: return static_cast<const Constant&>(expression).value;
    case Expression::Kind::name: {
      const auto& name = static_cast<const Name&>(expression);
      const Value& value = activation_->at(name.slot);
      return value.is_missing() ? Value::undefined_name(name.name) : value;
    }
    case Expression::Kind::tuple: return Value::tuple(evaluate_all(static_cast<const Sequence&>(expression).items));
    case Expression::Kind::list: return Value::list(evaluate_all(static_cast<const Sequence&>(expression).items));
    case Expression::Kind::dict: return evaluate_dict(static_cast<const Dict&>(expression));
    case Expression::Kind::unary: {
      const auto& unary = static_cast<const Unary&>(expression);
      return apply(unary.op, evaluate(*unary.operand));
    }
    case Expression::Kind::binary: {
      const auto& binary = static_cast<const Binary&>(expression);
      const Value left = evaluate(*binary.left);
      return apply(binary.op, left, evaluate(*binary.right));
    }
    case Expression::Kind::logic: {
      const auto& logic = static_cast<const Logic&>(expression);
      Value left = evaluate(*logic.left);
      return truthy(left) == logic.is_and ? evaluate(*logic.right) : left;
    }
    case Expression::Kind::concat: return evaluate_concat(static_cast<const Concat&>(expression));
    case Expression::Kind::compare: return evaluate_compare(static_cast<const Compare&>(expression));
    case Expression::Kind::attribute: {
      const auto& attribute = static_cast<const Attribute&>(expression);
      return get_attribute(evaluate(*attribute.object), attribute.name);
    }
    case Expression::Kind::item: return evaluate_item(static_cast<const Item&>(expression));
    case Expression::Kind::call: return evaluate_call(static_cast<const Call&>(expression));
    case Expression::Kind::filter: return evaluate_filter(static_cast<const Filter&>(expression));
    case Expression::Kind::test: return evaluate_test(static_cast<const Test&>(expression));
    case Expression::Kind::conditional: return evaluate_conditional(static_cast<const Conditional&>(expression));
    case Expression::Kind::slice:
    case Expression::Kind::namespace_target: break;  // never alone
  }
  fail("this expression has no value");
}

std::vector<Value> Interpreter::evaluate_all(const std::vector<ExpressionPtr>& expressions) {
  std::vector<Value> values;
  values.reserve(expressions.size());
  for (const ExpressionPtr& expression : expressions) values.push_back(evaluate(*expression));
  return values;
}

Value Interpreter::evaluate_dict(const Dict& dict) {
  auto object = make_ref<DictObject>();
  for (const auto& [key, value] : dict.items) {
    Value key_value = evaluate(*key);
    object->set(std::move(key_value), evaluate(*value));
  }
  return Value::dict(object);
}

Value Interpreter::evaluate_concat(const Concat& concat) {
  Joiner joiner("");
  for (const Value& value : evaluate_all(concat.items)) {
    if (value.is_string()) {
      joiner.add(value.text());
    } else {
      joiner.add(to_text(value));
    }
  }
  return Value::string(joiner.take());
}

Value Interpreter::evaluate_compare(const Compare& node) {
  Value left = evaluate(*node.first);
  for (const auto& [op, operand] : node.rest) {
    Value right = evaluate(*operand);
    if (!compare(op, left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Interpreter::evaluate_item(const Item& item) {
  const Value object = evaluate(*item.object);
  if (item.index->kind != Expression::Kind::slice) return get_item(object, evaluate(*item.index));
  const auto& slice = static_cast<const Slice&>(*item.index);
  const auto part = [this](const ExpressionPtr& expression) { return expression ? evaluate(*expression) : Value(); };
  const Value start = part(slice.start);
  const Value stop = part(slice.stop);
  return get_slice(object, start, stop, part(slice.step));
}

Arguments Interpreter::evaluate_arguments(const CallArguments& arguments) {
  Arguments result;
  result.positional = evaluate_all(arguments.positional);
  for (const auto& [name, expression] : arguments.keywords) result.keywords.emplace_back(name, evaluate(*expression));
  if (arguments.more_positional) {
    const std::vector<Value> more = to_vector(evaluate(*arguments.more_positional));
    result.positional.insert(result.positional.end(), more.begin(), more.end());
  }
  if (arguments.more_keywords) {
    const Value more = evaluate(*arguments.more_keywords);
    if (!more.is(Kind::dict)) {
      fail("argument after ** must be a mapping, not " + std::string(type_name(more)));
    }
    for (const auto& [key, value] : more.as_dict().entries()) {
      if (!key.is_string()) fail("keywords must be strings");
      for (const auto& [name, given] : result.keywords) {
        if (name == key.text()) fail("got multiple values for keyword argument '" + name + "'");
      }
      spend(result.keywords.size());
      result.keywords.emplace_back(key.text(), value);
    }
  }
  return result;
}

Value Interpreter::evaluate_call(const Call& node) {
  const Value callee = evaluate(*node.callee);
  Arguments arguments = evaluate_arguments(node.arguments);
  line_ = node.line;
  return call(callee, std::move(arguments));
}

Value Interpreter::evaluate_filter(const Filter& filter) {
  const Value input = filter.input ? evaluate(*filter.input) : filtered_text_ ? *filtered_text_ : Value::string("");
  if (!filter.function) refuse_filter(filter.name, filter.line);
  Arguments arguments = evaluate_arguments(filter.arguments);
  line_ = filter.line;
  return filter.function(*this, input, arguments);
}

Value Interpreter::evaluate_test(const Test& test) {
  const Value input = evaluate(*test.input);
  if (!test.function) refuse_test(test.name, test.line);
  Arguments arguments = evaluate_arguments(test.arguments);
  line_ = test.line;
  return Value::boolean(test.function(*this, input, arguments));
}

Value Interpreter::evaluate_conditional(const Conditional& conditional) {
  if (truthy(evaluate(*conditional.test))) return evaluate(*conditional.value);
  if (conditional.otherwise) return evaluate(*conditional.otherwise);
  return Value::undefined("the inline if-expression on line " + std::to_string(conditional.line) +
                          " evaluated to false and no else section was defined.");
}

}  // namespace zaya::text::jinja
