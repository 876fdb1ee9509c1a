// The grammar of expressions; parser.cc adds the statements.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace zaya::text::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

 protected:
  const Token& current() const { return tokens_[position_]; }
  const Token& look() const { return tokens_[position_ + 1 < tokens_.size() ? position_ + 1 : position_]; }
  Token take() { return position_ + 1 < tokens_.size() ? tokens_[position_++] : tokens_[position_]; }
  // To parse some tokens again.
  size_t mark() const { return position_; }
  void rewind(size_t mark) { position_ = mark; }
  bool skip_symbol(std::string_view symbol);
  bool skip_name(std::string_view name);
  Token expect_symbol(std::string_view symbol);
  Token expect_name(std::string_view name);  // "" stands for any
  Token expect(TokenKind kind, std::string_view what);

  // A tuple without parentheses, or a single expression. `end_name` is a keyword that ends it besides what always does.
  struct TupleOptions {
    bool conditional = true;   // may hold `a if b else c`
    bool simplified = false;   // only names and literals: an assignment's targets
    bool parentheses = false;  // stands in parentheses: may be empty
    bool namespaces = false;   // targets may be a.b
    std::string_view end_name{};
  };
  ExpressionPtr parse_tuple(TupleOptions options);
  ExpressionPtr parse_expression(bool conditional = true);
  ExpressionPtr parse_filters(ExpressionPtr input, bool start_inline);
  // What set and for assign to.
  ExpressionPtr parse_target(bool namespaces, std::string_view end_name);

  // for statements around the current token; assigning to `loop` inside of one is an error.
  int loops_around_ = 0;
  // Nesting of expressions and statements; bounded because the parser and the interpreter recurse over them.
  int nesting_ = 0;
  class Nest {
   public:
    Nest(ExpressionParser& parser, int line);
    ~Nest() { --parser_.nesting_; }

   private:
    ExpressionParser& parser_;
  };

 private:
  ExpressionPtr parse_conditional();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_compare();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concat();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filter);
  ExpressionPtr parse_primary(bool namespaces);
  ExpressionPtr parse_list();
  ExpressionPtr parse_dict();
  ExpressionPtr parse_postfix(ExpressionPtr value, bool filters);
  ExpressionPtr parse_subscript(ExpressionPtr object);
  ExpressionPtr parse_subscribed();
  ExpressionPtr parse_call(ExpressionPtr callee);
  ExpressionPtr parse_test(ExpressionPtr input);
  CallArguments parse_arguments(int& depth);
  std::string parse_dotted_name();
  void mark_stored(Expression& target);

  std::vector<Token> tokens_;
  size_t position_ = 0;
};

}  // namespace zaya::text::jinja
