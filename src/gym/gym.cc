#include "gym/gym.h"

#include <algorithm>

#include "gym/kinds.h"

namespace zaya::gym {
namespace {

// Where the last `word` ends, in text that is lower case already; npos when it does not occur.
size_t end_of_last(const std::string& text, std::string_view word) {
  const size_t at = text.rfind(word);
  return at == std::string::npos ? at : at + word.size();
}

// The content of the last \boxed{…}, braces balanced; nothing when there is none or it is not closed.
std::optional<std::string_view> boxed(std::string_view text) {
  constexpr std::string_view kBox = "\\boxed{";
  const size_t at = text.rfind(kBox);
  if (at == std::string_view::npos) return std::nullopt;
  int depth = 1;
  for (size_t i = at + kBox.size(); i < text.size(); ++i) {
    depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
    if (depth == 0) return text.substr(at + kBox.size(), i - at - kBox.size());
  }
  return std::nullopt;
}

}  // namespace

const char* name_of(Split split) { return split == Split::train ? "train" : "held_out"; }

std::optional<Split> parse_split(std::string_view name) {
  if (name == "train") return Split::train;
  if (name == "held_out") return Split::held_out;
  return std::nullopt;
}

std::span<const Environment* const> environments() {
  static const Environments list = [] {
    Environments all;
    add_arithmetic(all);
    add_expressions(all);
    add_numbers(all);
    add_notation(all);
    add_countdown(all);
    add_strings(all);
    add_lists(all);
    add_puzzles(all);
    add_graphs(all);
    add_calendar(all);
    add_programs(all);
    return all;
  }();
  return list;
}

const Environment* find_environment(std::string_view name) {
  const auto list = environments();
  const auto found = std::find_if(list.begin(), list.end(), [name](const Environment* e) { return e->name() == name; });
  return found == list.end() ? nullptr : *found;
}

Split split_of(std::string_view prompt) { return hash64(prompt) % 8 == 0 ? Split::held_out : Split::train; }

Problem make_problem(const Environment& environment, Split split, uint64_t seed, int difficulty) {
  Problem problem{.environment = std::string(environment.name()),
                  .seed = seed,
                  .difficulty = std::max(difficulty, 0),
                  .split = split};
  const int level = std::min(problem.difficulty, environment.max_useful_difficulty());
  const uint64_t base = mix64(mix64(hash64(environment.name()) ^ seed) + static_cast<uint64_t>(level));
  // A held-out draw fails with probability 7/8: 1,000 attempts fail with 1e-58, unless the environment has too few
  // problems at this difficulty, which the tests rule out for ours. Another's environment gets a marked prompt then, so
  // that the promise about splits holds in any case.
  constexpr uint64_t kAttempts = 1000;
  for (uint64_t attempt = 0; attempt < kAttempts; ++attempt) {
    Rng rng(mix64(base + attempt));
    Draft draft = environment.draw(rng, level);
    if (attempt + 1 == kAttempts) {
      while (split_of(draft.prompt) != split) draft.prompt += '\n';
    }
    if (split_of(draft.prompt) != split) continue;
    problem.prompt = std::move(draft.prompt);
    problem.answer = std::move(draft.answer);
    problem.trace = std::move(draft.trace);
    break;
  }
  return problem;
}

std::string assistant_text(const Problem& problem) {
  return cat("<think>\n", problem.trace, "\n</think>\n\n\\boxed{", problem.answer, "}");
}

std::string_view final_answer(std::string_view whole) {
  constexpr std::string_view kEnd = "</think>";
  if (const size_t end = whole.rfind(kEnd); end != std::string_view::npos) whole.remove_prefix(end + kEnd.size());
  if (whole.size() > 16 * kMaxAnswerBytes) whole.remove_prefix(whole.size() - 16 * kMaxAnswerBytes);
  if (const auto found = boxed(whole)) return trimmed(*found);
  const std::string small = lower(whole);
  size_t at = std::string::npos;
  for (const std::string_view word : {"answer:", "answer is"}) {
    const size_t end = end_of_last(small, word);
    if (end != std::string::npos && (at == std::string::npos || end > at)) at = end;
  }
  if (at != std::string::npos) {
    std::string_view rest = trimmed(whole.substr(at));
    return tidied(rest.substr(0, rest.find('\n')));
  }
  whole = trimmed(whole);
  const size_t line = whole.rfind('\n');
  return trimmed(line == std::string_view::npos ? whole : whole.substr(line + 1));
}

bool verify_answer(const Problem& problem, std::string_view whole_answer) {
  const std::string_view answer = final_answer(whole_answer);
  if (answer.empty() || answer.size() > kMaxAnswerBytes) return false;
  const Environment* environment = find_environment(problem.environment);
  return environment ? environment->verify(problem, answer) : same_text(problem, answer);
}

}  // namespace zaya::gym
