// Countdown: given numbers and + - * /, make a target, each number once. The solver takes one number off the target at
// a time and keeps what remains to be made, until two numbers are left.
#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "gym/kinds.h"

namespace zaya::gym {
namespace {

// A fraction in lowest terms; sizes are bounded because answers are: a value that overflows is no value.
struct Fraction {
  int64_t above = 0, below = 1;
};

// Recursive descent with bounded depth over + - * / ( ), signs and whole numbers. Fills in the numbers it meets.
class Calculator {
 public:
  explicit Calculator(std::string_view text) : text_(text) {}
  std::optional<Fraction> value() {
    const auto result = sum(0);
    skip();
    return at_ == text_.size() ? result : std::nullopt;
  }
  const std::vector<int64_t>& numbers() const { return numbers_; }

 private:
  void skip() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  char take_one_of(std::string_view wanted) {
    skip();
    if (at_ < text_.size() && wanted.find(text_[at_]) != std::string_view::npos) return text_[at_++];
    return 0;
  }
  static std::optional<Fraction> apply(Fraction a, char op, Fraction b);
  std::optional<Fraction> sum(int depth);
  std::optional<Fraction> product(int depth);
  std::optional<Fraction> factor(int depth);

  std::string_view text_;
  size_t at_ = 0;
  std::vector<int64_t> numbers_;
};

constexpr int64_t kLargest = 1000000000;  // products of two stay far inside 64 bits

std::optional<Fraction> lowest(int64_t above, int64_t below) {
  if (below == 0) return std::nullopt;
  if (below < 0) above = -above, below = -below;
  const int64_t common = std::gcd(above, below);
  above /= common;
  below /= common;
  if (above > kLargest || above < -kLargest || below > kLargest) return std::nullopt;
  return Fraction{above, below};
}

std::optional<Fraction> Calculator::apply(Fraction a, char op, Fraction b) {
  switch (op) {
    case '+': return lowest(a.above * b.below + b.above * a.below, a.below * b.below);
    case '-': return lowest(a.above * b.below - b.above * a.below, a.below * b.below);
    case '*': return lowest(a.above * b.above, a.below * b.below);
    default: return lowest(a.above * b.below, a.below * b.above);
  }
}

std::optional<Fraction> Calculator::sum(int depth) {
  auto value = product(depth);
  while (value) {
    const char op = take_one_of("+-");
    if (op == 0) break;
    const auto right = product(depth);
    value = right ? apply(*value, op, *right) : std::nullopt;
  }
  return value;
}

std::optional<Fraction> Calculator::product(int depth) {
  auto value = factor(depth);
  while (value) {
    const char op = take_one_of("*/");
    if (op == 0) break;
    const auto right = factor(depth);
    value = right ? apply(*value, op, *right) : std::nullopt;
  }
  return value;
}

std::optional<Fraction> Calculator::factor(int depth) {
  if (depth > 32 || numbers_.size() > 32) return std::nullopt;
  if (take_one_of("(") != 0) {
    const auto value = sum(depth + 1);
    return value && take_one_of(")") != 0 ? value : std::nullopt;
  }
  if (take_one_of("-") != 0) {  // a sign
    const auto value = factor(depth + 1);
    return value ? lowest(-value->above, value->below) : std::nullopt;
  }
  skip();
  const size_t start = at_;
  while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
  const auto number = parse_integer(text_.substr(start, at_ - start));
  if (!number || *number > kLargest) return std::nullopt;
  numbers_.push_back(*number);
  return Fraction{*number, 1};
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

// Any expression that has the target's value and each number exactly once; "= 22" may stand behind it.
bool verify_countdown(const Problem& problem, std::string_view answer) {
  std::vector<int64_t> wanted = integers_in(problem.prompt, false, 32);  // the target, then the numbers
  if (wanted.size() < 2) return false;
  const int64_t target = wanted.front();
  wanted.erase(wanted.begin());
  std::string text(tidied(answer));
  for (const auto& [from, to] : {std::pair{"\\times", "*"},
                                 {"\\cdot", "*"},
                                 {"\\div", "/"},
                                 {"\u00d7", "*"},
                                 {"\u00f7", "/"},
                                 {"\u2212", "-"}}) {
    replace_all(text, from, to);
  }
  if (const size_t equals = text.find('='); equals != std::string::npos) {
    const auto said = parse_integer(text.substr(equals + 1));
    if (!said || *said != target) return false;
    text.resize(equals);
  }
  Calculator calculator(text);
  const auto value = calculator.value();
  std::vector<int64_t> used = calculator.numbers();
  std::sort(used.begin(), used.end());
  std::sort(wanted.begin(), wanted.end());
  return value && value->below == 1 && value->above == target && used == wanted;
}

// One number taken off the target: target = rest `op` number, or number `op` rest where `reversed`.
struct Move {
  char op = '+';
  bool reversed = false;
  int64_t number = 0, rest = 0;
};

std::vector<Move> moves(int64_t number, int64_t target) {
  std::vector<Move> list;
  if (target > number) list.push_back({'+', false, number, target - number});
  list.push_back({'-', false, number, target + number});
  if (number > target) list.push_back({'-', true, number, number - target});
  if (number > 1 && target % number == 0) list.push_back({'*', false, number, target / number});
  return list;
}

// As the trace says it: "22-7=15".
std::string move_text(const Move& move, int64_t target) {
  if (move.op == '+') return cat(target, '-', move.number, '=', move.rest);
  if (move.op == '*') return cat(target, '/', move.number, '=', move.rest);
  return move.reversed ? cat(move.number, '-', target, '=', move.rest) : cat(target, '+', move.number, '=', move.rest);
}

// What two numbers can make, larger first: sum, difference, product, and the quotient where it is whole.
struct Pair {
  std::string text;
  int64_t value;
  int precedence;
};
std::vector<Pair> pairs(int64_t a, int64_t b) {
  if (a < b) std::swap(a, b);
  std::vector<Pair> list = {{cat(a, '+', b), a + b, 1}, {cat(a, '-', b), a - b, 1}, {cat(a, '*', b), a * b, 2}};
  if (b > 1 && a % b == 0) list.push_back({cat(a, '/', b), a / b, 2});
  return list;
}

// One line: all that two numbers make, up to the one that is wanted.
bool try_pair(Lines& lines, int64_t a, int64_t b, int64_t target, Pair& found) {
  std::string line;
  for (Pair& pair : pairs(a, b)) {
    line += cat(line.empty() ? "" : " ", pair.text, '=', pair.value);
    if (pair.value == target) {
      lines.add(line, " yes");
      found = std::move(pair);
      return true;
    }
  }
  lines.add(line, " no");
  return false;
}

// Writes an expression's step: `inner` made the rest.
Pair wrap(const Move& move, const Pair& inner) {
  const int mine = move.op == '*' ? 2 : 1;
  const bool brackets = inner.precedence < mine || (move.reversed && inner.precedence == 1);
  const std::string text = brackets ? cat('(', inner.text, ')') : inner.text;
  return {move.reversed ? cat(move.number, move.op, text) : cat(text, move.op, move.number), 0, mine};
}

// Takes numbers off in the drawn solution's order; before the right move of each level, a wrong one or two are tried.
Draft draw_countdown(Rng& rng, int difficulty) {
  const int count = difficulty == 0 ? 2 : difficulty < 3 ? 3 : difficulty < 5 ? 4 : 5;
  const int64_t largest = difficulty == 0 ? 20 : difficulty % 2 == 1 ? 9 : 20;
  for (;;) {
    std::vector<int64_t> numbers;
    for (int i = 0; i < count; ++i) numbers.push_back(rng.between(1, largest));
    // From the inside out: a pair, then one number after the other on its value.
    const std::vector<Pair> starts = pairs(numbers[0], numbers[1]);
    Pair expression = rng.pick(starts);
    int64_t value = expression.value;
    std::vector<Move> solution;
    for (size_t i = 2; i < numbers.size() && value > 0; ++i) {
      const int64_t n = numbers[i];
      std::vector<std::pair<Move, int64_t>> options = {{{'+', false, n, value}, value + n}};
      if (value > n) options.push_back({{'-', false, n, value}, value - n});
      if (n > value) options.push_back({{'-', true, n, value}, n - value});
      if (n > 1 && n * value <= 100) options.push_back({{'*', false, n, value}, n * value});
      const auto& [move, next] = rng.pick(options);
      solution.push_back(move);
      expression = wrap(move, expression);
      value = next;
    }
    if (value <= 0 || value > 100 || std::find(numbers.begin(), numbers.end(), value) != numbers.end()) continue;
    const int64_t target = value;

    Lines lines;
    std::vector<int64_t> left = numbers;
    Pair made;
    bool lucky = false;  // a try that should have failed worked: draw again
    for (size_t i = solution.size(); i-- > 0 && !lucky;) {
      const Move& move = solution[i];
      // Wrong tries are shown only on the last level, where a pair remains and one line tells that it cannot be.
      if (left.size() == 3) {
        for (int tries = rng.small(0, 2); tries > 0 && !lucky; --tries) {
          const size_t index = static_cast<size_t>(rng.below(3));
          const std::vector<Move> possible = moves(left[index], value);
          if (possible.empty()) continue;
          const Move wrong = rng.pick(possible);
          const int64_t a = left[(index + 1) % 3], b = left[(index + 2) % 3];
          lines.add(move_text(wrong, value), " of ", std::max(a, b), ' ', std::min(a, b));
          lucky = try_pair(lines, a, b, wrong.rest, made);
        }
      }
      left.erase(left.begin() + static_cast<int64_t>(i) + 2);
      std::vector<int64_t> shown = left;
      std::sort(shown.rbegin(), shown.rend());
      lines.add(move_text(move, value), " of ", join(shown, " "));
      value = move.rest;
    }
    if (lucky || !try_pair(lines, numbers[0], numbers[1], value, made)) continue;
    // The pair that try_pair found first may be another with the same value: build the expression from it.
    expression = made;
    for (const Move& move : solution) expression = wrap(move, expression);
    lines.add(expression.text, '=', target);
    std::sort(numbers.rbegin(), numbers.rend());  // one order: a problem must not be in both splits under two
    return {cat("Make ", target, " from ", join(numbers, ", "), ", each once, with + - * /."), expression.text,
            lines.take()};
  }
}

}  // namespace

void add_countdown(Environments& list) {
  static const SimpleEnvironment environments[] = {
      {"countdown", "Make a target from given numbers", "numbers: 2, 3, 3, 4, 4, 5; up to 9 and 20 in turn", 5,
       draw_countdown, verify_countdown},
  };
  for (const Environment& environment : environments) list.push_back(&environment);
}

}  // namespace zaya::gym
