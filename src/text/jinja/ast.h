// What a template says: the tree that the parser builds, scopes.h completes and the interpreter walks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace zaya::text::jinja {

class Interpreter;
struct Arguments;

// Where a variable lives: so many functions (macros) out from the running one, and its number there.
struct Slot {
  int hops = 0;
  int index = -1;
};

// ---- expressions ----

struct Expression {
  enum class Kind : uint8_t {
    constant,
    name,
    namespace_target,
    tuple,
    list,
    dict,
    unary,
    binary,
    logic,
    concat,
    compare,
    attribute,
    item,
    slice,
    call,
    filter,
    test,
    conditional,
  };
  Expression(Kind expression_kind, int source_line) : kind(expression_kind), line(source_line) {}
  virtual ~Expression() = default;
  const Kind kind;
  int line;
  int depth = 1;  // of the tree below; the parser bounds it
};
using ExpressionPtr = std::unique_ptr<Expression>;

struct Constant : Expression {
  Constant(Value v, int l) : Expression(Kind::constant, l), value(std::move(v)) {}
  Value value;
};

struct Name : Expression {
  enum class Use : uint8_t { load, store, parameter };
  Name(std::string n, int l) : Expression(Kind::name, l), name(std::move(n)) {}
  std::string name;
  Use use = Use::load;
  Slot slot;
};

// a.b as the target of set
struct NamespaceTarget : Expression {
  NamespaceTarget(std::string n, std::string a, int l)
      : Expression(Kind::namespace_target, l), name(std::move(n)), attribute(std::move(a)) {}
  std::string name, attribute;
  Slot slot;
};

// (…), […]: kind tells which
struct Sequence : Expression {
  using Expression::Expression;
  std::vector<ExpressionPtr> items;
};

struct Dict : Expression {
  explicit Dict(int l) : Expression(Kind::dict, l) {}
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> items;
};

struct Unary : Expression {
  enum class Operator : uint8_t { negative, positive, logical_not };
  Unary(Operator o, int l) : Expression(Kind::unary, l), op(o) {}
  Operator op;
  ExpressionPtr operand;
};

struct Binary : Expression {
  enum class Operator : uint8_t { add, subtract, multiply, divide, floor_divide, modulo, power };
  Binary(Operator o, int l) : Expression(Kind::binary, l), op(o) {}
  Operator op;
  ExpressionPtr left, right;
};

// and, or
struct Logic : Expression {
  Logic(bool conjunction, int l) : Expression(Kind::logic, l), is_and(conjunction) {}
  bool is_and;
  ExpressionPtr left, right;
};

// a ~ b ~ …
struct Concat : Expression {
  explicit Concat(int l) : Expression(Kind::concat, l) {}
  std::vector<ExpressionPtr> items;
};

// a < b <= c …
struct Compare : Expression {
  enum class Operator : uint8_t { eq, ne, lt, le, gt, ge, in, not_in };
  explicit Compare(int l) : Expression(Kind::compare, l) {}
  ExpressionPtr first;
  std::vector<std::pair<Operator, ExpressionPtr>> rest;
};

// object.name
struct Attribute : Expression {
  Attribute(std::string n, int l) : Expression(Kind::attribute, l), name(std::move(n)) {}
  ExpressionPtr object;
  std::string name;
};

// object[index]
struct Item : Expression {
  explicit Item(int l) : Expression(Kind::item, l) {}
  ExpressionPtr object, index;
};

// start:stop:step, each may be absent; only inside of Item
struct Slice : Expression {
  explicit Slice(int l) : Expression(Kind::slice, l) {}
  ExpressionPtr start, stop, step;
};

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> keywords;
  ExpressionPtr more_positional, more_keywords;  // *x, **x; may be null
};

struct Call : Expression {
  explicit Call(int l) : Expression(Kind::call, l) {}
  ExpressionPtr callee;
  CallArguments arguments;
};

using FilterFunction = Value (*)(Interpreter&, const Value& input, Arguments&);
using TestFunction = bool (*)(Interpreter&, const Value& input, Arguments&);

struct Filter : Expression {
  Filter(std::string n, int l) : Expression(Kind::filter, l), name(std::move(n)) {}
  ExpressionPtr input;  // null: the text of the enclosing block
  std::string name;
  FilterFunction function = nullptr;  // null: running it is an error
  CallArguments arguments;
};

struct Test : Expression {
  Test(std::string n, int l) : Expression(Kind::test, l), name(std::move(n)) {}
  ExpressionPtr input;
  std::string name;
  TestFunction function = nullptr;
  CallArguments arguments;
};

// value if test else otherwise (may be null)
struct Conditional : Expression {
  explicit Conditional(int l) : Expression(Kind::conditional, l) {}
  ExpressionPtr test, value, otherwise;
};

// ---- scopes (filled by scopes.h) ----

// What a variable of a scope is bound to when the scope is entered.
struct Load {
  enum class From : uint8_t { parameter, context, outer, nothing };
  int index = -1;  // in the running function
  From from = From::nothing;
  Slot outer;
  std::string name;
};

struct Scope {
  std::vector<Load> loads;
};

// What gets variables of its own: the template, a macro, the block of a call, the condition of a for.
struct Function {
  int slots = 0;
  Scope scope;
};

// ---- statements ----

struct Statement {
  enum class Kind : uint8_t {
    text,
    print,
    if_chain,
    for_loop,
    set,
    set_block,
    macro,
    call_block,
    generation,
    filter_block,
    with,
    break_loop,
    continue_loop,
  };
  Statement(Kind statement_kind, int source_line) : kind(statement_kind), line(source_line) {}
  virtual ~Statement() = default;
  const Kind kind;
  int line;
};
using StatementPtr = std::unique_ptr<Statement>;
using Block = std::vector<StatementPtr>;

struct Text : Statement {
  Text(std::string t, int l) : Statement(Kind::text, l), text(std::move(t)) {}
  std::string text;
};

struct Print : Statement {
  Print(ExpressionPtr v, int l) : Statement(Kind::print, l), value(std::move(v)) {}
  ExpressionPtr value;
};

struct IfChain : Statement {
  explicit IfChain(int l) : Statement(Kind::if_chain, l) {}
  std::vector<std::pair<ExpressionPtr, Block>> branches;
  Block otherwise;
};

struct ForLoop : Statement {
  explicit ForLoop(int l) : Statement(Kind::for_loop, l) {}
  ExpressionPtr target, iterated;
  ExpressionPtr test;  // may be null
  Block body, otherwise;
  Scope body_scope, otherwise_scope;
  Slot loop;
  // The test runs as a function of its own, with the target's variables bound anew.
  Function test_function;
  ExpressionPtr test_target;
};

struct Set : Statement {
  explicit Set(int l) : Statement(Kind::set, l) {}
  ExpressionPtr target, value;
};

struct SetBlock : Statement {
  explicit SetBlock(int l) : Statement(Kind::set_block, l) {}
  ExpressionPtr target;
  ExpressionPtr filter;  // may be null
  Block body;
  Scope scope;
};

// The parameters and body that macro and call have in common.
struct Callable {
  struct Parameter {
    std::string name;
    ExpressionPtr fallback;  // may be null
    int index = -1;
  };
  std::string name;
  std::vector<Parameter> parameters;
  Block body;
  Function function;
  // The special variables that the body reads; -1: it does not.
  int caller = -1, keywords = -1, positional = -1;
};

struct Macro : Statement {
  explicit Macro(int l) : Statement(Kind::macro, l) {}
  Callable callable;
  Slot slot;
};

// {% call(…) macro(…) %}
struct CallBlock : Statement {
  explicit CallBlock(int l) : Statement(Kind::call_block, l) {}
  Callable callable;
  ExpressionPtr call;
};

// {% generation %}: what the assistant wrote; prints its body.
struct Generation : Statement {
  explicit Generation(int l) : Statement(Kind::generation, l) {}
  Block body;
  Scope scope;
};

struct FilterBlock : Statement {
  explicit FilterBlock(int l) : Statement(Kind::filter_block, l) {}
  ExpressionPtr filter;
  Block body;
  Scope scope;
};

struct With : Statement {
  explicit With(int l) : Statement(Kind::with, l) {}
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> bindings;
  Block body;
  Scope scope;
};

struct Break : Statement {
  explicit Break(int l) : Statement(Kind::break_loop, l) {}
};
struct Continue : Statement {
  explicit Continue(int l) : Statement(Kind::continue_loop, l) {}
};

struct TemplateNode {
  Block body;
  Function function;
};

}  // namespace zaya::text::jinja
