#include "text/jinja/scopes.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/error.h"
#include "text/jinja/filters.h"
#include "text/jinja/symbols.h"
#include "text/jinja/tests.h"
#include "text/jinja/walk.h"

namespace zaya::text::jinja {
namespace {

// ---- collecting: which names a scope reads and sets, in the order of the text ----

class Collector {
 public:
  explicit Collector(Symbols& symbols) : symbols_(&symbols) {}

  void collect(Expression& expression) {
    if (expression.kind == Expression::Kind::name) {
      auto& name = static_cast<Name&>(expression);
      switch (name.use) {
        case Name::Use::load: return symbols_->load(name.name);
        case Name::Use::store: return symbols_->store(name.name);
        case Name::Use::parameter: symbols_->declare_parameter(name.name); return;
      }
    }
    if (expression.kind == Expression::Kind::namespace_target) {
      return symbols_->load(static_cast<NamespaceTarget&>(expression).name);
    }
    for_each_part(expression, [this](Expression& part) { collect(part); });
  }

  // The names of a for's target are its scope's parameters.
  void collect_parameters(Expression& target) {
    if (target.kind == Expression::Kind::name) {
      symbols_->declare_parameter(static_cast<Name&>(target).name);
    } else {
      for_each_part(target, [this](Expression& part) { collect_parameters(part); });
    }
  }

  void collect(Block& block) {
    for (StatementPtr& statement : block) collect(*statement);
  }

  // Scopes inside of the statement are not entered.
  void collect(Statement& statement) {
    switch (statement.kind) {
      case Statement::Kind::text:
      case Statement::Kind::generation:
      case Statement::Kind::break_loop:
      case Statement::Kind::continue_loop: return;
      case Statement::Kind::print: return collect(*static_cast<Print&>(statement).value);
      case Statement::Kind::if_chain: return collect_if(static_cast<IfChain&>(statement), 0);
      case Statement::Kind::for_loop: return collect(*static_cast<ForLoop&>(statement).iterated);
      case Statement::Kind::set:
        collect(*static_cast<Set&>(statement).value);
        return collect(*static_cast<Set&>(statement).target);
      case Statement::Kind::set_block: return collect(*static_cast<SetBlock&>(statement).target);
      case Statement::Kind::macro: return symbols_->store(static_cast<Macro&>(statement).callable.name);
      case Statement::Kind::call_block: return collect(*static_cast<CallBlock&>(statement).call);
      case Statement::Kind::filter_block: return collect(*static_cast<FilterBlock&>(statement).filter);
      case Statement::Kind::with:
        for (auto& [target, value] : static_cast<With&>(statement).bindings) collect(*value);
        return;
    }
  }

 private:
  // jinja2 sees `elif` as ifs beside each other, in the second of three branches.
  void collect_if(IfChain& chain, size_t first) {
    Block& body = chain.branches[first].second;
    collect(*chain.branches[first].first);
    Symbols* const original = symbols_;
    const auto branch = [&](auto&& collect_branch) {
      Symbols copy = original->branch();
      symbols_ = &copy;
      collect_branch();
      symbols_ = original;
      return copy;
    };
    std::vector<Symbols> branches;
    branches.push_back(branch([&] { collect(body); }));
    branches.push_back(branch([&] {
      if (first == 0) {
        for (size_t i = 1; i < chain.branches.size(); ++i) collect_elif(chain.branches[i]);
      }
    }));
    branches.push_back(branch([&] { collect(chain.otherwise); }));
    symbols_->merge(branches);
  }

  void collect_elif(std::pair<ExpressionPtr, Block>& elif) {
    collect(*elif.first);
    Symbols* const original = symbols_;
    Symbols copy = original->branch();
    symbols_ = &copy;
    collect(elif.second);
    symbols_ = original;
    symbols_->merge({copy, original->branch()});
  }

  Symbols* symbols_;
};

// ---- the names among `names` that a body reads without setting them first ----

class UndeclaredFinder {
 public:
  explicit UndeclaredFinder(std::set<std::string> names) : names_(std::move(names)) {}
  const std::set<std::string>& found() const { return found_; }

  void visit(Expression& expression) {
    if (expression.kind == Expression::Kind::name) {
      auto& name = static_cast<Name&>(expression);
      if (name.use == Name::Use::load) {
        if (names_.count(name.name)) found_.insert(name.name);
      } else {
        names_.erase(name.name);
      }
    }
    for_each_part(expression, [this](Expression& part) { visit(part); });
  }

  void visit(Block& block) {
    for (StatementPtr& statement : block) visit(*statement);
  }

  void visit(Statement& statement) {
    switch (statement.kind) {
      case Statement::Kind::text:
      case Statement::Kind::break_loop:
      case Statement::Kind::continue_loop: return;
      case Statement::Kind::print: return visit(*static_cast<Print&>(statement).value);
      case Statement::Kind::if_chain: {
        auto& chain = static_cast<IfChain&>(statement);
        for (auto& [test, body] : chain.branches) {
          visit(*test);
          visit(body);
        }
        return visit(chain.otherwise);
      }
      case Statement::Kind::for_loop: {
        auto& loop = static_cast<ForLoop&>(statement);
        visit(*loop.target);
        visit(*loop.iterated);
        visit(loop.body);
        visit(loop.otherwise);
        if (loop.test) visit(*loop.test);
        return;
      }
      case Statement::Kind::set:
        visit(*static_cast<Set&>(statement).target);
        return visit(*static_cast<Set&>(statement).value);
      case Statement::Kind::set_block: {
        auto& set = static_cast<SetBlock&>(statement);
        visit(*set.target);
        if (set.filter) visit(*set.filter);
        return visit(set.body);
      }
      case Statement::Kind::macro: return visit(static_cast<Macro&>(statement).callable);
      case Statement::Kind::call_block:
        visit(*static_cast<CallBlock&>(statement).call);
        return visit(static_cast<CallBlock&>(statement).callable);
      case Statement::Kind::generation: return visit(static_cast<Generation&>(statement).body);
      case Statement::Kind::filter_block:
        visit(static_cast<FilterBlock&>(statement).body);
        return visit(*static_cast<FilterBlock&>(statement).filter);
      case Statement::Kind::with: {
        auto& with = static_cast<With&>(statement);
        for (auto& [target, value] : with.bindings) visit(*target);
        for (auto& [target, value] : with.bindings) visit(*value);
        return visit(with.body);
      }
    }
  }

 private:
  void visit(Callable& callable) {
    for (Callable::Parameter& parameter : callable.parameters) names_.erase(parameter.name);
    for (Callable::Parameter& parameter : callable.parameters) {
      if (parameter.fallback) visit(*parameter.fallback);
    }
    visit(callable.body);
  }

  std::set<std::string> names_, found_;
};

// ---- resolving: giving each name its slot ----

class Resolver {
 public:
  void resolve(TemplateNode& root) {
    FunctionContext function{&root.function, 0};
    Symbols symbols(nullptr, &function);
    Collector(symbols).collect(root.body);
    resolve(root.body, symbols, false);
    root.function.scope = symbols.scope();
  }

 private:
  // `conditional`: an if of the same scope decides whether this runs, so unknown filters are an error only then.
  void resolve(Block& block, Symbols& symbols, bool conditional) {
    for (StatementPtr& statement : block) resolve(*statement, symbols, conditional);
  }

  void resolve(Statement& statement, Symbols& symbols, bool conditional) {
    switch (statement.kind) {
      case Statement::Kind::text:
      case Statement::Kind::break_loop:
      case Statement::Kind::continue_loop: return;
      case Statement::Kind::print: return resolve(*static_cast<Print&>(statement).value, symbols, conditional);
      case Statement::Kind::if_chain: {
        auto& chain = static_cast<IfChain&>(statement);
        for (auto& [test, body] : chain.branches) {
          resolve(*test, symbols, true);
          resolve(body, symbols, true);
        }
        return resolve(chain.otherwise, symbols, true);
      }
      case Statement::Kind::for_loop: return resolve_for(static_cast<ForLoop&>(statement), symbols, conditional);
      case Statement::Kind::set:
        resolve(*static_cast<Set&>(statement).target, symbols, conditional);
        return resolve(*static_cast<Set&>(statement).value, symbols, conditional);
      case Statement::Kind::set_block: {
        auto& set = static_cast<SetBlock&>(statement);
        Symbols inner(&symbols, symbols.function());
        Collector collector(inner);
        collector.collect(set.body);
        if (set.filter) collector.collect(*set.filter);
        resolve(set.body, inner, false);
        resolve(*set.target, symbols, conditional);
        if (set.filter) resolve(*set.filter, inner, false);
        set.scope = inner.scope();
        return;
      }
      case Statement::Kind::macro: {
        auto& macro = static_cast<Macro&>(statement);
        resolve_callable(macro.callable, macro.line, symbols);
        macro.slot = symbols.slot(macro.callable.name, *symbols.function());
        return;
      }
      case Statement::Kind::call_block: {
        auto& call = static_cast<CallBlock&>(statement);
        resolve_callable(call.callable, call.line, symbols);
        return resolve(*call.call, symbols, conditional);
      }
      case Statement::Kind::generation: {
        auto& generation = static_cast<Generation&>(statement);
        return resolve_inner(generation.body, generation.scope, symbols);
      }
      case Statement::Kind::filter_block: {
        auto& block = static_cast<FilterBlock&>(statement);
        Symbols inner(&symbols, symbols.function());
        Collector collector(inner);
        collector.collect(block.body);
        collector.collect(*block.filter);
        resolve(block.body, inner, false);
        resolve(*block.filter, inner, false);
        block.scope = inner.scope();
        return;
      }
      case Statement::Kind::with: {
        auto& with = static_cast<With&>(statement);
        Symbols inner(&symbols, symbols.function());
        Collector collector(inner);
        for (auto& [target, value] : with.bindings) collector.collect(*target);
        collector.collect(with.body);
        for (auto& [target, value] : with.bindings) {
          resolve(*target, inner, false);
          resolve(*value, symbols, conditional);
        }
        resolve(with.body, inner, false);
        with.scope = inner.scope();
        return;
      }
    }
  }

  void resolve_inner(Block& body, Scope& scope, Symbols& symbols) {
    Symbols inner(&symbols, symbols.function());
    Collector(inner).collect(body);
    resolve(body, inner, false);
    scope = inner.scope();
  }

  void resolve_for(ForLoop& loop, Symbols& symbols, bool conditional) {
    Symbols body(&symbols, symbols.function());
    loop.loop = {0, body.declare_parameter("loop")};
    Collector collector(body);
    collector.collect_parameters(*loop.target);
    collector.collect(loop.body);

    if (loop.test) {
      FunctionContext function{&loop.test_function, symbols.function()->level + 1};
      Symbols test(&symbols, &function);
      Collector test_collector(test);
      test_collector.collect_parameters(*loop.test_target);
      test_collector.collect(*loop.test);
      resolve(*loop.test_target, test, false);
      resolve(*loop.test, test, false);
      loop.test_function.scope = test.scope();
    }

    resolve(*loop.target, body, false);
    resolve(*loop.iterated, symbols, conditional);
    resolve(loop.body, body, false);
    loop.body_scope = body.scope();
    resolve_inner(loop.otherwise, loop.otherwise_scope, symbols);
  }

  void resolve_callable(Callable& callable, int line, Symbols& symbols) {
    FunctionContext function{&callable.function, symbols.function()->level + 1};
    Symbols inner(&symbols, &function);
    Collector collector(inner);
    bool own_caller = false, own_keywords = false, own_positional = false;
    for (Callable::Parameter& parameter : callable.parameters) {
      parameter.index = inner.declare_parameter(parameter.name);
      own_caller |= parameter.name == "caller";
      own_keywords |= parameter.name == "kwargs";
      own_positional |= parameter.name == "varargs";
    }
    for (Callable::Parameter& parameter : callable.parameters) {
      if (parameter.fallback) collector.collect(*parameter.fallback);
    }
    collector.collect(callable.body);

    UndeclaredFinder finder({"caller", "kwargs", "varargs"});
    finder.visit(callable.body);
    if (finder.found().count("caller")) {
      if (!own_caller) callable.caller = inner.declare_parameter("caller");
      for (const Callable::Parameter& parameter : callable.parameters) {
        if (parameter.name != "caller") continue;
        if (!parameter.fallback) fail_syntax("a macro's parameter 'caller' must have a default", line);
        callable.caller = parameter.index;
      }
    }
    if (finder.found().count("kwargs") && !own_keywords) callable.keywords = inner.declare_parameter("kwargs");
    if (finder.found().count("varargs") && !own_positional) callable.positional = inner.declare_parameter("varargs");

    for (Callable::Parameter& parameter : callable.parameters) {
      if (parameter.fallback) resolve(*parameter.fallback, inner, false);
    }
    resolve(callable.body, inner, false);
    callable.function.scope = inner.scope();
  }

  void resolve(Expression& expression, Symbols& symbols, bool conditional) {
    switch (expression.kind) {
      case Expression::Kind::name: {
        auto& name = static_cast<Name&>(expression);
        name.slot = symbols.slot(name.name, *symbols.function());
        return;
      }
      case Expression::Kind::namespace_target: {
        auto& target = static_cast<NamespaceTarget&>(expression);
        target.slot = symbols.slot(target.name, *symbols.function());
        return;
      }
      case Expression::Kind::conditional: conditional = true; break;
      case Expression::Kind::filter: {
        auto& filter = static_cast<Filter&>(expression);
        filter.function = find_filter(filter.name);
        if (!filter.function && !conditional) refuse_filter(filter.name, filter.line);
        break;
      }
      case Expression::Kind::test: {
        auto& test = static_cast<Test&>(expression);
        test.function = find_test(test.name);
        if (!test.function && !conditional) refuse_test(test.name, test.line);
        break;
      }
      default: break;
    }
    for_each_part(expression, [&](Expression& part) { resolve(part, symbols, conditional); });
  }
};

}  // namespace

void resolve_scopes(TemplateNode& root) { Resolver().resolve(root); }

}  // namespace zaya::text::jinja
