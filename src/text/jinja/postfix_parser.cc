// What stands behind a value: subscripts, calls, filters, tests; and the targets of assignments.
#include <algorithm>

#include "text/jinja/error.h"
#include "text/jinja/expression_depth.h"
#include "text/jinja/expression_parser.h"

namespace zaya::text::jinja {
namespace {

bool is_constant_name(std::string_view name) {
  return name == "true" || name == "false" || name == "none" || name == "True" || name == "False" || name == "None";
}

}  // namespace

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr value, bool filters) {
  while (true) {
    if (current().is_symbol("(")) {
      value = parse_call(std::move(value));
    } else if (!filters && (current().is_symbol(".") || current().is_symbol("["))) {
      value = parse_subscript(std::move(value));
    } else if (filters && current().is_symbol("|")) {
      value = parse_filters(std::move(value), false);
    } else if (filters && current().is_name("is")) {
      value = parse_test(std::move(value));
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr object) {
  const Token bracket = take();
  const int depth = object->depth;
  if (bracket.text == ".") {
    const Token name = take();
    if (name.kind == TokenKind::name) {
      auto node = std::make_unique<Attribute>(name.text, bracket.line);
      node->object = std::move(object);
      return with_depth(std::move(node), depth);
    }
    if (name.kind != TokenKind::integer) fail_syntax("expected name or number", name.line);
    auto node = std::make_unique<Item>(bracket.line);
    node->object = std::move(object);
    node->index = std::make_unique<Constant>(Value::integer(name.integer), name.line);
    return with_depth(std::move(node), depth);
  }
  auto node = std::make_unique<Item>(bracket.line);
  auto indices = std::make_unique<Sequence>(Expression::Kind::tuple, bracket.line);
  int index_depth = 0;
  while (!current().is_symbol("]")) {
    if (!indices->items.empty()) expect_symbol(",");
    indices->items.push_back(parse_subscribed());
    index_depth = std::max(index_depth, indices->items.back()->depth);
  }
  expect_symbol("]");
  if (indices->items.size() == 1) {
    node->index = std::move(indices->items[0]);
  } else {
    for (const ExpressionPtr& index : indices->items) {
      if (index->kind == Expression::Kind::slice) fail_unsupported("a slice among several indices", bracket.line);
    }
    node->index = with_depth(std::move(indices), index_depth);
  }
  node->object = std::move(object);
  return with_depth(std::move(node), std::max(depth, index_depth + 1));
}

ExpressionPtr ExpressionParser::parse_subscribed() {
  const int line = current().line;
  ExpressionPtr start;
  if (!current().is_symbol(":")) {
    start = parse_expression();
    if (!current().is_symbol(":")) return start;
  }
  take();
  auto node = std::make_unique<Slice>(line);
  node->start = std::move(start);
  const auto ends = [&] { return current().is_symbol("]") || current().is_symbol(","); };
  if (!current().is_symbol(":") && !ends()) node->stop = parse_expression();
  if (skip_symbol(":") && !ends()) node->step = parse_expression();
  const int depth = std::max({depth_of(node->start), depth_of(node->stop), depth_of(node->step)});
  return with_depth(std::move(node), depth);
}

CallArguments ExpressionParser::parse_arguments(int& depth) {
  CallArguments arguments;
  const int line = expect_symbol("(").line;
  const auto ensure = [&](bool condition) {
    if (!condition) fail_syntax("invalid syntax for function call expression", line);
  };
  const auto deeper = [&](ExpressionPtr argument) {
    depth = std::max(depth, argument->depth);
    return argument;
  };
  bool comma = false;
  while (!current().is_symbol(")")) {
    if (comma) {
      expect_symbol(",");
      if (current().is_symbol(")")) break;
    }
    if (skip_symbol("*")) {
      ensure(!arguments.more_positional && !arguments.more_keywords);
      arguments.more_positional = deeper(parse_expression());
    } else if (skip_symbol("**")) {
      ensure(!arguments.more_keywords);
      arguments.more_keywords = deeper(parse_expression());
    } else if (current().kind == TokenKind::name && look().is_symbol("=")) {
      ensure(!arguments.more_keywords);
      std::string name = take().text;
      take();
      for (const auto& [other, value] : arguments.keywords) {
        if (other == name) fail_syntax("keyword argument repeated: " + name, line);
      }
      arguments.keywords.emplace_back(std::move(name), deeper(parse_expression()));
    } else {
      ensure(!arguments.more_positional && !arguments.more_keywords && arguments.keywords.empty());
      arguments.positional.push_back(deeper(parse_expression()));
    }
    comma = true;
  }
  expect_symbol(")");
  return arguments;
}

ExpressionPtr ExpressionParser::parse_call(ExpressionPtr callee) {
  auto node = std::make_unique<Call>(current().line);
  int depth = callee->depth;
  node->callee = std::move(callee);
  node->arguments = parse_arguments(depth);
  return with_depth(std::move(node), depth);
}

std::string ExpressionParser::parse_dotted_name() {
  std::string name = expect_name("").text;
  while (skip_symbol(".")) name += "." + expect_name("").text;
  return name;
}

ExpressionPtr ExpressionParser::parse_filters(ExpressionPtr input, bool start_inline) {
  while (start_inline || current().is_symbol("|")) {
    if (!start_inline) take();
    start_inline = false;
    const int line = current().line;
    auto node = std::make_unique<Filter>(parse_dotted_name(), line);
    int depth = depth_of(input);
    if (current().is_symbol("(")) node->arguments = parse_arguments(depth);
    node->input = std::move(input);
    input = with_depth(std::move(node), depth);
  }
  return input;
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr input) {
  const int line = take().line;
  const bool negated = skip_name("not");
  auto node = std::make_unique<Test>(parse_dotted_name(), line);
  int depth = input->depth;
  node->input = std::move(input);
  const Token& token = current();
  if (token.is_symbol("(")) {
    node->arguments = parse_arguments(depth);
  } else if ((token.kind == TokenKind::name || token.kind == TokenKind::string || token.kind == TokenKind::integer ||
              token.kind == TokenKind::floating || token.is_symbol("[") || token.is_symbol("{")) &&
             !token.is_name("else") && !token.is_name("or") && !token.is_name("and")) {
    if (token.is_name("is")) fail_syntax("You cannot chain multiple tests with is", token.line);
    const Nest nest(*this, line);
    node->arguments.positional.push_back(parse_postfix(parse_primary(false), false));
    depth = std::max(depth, node->arguments.positional[0]->depth);
  }
  ExpressionPtr test = with_depth(std::move(node), depth);
  if (!negated) return test;
  auto inverted = std::make_unique<Unary>(Unary::Operator::logical_not, line);
  depth = test->depth;
  inverted->operand = std::move(test);
  return with_depth(std::move(inverted), depth);
}

void ExpressionParser::mark_stored(Expression& target) {
  switch (target.kind) {
    case Expression::Kind::name: {
      auto& name = static_cast<Name&>(target);
      if (is_constant_name(name.name)) break;
      if (name.name == "loop" && loops_around_ > 0) {
        fail_syntax("Can't assign to special loop variable in for-loop", target.line);
      }
      name.use = Name::Use::store;
      return;
    }
    case Expression::Kind::tuple:
      for (const ExpressionPtr& item : static_cast<Sequence&>(target).items) mark_stored(*item);
      return;
    case Expression::Kind::namespace_target: return;
    default: break;
  }
  fail_syntax("can't assign to this expression", target.line);
}

ExpressionPtr ExpressionParser::parse_target(bool namespaces, std::string_view end_name) {
  ExpressionPtr target = parse_tuple({.simplified = true, .namespaces = namespaces, .end_name = end_name});
  mark_stored(*target);
  return target;
}

}  // namespace zaya::text::jinja
