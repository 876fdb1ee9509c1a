// Visiting the parts of expressions.
#pragma once

#include "text/jinja/ast.h"

namespace zaya::text::jinja {

// Calls visit(Expression&) for each direct part of `expression`.
template <class Visit>
void for_each_part(CallArguments& arguments, Visit&& visit) {
  for (ExpressionPtr& argument : arguments.positional) visit(*argument);
  for (auto& [name, argument] : arguments.keywords) visit(*argument);
  if (arguments.more_positional) visit(*arguments.more_positional);
  if (arguments.more_keywords) visit(*arguments.more_keywords);
}

template <class Visit>
void for_each_part(Expression& expression, Visit&& visit) {
  const auto maybe = [&](ExpressionPtr& part) {
    if (part) visit(*part);
  };
  switch (expression.kind) {
    case Expression::Kind::constant:
    case Expression::Kind::name:
    case Expression::Kind::namespace_target: return;
    case Expression::Kind::tuple:
    case Expression::Kind::list:
      for (ExpressionPtr& item : static_cast<Sequence&>(expression).items) visit(*item);
      return;
    case Expression::Kind::dict:
      for (auto& [key, value] : static_cast<Dict&>(expression).items) {
        visit(*key);
        visit(*value);
      }
      return;
    case Expression::Kind::unary: return visit(*static_cast<Unary&>(expression).operand);
    case Expression::Kind::binary:
      visit(*static_cast<Binary&>(expression).left);
      return visit(*static_cast<Binary&>(expression).right);
    case Expression::Kind::logic:
      visit(*static_cast<Logic&>(expression).left);
      return visit(*static_cast<Logic&>(expression).right);
    case Expression::Kind::concat:
      for (ExpressionPtr& item : static_cast<Concat&>(expression).items) visit(*item);
      return;
    case Expression::Kind::compare:
      visit(*static_cast<Compare&>(expression).first);
      for (auto& [op, operand] : static_cast<Compare&>(expression).rest) visit(*operand);
      return;
    case Expression::Kind::attribute: return visit(*static_cast<Attribute&>(expression).object);
    case Expression::Kind::item:
      visit(*static_cast<Item&>(expression).object);
      return visit(*static_cast<Item&>(expression).index);
    case Expression::Kind::slice: {
      auto& slice = static_cast<Slice&>(expression);
      maybe(slice.start);
      maybe(slice.stop);
      return maybe(slice.step);
    }
    case Expression::Kind::call:
      visit(*static_cast<Call&>(expression).callee);
      return for_each_part(static_cast<Call&>(expression).arguments, visit);
    case Expression::Kind::filter:
      maybe(static_cast<Filter&>(expression).input);
      return for_each_part(static_cast<Filter&>(expression).arguments, visit);
    case Expression::Kind::test:
      visit(*static_cast<Test&>(expression).input);
      return for_each_part(static_cast<Test&>(expression).arguments, visit);
    case Expression::Kind::conditional: {
      auto& conditional = static_cast<Conditional&>(expression);
      visit(*conditional.test);
      visit(*conditional.value);
      return maybe(conditional.otherwise);
    }
  }
}

}  // namespace zaya::text::jinja
