#include "text/jinja/expression_parser.h"

#include <algorithm>

#include "text/jinja/error.h"

namespace zaya::text::jinja {
namespace {

// Brackets, statements and chains of operators nest this deeply at most. jinja2 itself gives up at about 60 brackets or
// 250 operators, where Python's recursion ends.
constexpr int kMaxNesting = 120;
constexpr int kMaxDepth = 400;

// `parent` now holds `child`.
template <class T>
std::unique_ptr<T> with_depth(std::unique_ptr<T> parent, int child_depth) {
  parent->depth = std::max(parent->depth, child_depth + 1);
  if (parent->depth > kMaxDepth) fail_limit("an expression nests too deeply", parent->line);
  return parent;
}

int depth_of(const ExpressionPtr& expression) { return expression ? expression->depth : 0; }

template <class Node>
ExpressionPtr two_sided(std::unique_ptr<Node> node, ExpressionPtr left, ExpressionPtr right) {
  const int depth = std::max(depth_of(left), depth_of(right));
  node->left = std::move(left);
  node->right = std::move(right);
  return with_depth(std::move(node), depth);
}

bool is_constant_name(std::string_view name) {
  return name == "true" || name == "false" || name == "none" || name == "True" || name == "False" || name == "None";
}

}  // namespace

ExpressionParser::Nest::Nest(ExpressionParser& parser, int line) : parser_(parser) {
  if (parser_.nesting_ >= kMaxNesting) fail_limit("the template nests too deeply", line);
  ++parser_.nesting_;
}

bool ExpressionParser::skip_symbol(std::string_view symbol) {
  if (!current().is_symbol(symbol)) return false;
  take();
  return true;
}

bool ExpressionParser::skip_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  take();
  return true;
}

Token ExpressionParser::expect_symbol(std::string_view symbol) {
  if (!current().is_symbol(symbol)) {
    fail_syntax("expected '" + std::string(symbol) + "', got " + describe(current()), current().line);
  }
  return take();
}

Token ExpressionParser::expect_name(std::string_view name) {
  if (current().kind != TokenKind::name || (!name.empty() && current().text != name)) {
    fail_syntax(
        "expected " + (name.empty() ? "a name" : "'" + std::string(name) + "'") + ", got " + describe(current()),
        current().line);
  }
  return take();
}

Token ExpressionParser::expect(TokenKind kind, std::string_view what) {
  if (current().kind != kind)
    fail_syntax("expected " + std::string(what) + ", got " + describe(current()), current().line);
  return take();
}

ExpressionPtr ExpressionParser::parse_tuple(TupleOptions options) {
  int line = current().line;
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
  int depth = 0;
  while (true) {
    if (!items.empty()) expect_symbol(",");
    const Token& token = current();
    if (token.kind == TokenKind::variable_end || token.kind == TokenKind::block_end || token.is_symbol(")") ||
        (!options.end_name.empty() && token.is_name(options.end_name))) {
      break;
    }
    items.push_back(options.simplified ? parse_primary(options.namespaces) : parse_expression(options.conditional));
    depth = std::max(depth, items.back()->depth);
    if (!current().is_symbol(",")) break;
    is_tuple = true;
    line = current().line;
  }
  if (!is_tuple) {
    if (!items.empty()) return std::move(items[0]);
    if (!options.parentheses) fail_syntax("Expected an expression, got " + describe(current()), current().line);
  }
  auto tuple = std::make_unique<Sequence>(Expression::Kind::tuple, line);
  tuple->items = std::move(items);
  return with_depth(std::move(tuple), depth);
}

ExpressionPtr ExpressionParser::parse_expression(bool conditional) {
  const Nest nest(*this, current().line);
  return conditional ? parse_conditional() : parse_or();
}

ExpressionPtr ExpressionParser::parse_conditional() {
  int line = current().line;
  ExpressionPtr value = parse_or();
  while (skip_name("if")) {
    auto node = std::make_unique<Conditional>(line);
    node->test = parse_or();
    if (skip_name("else")) node->otherwise = parse_expression();
    node->value = std::move(value);
    const int depth = std::max({depth_of(node->test), depth_of(node->value), depth_of(node->otherwise)});
    value = with_depth(std::move(node), depth);
    line = current().line;
  }
  return value;
}

ExpressionPtr ExpressionParser::parse_or() {
  int line = current().line;
  ExpressionPtr left = parse_and();
  while (skip_name("or")) {
    left = two_sided(std::make_unique<Logic>(false, line), std::move(left), parse_and());
    line = current().line;
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_and() {
  int line = current().line;
  ExpressionPtr left = parse_not();
  while (skip_name("and")) {
    left = two_sided(std::make_unique<Logic>(true, line), std::move(left), parse_not());
    line = current().line;
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_not() {
  if (!current().is_name("not")) return parse_compare();
  const Nest nest(*this, current().line);
  auto node = std::make_unique<Unary>(Unary::Operator::logical_not, take().line);
  node->operand = parse_not();
  const int depth = node->operand->depth;
  return with_depth(std::move(node), depth);
}

ExpressionPtr ExpressionParser::parse_compare() {
  using Operator = Compare::Operator;
  static constexpr std::pair<std::string_view, Operator> kOperators[] = {
      {"==", Operator::eq}, {"!=", Operator::ne}, {"<", Operator::lt},
      {"<=", Operator::le}, {">", Operator::gt},  {">=", Operator::ge},
  };
  const int line = current().line;
  ExpressionPtr first = parse_sum();
  std::unique_ptr<Compare> node;
  int depth = first->depth;
  while (true) {
    Operator op;
    const auto* symbol = std::find_if(std::begin(kOperators), std::end(kOperators),
                                      [&](const auto& entry) { return current().is_symbol(entry.first); });
    if (symbol != std::end(kOperators)) {
      op = symbol->second;
      take();
    } else if (skip_name("in")) {
      op = Operator::in;
    } else if (current().is_name("not") && look().is_name("in")) {
      op = Operator::not_in;
      take();
      take();
    } else {
      break;
    }
    if (!node) node = std::make_unique<Compare>(line);
    node->rest.emplace_back(op, parse_sum());
    depth = std::max(depth, node->rest.back().second->depth);
  }
  if (!node) return first;
  node->first = std::move(first);
  return with_depth(std::move(node), depth);
}

ExpressionPtr ExpressionParser::parse_sum() {
  int line = current().line;
  ExpressionPtr left = parse_concat();
  while (current().is_symbol("+") || current().is_symbol("-")) {
    const auto op = take().text == "+" ? Binary::Operator::add : Binary::Operator::subtract;
    left = two_sided(std::make_unique<Binary>(op, line), std::move(left), parse_concat());
    line = current().line;
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_concat() {
  const int line = current().line;
  ExpressionPtr first = parse_product();
  if (!current().is_symbol("~")) return first;
  auto node = std::make_unique<Concat>(line);
  int depth = first->depth;
  node->items.push_back(std::move(first));
  while (skip_symbol("~")) {
    node->items.push_back(parse_product());
    depth = std::max(depth, node->items.back()->depth);
  }
  return with_depth(std::move(node), depth);
}

ExpressionPtr ExpressionParser::parse_product() {
  using Operator = Binary::Operator;
  int line = current().line;
  ExpressionPtr left = parse_power();
  while (current().kind == TokenKind::symbol) {
    const std::string& symbol = current().text;
    Operator op;
    if (symbol == "*") {
      op = Operator::multiply;
    } else if (symbol == "/") {
      op = Operator::divide;
    } else if (symbol == "//") {
      op = Operator::floor_divide;
    } else if (symbol == "%") {
      op = Operator::modulo;
    } else {
      break;
    }
    take();
    left = two_sided(std::make_unique<Binary>(op, line), std::move(left), parse_power());
    line = current().line;
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_power() {
  int line = current().line;
  ExpressionPtr left = parse_unary(true);
  while (skip_symbol("**")) {  // from the left, unlike in Python
    left = two_sided(std::make_unique<Binary>(Binary::Operator::power, line), std::move(left), parse_unary(true));
    line = current().line;
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_unary(bool with_filter) {
  ExpressionPtr value;
  if (current().is_symbol("-") || current().is_symbol("+")) {
    const Nest nest(*this, current().line);
    const Token sign = take();
    auto node =
        std::make_unique<Unary>(sign.text == "-" ? Unary::Operator::negative : Unary::Operator::positive, sign.line);
    node->operand = parse_unary(false);
    const int depth = node->operand->depth;
    value = with_depth(std::move(node), depth);
  } else {
    value = parse_primary(false);
  }
  value = parse_postfix(std::move(value), false);
  return with_filter ? parse_postfix(std::move(value), true) : std::move(value);
}

ExpressionPtr ExpressionParser::parse_primary(bool namespaces) {
  const int line = current().line;
  switch (current().kind) {
    case TokenKind::name: {
      const std::string name = take().text;
      if (name == "true" || name == "True") return std::make_unique<Constant>(Value::boolean(true), line);
      if (name == "false" || name == "False") return std::make_unique<Constant>(Value::boolean(false), line);
      if (name == "none" || name == "None") return std::make_unique<Constant>(Value::none(), line);
      if (namespaces && skip_symbol(".")) return std::make_unique<NamespaceTarget>(name, expect_name("").text, line);
      return std::make_unique<Name>(name, line);
    }
    case TokenKind::string: {
      std::string text;
      while (current().kind == TokenKind::string) text += take().text;
      return std::make_unique<Constant>(Value::string(std::move(text)), line);
    }
    case TokenKind::integer: return std::make_unique<Constant>(Value::integer(take().integer), line);
    case TokenKind::floating: return std::make_unique<Constant>(Value::floating(take().floating), line);
    default: break;
  }
  if (skip_symbol("(")) {
    const Nest nest(*this, line);
    ExpressionPtr value = parse_tuple({.parentheses = true});
    expect_symbol(")");
    return value;
  }
  if (current().is_symbol("[")) return parse_list();
  if (current().is_symbol("{")) return parse_dict();
  fail_syntax("unexpected " + describe(current()), line);
}

ExpressionPtr ExpressionParser::parse_list() {
  auto node = std::make_unique<Sequence>(Expression::Kind::list, expect_symbol("[").line);
  int depth = 0;
  while (!current().is_symbol("]")) {
    if (!node->items.empty()) expect_symbol(",");
    if (current().is_symbol("]")) break;
    node->items.push_back(parse_expression());
    depth = std::max(depth, node->items.back()->depth);
  }
  expect_symbol("]");
  return with_depth(std::move(node), depth);
}

ExpressionPtr ExpressionParser::parse_dict() {
  auto node = std::make_unique<Dict>(expect_symbol("{").line);
  int depth = 0;
  while (!current().is_symbol("}")) {
    if (!node->items.empty()) expect_symbol(",");
    if (current().is_symbol("}")) break;
    ExpressionPtr key = parse_expression();
    expect_symbol(":");
    ExpressionPtr value = parse_expression();
    depth = std::max({depth, key->depth, value->depth});
    node->items.emplace_back(std::move(key), std::move(value));
  }
  expect_symbol("}");
  return with_depth(std::move(node), depth);
}

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
