#include "eval/items.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace zaya::eval {

const char* name_of(Judge judge) {
  switch (judge) {
    case Judge::answer: return "answer";
    case Judge::option: return "option";
    case Judge::gym: return "gym";
    case Judge::code: return "code";
  }
  return "unknown";
}

std::string ItemSet::digest() const {
  // FNV-1a, each text ended by a zero byte so that borders count.
  uint64_t hash = 0xcbf29ce484222325;
  const auto add = [&](const std::string& text) {
    for (size_t i = 0; i <= text.size(); ++i) {
      hash = (hash ^ (i < text.size() ? static_cast<unsigned char>(text[i]) : 0)) * 0x100000001b3;
    }
  };
  for (const Item& item : items) {
    add(item.id);
    add(item.prompt);
    add(item.expected);
  }
  return fmt::format("{:016x}", hash);
}

Result<ItemSet> gym_items(const GymChoice& choice) {
  if (choice.difficulties.empty()) return Status(Code::invalid_argument, "no difficulty is chosen");
  if (choice.count < 1) return Status(Code::invalid_argument, "fewer than one problem of each kind");
  std::vector<const gym::Environment*> environments;
  for (const std::string& name : choice.environments) {
    const gym::Environment* found = gym::find_environment(name);
    if (found == nullptr) {
      std::string names;
      for (const gym::Environment* known : gym::environments()) {
        names += (names.empty() ? "" : ", ") + std::string(known->name());
      }
      return Status(Code::not_found, fmt::format("the gym has no environment \"{}\"", name), "there are " + names);
    }
    environments.push_back(found);
  }
  if (environments.empty()) {
    const auto all = gym::environments();
    environments.assign(all.begin(), all.end());
  }

  ItemSet set;
  for (const gym::Environment* environment : environments) {
    const std::string name(environment->name());
    for (int difficulty : choice.difficulties) {
      if (difficulty < 0 || difficulty > environment->max_useful_difficulty()) continue;
      std::set<std::string> seen;
      // Easy tasks have few problems: eight draws for each wanted are enough to find most of them.
      for (uint64_t draw = 0; draw < 8 * static_cast<uint64_t>(choice.count); ++draw) {
        if (static_cast<int64_t>(seen.size()) == choice.count) break;
        const uint64_t seed = choice.first_seed + draw;
        auto problem =
            std::make_shared<const gym::Problem>(gym::make_problem(*environment, choice.split, seed, difficulty));
        if (!seen.insert(problem->prompt).second) continue;
        set.items.push_back({.id = fmt::format("gym/{}/d{}/s{}", name, difficulty, seed),
                             .group = fmt::format("{} d{}", name, difficulty),
                             .prompt = problem->prompt,
                             .judge = Judge::gym,
                             .expected = problem->answer,
                             .problem = problem});
      }
      if (static_cast<int64_t>(seen.size()) < choice.count) {
        set.notes.push_back(fmt::format("{} at difficulty {} gave {} different problems, not {}", name, difficulty,
                                        seen.size(), choice.count));
      }
    }
  }
  if (set.items.empty()) {
    return Status(Code::invalid_argument, "no environment has a problem of these difficulties", "zaya gym list");
  }
  return set;
}

void append_items(ItemSet& set, ItemSet more) {
  std::set<std::string> taken;
  for (const Item& item : set.items) taken.insert(item.id);
  for (Item& item : more.items) {
    const std::string wanted = item.id;
    for (int64_t number = 2; !taken.insert(item.id).second; ++number) item.id = fmt::format("{}#{}", wanted, number);
    set.items.push_back(std::move(item));
  }
  std::move(more.notes.begin(), more.notes.end(), std::back_inserter(set.notes));
}

}  // namespace zaya::eval
