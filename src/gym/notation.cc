// Numbers in other bases, and numbers in a row.
#include <algorithm>
#include <string>
#include <vector>

#include "gym/kinds.h"

namespace zaya::gym {
namespace {

char digit_text(int64_t digit) { return "0123456789ABCDEF"[digit & 15]; }
std::string in_base(int64_t number, int64_t base) {
  std::string text;
  do text.insert(text.begin(), digit_text(number % base));
  while ((number /= base) > 0);
  return text;
}

// "10=A" where a digit is not its own number.
std::string named_digit(int64_t digit) {
  return digit < 10 ? std::to_string(digit) : cat(digit, '=', digit_text(digit));
}

Draft draw_base_conversion(Rng& rng, int difficulty) {
  const int64_t largest[] = {63, 99, 150, 300, 500, 999};
  int64_t from = 10, to = 10;
  const int64_t other = difficulty == 0  ? rng.between(2, 3)
                        : difficulty < 3 ? rng.between(2, 9)
                        : rng.chance(3)  ? 16
                                         : rng.between(2, 9);
  if (difficulty >= 4 && rng.coin()) {
    from = other;
    do to = rng.between(2, 9);
    while (to == from);
  } else if (difficulty < 2 || rng.coin()) {
    to = other;
  } else {
    from = other;
  }
  const int64_t number = rng.between(2, largest[difficulty]);
  Lines lines;
  if (from != 10) {  // Horner's rule, from the left
    int64_t value = 0;
    for (const char c : in_base(number, from)) {
      const int64_t digit = c <= '9' ? c - '0' : c - 'A' + 10;
      const int64_t next = value * from + digit;
      lines.add(digit < 10 ? "" : cat(c, '=', digit, ": "), value, '*', from, '+', digit, '=', next);
      value = next;
    }
  }
  if (to != 10) {  // "37=18*2+1: 1": the remainders are the digits, from the right
    std::string written;
    for (int64_t rest = number; rest > 0; rest /= to) {
      written.insert(written.begin(), digit_text(rest % to));
      lines.add(rest, '=', rest / to, '*', to, '+', named_digit(rest % to), ": ", written);
    }
  }
  return {cat("Convert ", in_base(number, from), " from base ", from, " to base ", to, "."), in_base(number, to),
          lines.take()};
}

// Leading zeros, 0x and 0b, and a base written behind ("101_2") do no harm.
bool verify_base_conversion(const Problem& problem, std::string_view answer) {
  const auto bare = [](std::string_view text) {
    std::string out = lower(tidied(right_hand_side(text)));
    out = out.substr(0, out.find('_'));
    if (out.starts_with("0x") || out.starts_with("0b")) out.erase(0, 2);
    const size_t digit = out.find_first_not_of('0');
    return digit == std::string::npos ? out : out.substr(digit);
  };
  const std::string wanted = bare(problem.answer);
  return !wanted.empty() && bare(answer) == wanted;
}

std::vector<int64_t> differences(const std::vector<int64_t>& list, size_t apart = 1) {
  std::vector<int64_t> result;
  for (size_t i = apart; i < list.size(); ++i) result.push_back(list[i] - list[i - apart]);
  return result;
}

// The terms, of which the last is the answer, and how to find it.
struct Sequence {
  std::vector<int64_t> terms;
  std::string last_steps;  // behind the line of differences
};

Sequence steady(Rng& rng, bool down_too) {
  const int64_t start = rng.between(1, 30), step = rng.between(1, 9);
  const bool down = down_too && rng.coin();
  Sequence s;
  for (int64_t i = 0; i < 5; ++i) s.terms.push_back(down ? start + step * (5 - i) : start + step * i);
  s.last_steps = cat(s.terms[3], down ? '-' : '+', step, '=', s.terms[4]);
  return s;
}

Sequence growing_by_a_factor(Rng& rng) {
  const int64_t factor = rng.between(2, 3);
  Sequence s{{rng.between(1, 9)}, {}};
  while (s.terms.size() < 5) s.terms.push_back(s.terms.back() * factor);
  s.last_steps = cat("times ", factor, '\n', s.terms[3], '*', factor, '=', s.terms[4]);
  return s;
}

Sequence growing_steps(Rng& rng) {
  Sequence s{{rng.between(0, 20)}, {}};
  int64_t step = rng.between(1, 6);
  const int64_t more = rng.between(1, 5);
  for (; s.terms.size() < 6; step += more) s.terms.push_back(s.terms.back() + step);
  const int64_t last = s.terms[4] - s.terms[3];
  s.last_steps =
      cat("step +", more, '\n', last, '+', more, '=', last + more, '\n', s.terms[4], '+', last + more, '=', s.terms[5]);
  return s;
}

Sequence sum_of_two(Rng& rng) {
  Sequence s;
  s.terms.push_back(rng.between(1, 9));
  s.terms.push_back(rng.between(1, 9));
  while (s.terms.size() < 7) s.terms.push_back(s.terms[s.terms.size() - 1] + s.terms[s.terms.size() - 2]);
  s.last_steps = cat("sum of two\n", s.terms[4], '+', s.terms[5], '=', s.terms[6]);
  return s;
}

// Two steady sequences in turn.
Sequence interleaved(Rng& rng) {
  const int64_t a = rng.between(1, 20), b = rng.between(21, 60), x = rng.between(1, 9), y = rng.between(1, 9);
  Sequence s;
  for (int64_t i = 0; i < 4; ++i) {
    s.terms.push_back(a + i * x);
    s.terms.push_back(b + i * y);
  }
  s.terms.pop_back();
  s.last_steps = cat("every second\n", a, ' ', a + x, ' ', a + 2 * x, '\n', a + 2 * x, '+', x, '=', a + 3 * x);
  return s;
}

Sequence factor_and_more(Rng& rng) {
  const int64_t factor = rng.between(2, 3), more = rng.between(1, 5);
  Sequence s{{rng.between(1, 5)}, {}};
  while (s.terms.size() < 5) s.terms.push_back(s.terms.back() * factor + more);
  const int64_t product = s.terms[3] * factor;
  s.last_steps = cat("times ", factor, " +", more, '\n', s.terms[3], '*', factor, '=', product, '\n', product, '+',
                     more, '=', s.terms[4]);
  return s;
}

Draft draw_number_sequence(Rng& rng, int difficulty) {
  const int kind = difficulty == 0 ? 0 : rng.small(std::max(0, difficulty - 2), difficulty);
  Sequence s = kind == 0   ? steady(rng, difficulty > 0)
               : kind == 1 ? growing_by_a_factor(rng)
               : kind == 2 ? growing_steps(rng)
               : kind == 3 ? sum_of_two(rng)
               : kind == 4 ? interleaved(rng)
                           : factor_and_more(rng);
  const int64_t answer = s.terms.back();
  s.terms.pop_back();
  Lines lines;
  lines.add("steps ", join(differences(s.terms), " "));
  lines.add(s.last_steps);
  return {cat("What comes next: ", join(s.terms, ", "), "?"), std::to_string(answer), lines.take()};
}

}  // namespace

void add_notation(Environments& list) {
  static const SimpleEnvironment environments[] = {
      {"base_conversion", "A number in another base",
       "numbers up to 63, 99, 150, 300, 500, 999; to base 2-3, to 2-9, from and to, base 16 too, between two bases", 5,
       draw_base_conversion, verify_base_conversion},
      {"number_sequence", "The next number",
       "steady; a factor; growing steps; sum of the last two; two in turn; a factor and a constant", 5,
       draw_number_sequence, same_integer},
  };
  for (const Environment& environment : environments) list.push_back(&environment);
}

}  // namespace zaya::gym
