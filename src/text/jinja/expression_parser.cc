#include "text/jinja/expression_parser.h"

#include <algorithm>

#include "text/jinja/error.h"
#include "text/jinja/expression_depth.h"

namespace zaya::text::jinja {
namespace {

template <class Node>
ExpressionPtr two_sided(std::unique_ptr<Node> node, ExpressionPtr left, ExpressionPtr right) {
  const int depth = std::max(depth_of(left), depth_of(right));
  node->left = std::move(left);
  node->right = std::move(right);
  return with_depth(std::move(node), depth);
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

}  // namespace zaya::text::jinja
