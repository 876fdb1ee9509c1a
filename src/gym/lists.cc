// Lists and sets of numbers.
#include <algorithm>
#include <string>
#include <vector>

#include "gym/kinds.h"

namespace zaya::gym {
namespace {

using Numbers = std::vector<int64_t>;

// Insertion sort: the sorted list after each number.
Draft draw_sorting(Rng& rng, int difficulty) {
  Numbers numbers;
  for (int i = 0; i < 3 + difficulty; ++i) numbers.push_back(rng.between(0, difficulty < 1 ? 20 : 99));
  const bool down = difficulty > 0 && rng.coin();
  Numbers sorted;
  Lines lines;
  for (const int64_t number : numbers) {
    const auto place =
        std::find_if(sorted.begin(), sorted.end(), [&](int64_t n) { return down ? n < number : n > number; });
    sorted.insert(place, number);
    lines.add(join(sorted, " "));
  }
  return {cat("Sort ", join(numbers, " "), down ? " from large to small." : " from small to large."), join(sorted, " "),
          lines.take()};
}

// The numbers in order, with anything but digits between them.
bool verify_sorting(const Problem& problem, std::string_view answer) {
  for (const char c : answer) {
    if (std::string_view("0123456789 ,;[](){}<>\\.\n").find(c) == std::string_view::npos) return false;
  }
  const Numbers wanted = integers_in(problem.answer, false), given = integers_in(answer, false);
  return !wanted.empty() && given == wanted;
}

Numbers some_numbers(Rng& rng, int count, int64_t largest) {
  Numbers all;
  for (int64_t i = 1; i <= largest; ++i) all.push_back(i);
  rng.shuffle(all);
  all.resize(static_cast<size_t>(count));
  std::sort(all.begin(), all.end());  // one order: a problem must not be in both splits under two
  return all;
}

bool holds(const Numbers& set, int64_t number) { return std::find(set.begin(), set.end(), number) != set.end(); }
std::string set_text(const Numbers& set) { return cat('{', join(set, ", "), '}'); }

enum class SetOperation { both, only_left, either };

// "1 no, 4 yes: {4}": for each number of one set whether the other has it, then the result.
Numbers combine(Lines& lines, SetOperation operation, const Numbers& left, const Numbers& right) {
  Numbers result = operation == SetOperation::either ? left : Numbers();
  std::string line;
  for (const int64_t number : operation == SetOperation::either ? right : left) {
    const bool there = holds(operation == SetOperation::either ? left : right, number);
    line += cat(line.empty() ? "" : ", ", number, there ? " yes" : " no");
    if (there == (operation == SetOperation::both)) result.push_back(number);
  }
  lines.add(line.empty() ? "none" : line, ": ", set_text(result));
  return result;
}

Draft draw_set_operations(Rng& rng, int difficulty) {
  const int64_t largest = difficulty < 2 ? 9 : 19;
  const int size = 3 + difficulty / 2;
  const char* const words[] = {" and ", " minus ", " or "};
  const Numbers a = some_numbers(rng, size, largest), b = some_numbers(rng, rng.small(2, size), largest);
  std::string prompt = cat("A = ", set_text(a), ", B = ", set_text(b));
  const int first = rng.small(0, 2);
  Lines lines;
  Numbers result = combine(lines, static_cast<SetOperation>(first), a, b);
  std::string formula = cat('A', words[first], 'B');
  if (difficulty >= 2) {
    const Numbers c = some_numbers(rng, rng.small(2, size), largest);
    const int second = rng.small(0, 2);
    prompt += cat(", C = ", set_text(c));
    formula = cat('(', formula, ')', words[second], 'C');
    result = combine(lines, static_cast<SetOperation>(second), result, c);
  }
  return {cat(prompt, ". Which numbers are in ", formula, "?"), set_text(result), lines.take()};
}

// Any order, twice is once; "{}", "empty" and "none" are the empty set.
bool verify_set_operations(const Problem& problem, std::string_view answer) {
  std::string text = lower(tidied(answer));
  std::erase_if(text, [](char c) { return c == ' ' || c == '\\'; });
  Numbers wanted = integers_in(problem.answer, false), given;
  const bool empty = text == "{}" || text == "[]" || text == "empty" || text == "none" || text == "emptyset";
  if (!empty) {
    if (text.find_first_not_of("0123456789,;[](){}=abc\n") != std::string::npos) return false;
    given = integers_in(text, false);
    if (given.empty()) return false;
  }
  for (Numbers* set : {&wanted, &given}) {
    std::sort(set->begin(), set->end());
    set->erase(std::unique(set->begin(), set->end()), set->end());
  }
  return problem.answer.starts_with('{') && given == wanted;
}

}  // namespace

void add_lists(Environments& list) {
  static const SimpleEnvironment environments[] = {
      {"sorting", "Numbers in order", "how many: 3, then one more per step; to 20, then 99; downwards too", 6,
       draw_sorting, verify_sorting},
      {"set_operations", "Numbers in both sets, in either, in one only",
       "sizes: 3, 3, 4, 4 …; numbers to 9, then 19; from 2 on a third set", 6, draw_set_operations,
       verify_set_operations},
  };
  for (const Environment& environment : environments) list.push_back(&environment);
}

}  // namespace zaya::gym
