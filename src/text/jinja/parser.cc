#include "text/jinja/parser.h"

#include <initializer_list>
#include <utility>

#include "text/jinja/error.h"
#include "text/jinja/expression_parser.h"

namespace zaya::text::jinja {
namespace {

class Parser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Block parse_all() { return parse_block({}); }

 private:
  bool at_any(std::initializer_list<std::string_view> names) const {
    for (std::string_view name : names) {
      if (current().is_name(name)) return true;
    }
    return false;
  }

  // Statements up to a tag that begins with one of `ends`, which becomes the current token; to the end of the template
  // when there are none.
  Block parse_block(std::initializer_list<std::string_view> ends) {
    Block block;
    while (true) {
      const int line = current().line;
      switch (current().kind) {
        case TokenKind::end:
          if (ends.size() == 0) return block;
          fail_syntax("Unexpected end of template: " + std::string(*(ends.end() - 1)) + " is missing", line);
        case TokenKind::data: block.push_back(std::make_unique<Text>(take().text, line)); break;
        case TokenKind::variable_begin: {
          take();
          block.push_back(std::make_unique<Print>(parse_tuple({}), line));
          expect(TokenKind::variable_end, "the end of the print statement");
          break;
        }
        default: {
          take();
          if (at_any(ends)) return block;
          if (current().kind != TokenKind::name) fail_syntax("tag name expected", current().line);
          parse_statement(block);
          expect(TokenKind::block_end, "the end of the block");
        }
      }
    }
  }

  // The body of a statement: behind its tag to one of `ends`.
  Block parse_body(std::initializer_list<std::string_view> ends) {
    const Nest nest(*this, current().line);
    skip_symbol(":");
    expect(TokenKind::block_end, "the end of the block");
    return parse_block(ends);
  }

  // The same, moving over the ending tag's name.
  Block parse_whole_body(std::string_view end) {
    Block body = parse_body({end});
    take();
    return body;
  }

  void parse_statement(Block& block) {
    const Token tag = take();
    const int line = tag.line;
    if (tag.text == "for") {
      block.push_back(parse_for(line));
    } else if (tag.text == "if") {
      block.push_back(parse_if(line));
    } else if (tag.text == "set") {
      block.push_back(parse_set(line));
    } else if (tag.text == "macro") {
      block.push_back(parse_macro(line));
    } else if (tag.text == "call") {
      block.push_back(parse_call_block(line));
    } else if (tag.text == "filter") {
      auto node = std::make_unique<FilterBlock>(line);
      node->filter = parse_filters(nullptr, true);
      node->body = parse_whole_body("endfilter");
      block.push_back(std::move(node));
    } else if (tag.text == "with") {
      block.push_back(parse_with(line));
    } else if (tag.text == "generation") {
      auto node = std::make_unique<Generation>(line);
      const LoopsHidden hidden(breakable_);
      node->body = parse_whole_body("endgeneration");
      block.push_back(std::move(node));
    } else if (tag.text == "print") {
      for (bool first = true; current().kind != TokenKind::block_end; first = false) {
        if (!first) expect_symbol(",");
        block.push_back(std::make_unique<Print>(parse_expression(), line));
      }
    } else if (tag.text == "break" || tag.text == "continue") {
      if (breakable_ == 0) fail_syntax("'" + tag.text + "' outside loop", line);
      if (tag.text == "break") {
        block.push_back(std::make_unique<Break>(line));
      } else {
        block.push_back(std::make_unique<Continue>(line));
      }
    } else {
      for (std::string_view known : {"block", "extends", "include", "import", "from", "autoescape"}) {
        if (tag.text == known) fail_unsupported("the tag '" + tag.text + "'", line);
      }
      fail_syntax("Encountered unknown tag '" + tag.text + "'", line);
    }
  }

  StatementPtr parse_for(int line) {
    auto node = std::make_unique<ForLoop>(line);
    ++loops_around_;
    const size_t target_begin = mark();
    node->target = parse_target(false, "in");
    const size_t behind_target = mark();
    // The test binds the target's names in a scope of its own: parse them a second time.
    rewind(target_begin);
    node->test_target = parse_target(false, "in");
    rewind(behind_target);
    expect_name("in");
    node->iterated = parse_tuple({.conditional = false, .end_name = "recursive"});
    if (skip_name("if")) node->test = parse_expression();
    if (current().is_name("recursive")) fail_unsupported("a recursive for", line);
    ++breakable_;
    node->body = parse_body({"endfor", "else"});
    --breakable_;
    if (take().text == "else") node->otherwise = parse_whole_body("endfor");
    --loops_around_;
    return node;
  }

  StatementPtr parse_if(int line) {
    auto node = std::make_unique<IfChain>(line);
    while (true) {
      ExpressionPtr test = parse_tuple({.conditional = false});
      Block body = parse_body({"elif", "else", "endif"});
      node->branches.emplace_back(std::move(test), std::move(body));
      const Token next = take();
      if (next.text == "elif") continue;
      if (next.text == "else") node->otherwise = parse_whole_body("endif");
      return node;
    }
  }

  StatementPtr parse_set(int line) {
    ExpressionPtr target = parse_target(true, "");
    if (skip_symbol("=")) {
      auto node = std::make_unique<Set>(line);
      node->target = std::move(target);
      node->value = parse_tuple({});
      return node;
    }
    auto node = std::make_unique<SetBlock>(line);
    node->target = std::move(target);
    node->filter = parse_filters(nullptr, false);
    node->body = parse_whole_body("endset");
    return node;
  }

  void parse_signature(Callable& callable) {
    expect_symbol("(");
    while (!current().is_symbol(")")) {
      if (!callable.parameters.empty()) expect_symbol(",");
      const Token name = expect_name("");
      check_assignable(name);
      Callable::Parameter parameter;
      parameter.name = name.text;
      for (const auto& other : callable.parameters) {
        if (other.name == name.text) fail_syntax("duplicate argument '" + name.text + "' in a macro", name.line);
      }
      if (skip_symbol("=")) {
        parameter.fallback = parse_expression();
      } else if (!callable.parameters.empty() && callable.parameters.back().fallback) {
        fail_syntax("non-default argument follows default argument", name.line);
      }
      callable.parameters.push_back(std::move(parameter));
    }
    expect_symbol(")");
  }

  static void check_assignable(const Token& name) {
    for (std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
      if (name.text == constant) fail_syntax("can't assign to '" + name.text + "'", name.line);
    }
  }

  StatementPtr parse_macro(int line) {
    auto node = std::make_unique<Macro>(line);
    const Token name = expect_name("");
    check_assignable(name);
    if (name.text == "loop" && loops_around_ > 0)
      fail_syntax("Can't assign to special loop variable in for-loop", line);
    node->callable.name = name.text;
    parse_signature(node->callable);
    const LoopsHidden hidden(breakable_);
    node->callable.body = parse_whole_body("endmacro");
    return node;
  }

  StatementPtr parse_call_block(int line) {
    auto node = std::make_unique<CallBlock>(line);
    if (current().is_symbol("(")) parse_signature(node->callable);
    node->call = parse_expression();
    if (node->call->kind != Expression::Kind::call) fail_syntax("expected call", line);
    const LoopsHidden hidden(breakable_);
    node->callable.body = parse_whole_body("endcall");
    return node;
  }

  StatementPtr parse_with(int line) {
    auto node = std::make_unique<With>(line);
    while (current().kind != TokenKind::block_end) {
      if (!node->bindings.empty()) expect_symbol(",");
      ExpressionPtr target = parse_target(false, "");
      mark_parameters(*target);
      expect_symbol("=");
      node->bindings.emplace_back(std::move(target), parse_expression());
    }
    node->body = parse_whole_body("endwith");
    return node;
  }

  static void mark_parameters(Expression& target) {
    if (target.kind == Expression::Kind::name) static_cast<Name&>(target).use = Name::Use::parameter;
    if (target.kind == Expression::Kind::tuple) {
      for (const ExpressionPtr& item : static_cast<Sequence&>(target).items) mark_parameters(*item);
    }
  }

  // Inside of a macro there is no loop to break out of.
  class LoopsHidden {
   public:
    explicit LoopsHidden(int& count) : count_(count), saved_(std::exchange(count, 0)) {}
    ~LoopsHidden() { count_ = saved_; }

   private:
    int& count_;
    int saved_;
  };

  int breakable_ = 0;  // loops that break and continue would find
};

}  // namespace

std::unique_ptr<TemplateNode> parse_template(std::string_view source) {
  auto root = std::make_unique<TemplateNode>();
  root->body = Parser(tokenize(source)).parse_all();
  return root;
}

}  // namespace zaya::text::jinja
