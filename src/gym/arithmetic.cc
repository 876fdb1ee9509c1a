// Column arithmetic, right to left, one column per line. Every line shows the digits it works on, the carry, and what
// is written so far, so that the next line needs only the two numbers and the line before it.
#include <algorithm>
#include <string>

#include "gym/kinds.h"

namespace zaya::gym {
namespace {

int64_t power_of_ten(int exponent) {
  int64_t value = 1;
  for (int i = 0; i < exponent; ++i) value *= 10;
  return value;
}

// A number of exactly `digits` digits.
int64_t number_of(Rng& rng, int digits) { return rng.between(power_of_ten(digits - 1), power_of_ten(digits) - 1); }

int digit_of(int64_t number, int place) { return static_cast<int>(number / power_of_ten(place) % 10); }
int length_of(int64_t number) { return static_cast<int>(std::to_string(number).size()); }
std::string two_digits(int value) { return cat(value / 10, value % 10); }

// "8+7+0=15 5": the digits, the carry, the column's sum as two digits (the first is the next carry), the result so far.
void add_columns(Lines& lines, int64_t a, int64_t b) {
  std::string written;
  int carry = 0;
  const int columns = std::max(length_of(a), length_of(b));
  for (int place = 0; place < columns; ++place) {
    const int x = digit_of(a, place), y = digit_of(b, place), sum = x + y + carry;
    written.insert(0, place + 1 == columns ? std::to_string(sum) : std::to_string(sum % 10));
    lines.add(x, '+', y, '+', carry, '=', two_digits(sum), ' ', written);
    carry = sum / 10;
  }
}

// "15-6-0=9 91": what is borrowed shows as the first digit of the minuend, and is the third number of the next line.
void subtract_columns(Lines& lines, int64_t a, int64_t b) {
  std::string written;
  int borrow = 0;
  const int columns = length_of(a);
  for (int place = 0; place < columns; ++place) {
    const int x = digit_of(a, place), y = digit_of(b, place);
    const int borrowed = x < y + borrow ? 1 : 0, left = 10 * borrowed + x - y - borrow;
    written.insert(0, std::to_string(left));
    lines.add(borrowed, x, '-', y, '-', borrow, '=', left, ' ', written);
    borrow = borrowed;
  }
}

Draft draw_addition(Rng& rng, int difficulty) {
  const int64_t a = number_of(rng, difficulty + rng.small(1, 2)), b = number_of(rng, difficulty + rng.small(1, 2));
  Lines lines;
  add_columns(lines, a, b);
  return {cat("What is ", a, " + ", b, "?"), std::to_string(a + b), lines.take()};
}

Draft draw_subtraction(Rng& rng, int difficulty) {
  int64_t a = number_of(rng, difficulty + rng.small(1, 2)), b = number_of(rng, difficulty + rng.small(1, 2));
  if (a < b && (difficulty < 2 || rng.coin())) std::swap(a, b);
  Lines lines;
  if (a < b) lines.add(a, '<', b, ": -(", b, '-', a, ')');
  subtract_columns(lines, std::max(a, b), std::min(a, b));
  return {cat("What is ", a, " - ", b, "?"), std::to_string(a - b), lines.take()};
}

// One row per digit of b, then the rows added one after the other.
Draft draw_multiplication(Rng& rng, int difficulty) {
  constexpr int kLeft[] = {1, 2, 3, 2, 3, 3}, kRight[] = {1, 1, 1, 2, 2, 3};
  const int64_t a = number_of(rng, difficulty == 0 ? rng.small(1, 2) : kLeft[difficulty]);
  const int64_t b = number_of(rng, kRight[difficulty]);
  Lines lines;
  int64_t total = 0;
  for (int place = 0; place < length_of(b); ++place) {
    const int digit = digit_of(b, place);
    if (length_of(b) > 1) lines.add(a, '*', digit);
    std::string written;
    int carry = 0;
    for (int i = 0; i < length_of(a); ++i) {
      const int x = digit_of(a, i), product = x * digit + carry;
      written.insert(0, i + 1 == length_of(a) ? std::to_string(product) : std::to_string(product % 10));
      lines.add(x, '*', digit, '+', carry, '=', two_digits(product), ' ', written);
      carry = product / 10;
    }
    const int64_t row = a * digit * power_of_ten(place);
    if (place > 0) {
      lines.add(total, '+', row);
      add_columns(lines, total, row);
    }
    total += row;
  }
  return {cat("What is ", a, " * ", b, "?"), std::to_string(a * b), lines.take()};
}

// Long division: "16: 2*7=14 16-14=2 12" takes 7 out of 16 twice; the rest 2 starts the next number; 12 is the quotient
// so far.
Draft draw_division(Rng& rng, int difficulty) {
  const int64_t divisor = difficulty < 3 ? rng.between(2, 9) : rng.between(11, difficulty < 5 ? 25 : 99);
  const int64_t number = number_of(rng, difficulty < 3 ? difficulty + 2 : std::min(difficulty, 8));
  Lines lines;
  int64_t rest = 0, quotient = 0;
  for (int place = length_of(number) - 1; place >= 0; --place) {
    const int64_t part = rest * 10 + digit_of(number, place), times = part / divisor;
    quotient = quotient * 10 + times;
    rest = part - times * divisor;
    lines.add(part, ": ", times, '*', divisor, '=', times * divisor, ' ', part, '-', times * divisor, '=', rest, ' ',
              quotient);
  }
  return {cat("Divide ", number, " by ", divisor, ". Answer: quotient r remainder."), cat(quotient, " r ", rest),
          lines.take()};
}

// "12 r 2", "12 remainder 2", and "12" when the remainder is 0.
bool verify_division(const Problem& problem, std::string_view answer) {
  auto wanted = integers_in(problem.answer, false, 3);
  auto given = integers_in(answer, true, 3);
  for (const char c : lower(answer)) {
    if (std::string_view("0123456789 remainder,:;=qutiR.").find(c) == std::string_view::npos) return false;
  }
  if (given.size() == 1) given.push_back(0);
  return wanted.size() == 2 && given == wanted;
}

}  // namespace

void add_arithmetic(Environments& list) {
  static const SimpleEnvironment environments[] = {
      {"addition", "Sum of two numbers", "digits: 1-2, then one more per step", 8, draw_addition, same_integer},
      {"subtraction", "Difference of two numbers", "digits: 1-2, then one more per step; from 2 on results below 0", 8,
       draw_subtraction, same_integer},
      {"multiplication", "Product of two numbers", "digits: 1x1 or 2x1, 2x1, 3x1, 2x2, 3x2, 3x3", 5,
       draw_multiplication, same_integer},
      {"division", "Quotient and remainder", "digits of the number; from 3 on divisors of two digits", 6, draw_division,
       verify_division},
  };
  for (const Environment& environment : environments) list.push_back(&environment);
}

}  // namespace zaya::gym
