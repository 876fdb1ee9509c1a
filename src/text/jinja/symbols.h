// The names of one scope while scopes.cc decides what they mean.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/error.h"

namespace zaya::text::jinja {

struct FunctionContext {
  Function* function;
  int level;  // functions around it
};

// The places of one scope's names; the branches of an if share them.
struct Places {
  FunctionContext* function;
  std::map<std::string, int> indices;
  int place(const std::string& name) {
    const auto [entry, is_new] = indices.try_emplace(name, 0);
    if (is_new) entry->second = function->function->slots++;
    return entry->second;
  }
};

struct Target {
  FunctionContext* function = nullptr;
  int index = -1;
};

// Branches copy their scope's names; no sane template makes the analysis copy more than this many.
inline constexpr size_t kMaxCopies = 20'000'000;

class Symbols {
 public:
  Symbols(const Symbols* parent, FunctionContext* function)
      : parent_(parent),
        places_(std::make_shared<Places>(Places{function, {}})),
        copies_(parent ? parent->copies_ : std::make_shared<size_t>(0)) {}

  // The scope as a branch of an if begins to see it.
  Symbols branch() const {
    *copies_ += names_.size() + 1;
    if (*copies_ > kMaxCopies) fail_limit("the template has too many variables and branches");
    return *this;
  }

  FunctionContext* function() const { return places_->function; }

  Target find(const std::string& name) const {
    if (names_.count(name)) return {places_->function, places_->indices.at(name)};
    return parent_ ? parent_->find(name) : Target{};
  }

  void load(const std::string& name) {
    if (!find(name).function) define(name, Load::From::context);
  }

  void store(const std::string& name) {
    stores_.insert(name);
    if (names_.count(name)) return;
    const Target outer = parent_ ? parent_->find(name) : Target{};
    define(name, outer.function ? Load::From::outer : Load::From::nothing, outer);
  }

  int declare_parameter(const std::string& name) {
    stores_.insert(name);
    return define(name, Load::From::parameter);
  }

  // `branches` are copies of this scope that went through the branches of an if.
  void merge(const std::vector<Symbols>& branches) {
    std::set<std::string> stored;
    for (const Symbols& branch : branches) stored.insert(branch.stores_.begin(), branch.stores_.end());
    for (const std::string& name : stores_) stored.erase(name);
    for (const Symbols& branch : branches) {
      names_.insert(branch.names_.begin(), branch.names_.end());
      for (const auto& [index, entry] : branch.loads_) loads_[index] = entry;
      stores_.insert(branch.stores_.begin(), branch.stores_.end());
    }
    for (const std::string& name : stored) {
      const Target outer = parent_ ? parent_->find(name) : Target{};
      define(name, outer.function ? Load::From::outer : Load::From::context, outer);
    }
  }

  Slot slot(const std::string& name, const FunctionContext& from) const {
    const Target target = find(name);
    return {from.level - target.function->level, target.index};
  }

  Scope scope() const {
    Scope scope;
    for (const auto& [index, entry] : loads_) {
      Load load = entry.load;
      if (entry.outer.function) load.outer = {function()->level - entry.outer.function->level, entry.outer.index};
      scope.loads.push_back(std::move(load));
    }
    return scope;
  }

 private:
  struct Entry {
    Load load;
    Target outer;
  };

  int define(const std::string& name, Load::From from, Target outer = {}) {
    names_.insert(name);
    const int index = places_->place(name);
    loads_[index] = {Load{index, from, {}, name}, outer};
    return index;
  }

  const Symbols* parent_;
  std::shared_ptr<Places> places_;
  std::shared_ptr<size_t> copies_;  // shared by all scopes
  std::set<std::string> names_;
  std::map<int, Entry> loads_;
  std::set<std::string> stores_;
};

}  // namespace zaya::text::jinja
