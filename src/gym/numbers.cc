// Small number theory and algebra: linear equations, remainders, greatest common divisors, prime factors.
#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "gym/kinds.h"

namespace zaya::gym {
namespace {

// "+5" and "-5" as they stand in a formula; nothing for 0.
std::string signed_term(int64_t value) { return value == 0 ? "" : cat(value < 0 ? '-' : '+', std::abs(value)); }
std::string times_x(int64_t factor) { return factor == 1 ? "x" : cat(factor, 'x'); }
std::string plus_times_x(int64_t factor, int64_t rest) {
  if (factor == 0) return std::to_string(rest);
  return times_x(factor) + signed_term(rest);
}

int64_t nonzero(Rng& rng, int64_t largest, bool negative_too) {
  const int64_t size = rng.between(1, largest);
  return negative_too && rng.coin() ? -size : size;
}

// p(x+q)+r = sx+t, of which the easier levels leave parts out.
Draft draw_linear_equation(Rng& rng, int difficulty) {
  const bool brackets = difficulty >= 3, both_sides = difficulty == 2 || difficulty >= 4;
  const int64_t x = difficulty == 0 ? rng.between(1, 30) : difficulty < 4 ? rng.between(1, 12) : rng.between(-12, 12);
  const int64_t p = difficulty == 0 ? 1 : rng.between(2, difficulty < 5 ? 9 : 15);
  const int64_t s = both_sides ? rng.between(1, p - 1) : 0;
  const int64_t largest = difficulty < 2 ? 20 : difficulty < 5 ? 9 : 20;
  const int64_t q = nonzero(rng, largest, true);
  const int64_t r = difficulty >= 4 ? nonzero(rng, largest, true) : 0;
  int64_t constant = brackets ? p * q + r : q;
  int64_t right = p * x + constant - s * x;
  const std::string right_text = plus_times_x(s, right);
  const std::string left_text = brackets ? cat(p, "(x", signed_term(q), ')', signed_term(r)) : plus_times_x(p, q);

  Lines lines;
  if (brackets) {
    lines.add(p, '*', q, '=', p * q, ": ", plus_times_x(p, p * q), signed_term(r), '=', right_text);
    if (r != 0) lines.add(p * q, signed_term(r), '=', constant, ": ", plus_times_x(p, constant), '=', right_text);
  }
  if (s != 0) lines.add(p, '-', s, '=', p - s, ": ", plus_times_x(p - s, constant), '=', right);
  if (constant != 0) {
    lines.add(right, signed_term(-constant), '=', right - constant, ": ", times_x(p - s), '=', right - constant);
    right -= constant;
  }
  if (p - s != 1) lines.add(right, '/', p - s, '=', x, ": x=", x);
  return {cat("Solve ", left_text, '=', right_text, " for x."), std::to_string(x), lines.take()};
}

// "47=6*7+5": what division with remainder says.
int64_t reduce(Lines& lines, int64_t number, int64_t modulus) {
  lines.add(number, '=', number / modulus, '*', modulus, '+', number % modulus);
  return number % modulus;
}

Draft draw_modular(Rng& rng, int difficulty) {
  const int64_t m = rng.between(3, difficulty < 4 ? 12 : 19), a = rng.between(10, 99), b = rng.between(10, 99);
  Lines lines;
  std::string text;
  int64_t result = 0;
  if (difficulty == 0) {
    text = std::to_string(a);
    result = reduce(lines, a, m);
  } else if (difficulty < 3 || rng.coin()) {
    const char op = difficulty == 1 ? '+' : difficulty == 2 ? '*' : rng.coin() ? '+' : '*';
    text = cat('(', a, op, b);
    const int64_t x = reduce(lines, a, m), y = reduce(lines, b, m), z = op == '+' ? x + y : x * y;
    lines.add(x, op, y, '=', z);
    result = reduce(lines, z, m);
    if (difficulty > 2) {
      const int64_t c = rng.between(10, 99);
      text += cat('+', c);
      const int64_t w = reduce(lines, c, m);
      lines.add(result, '+', w, '=', result + w);
      result = reduce(lines, result + w, m);
    }
    text += ')';
  } else {
    const int exponent = rng.small(2, difficulty);
    text = cat(a, '^', exponent);
    const int64_t base = result = reduce(lines, a, m);
    for (int i = 1; i < exponent; ++i) {
      lines.add(result, '*', base, '=', result * base);
      result = reduce(lines, result * base, m);
    }
  }
  return {cat("What is ", text, " mod ", m, "?"), std::to_string(result), lines.take()};
}

// Euclid: each line divides the last divisor by the last remainder.
Draft draw_gcd(Rng& rng, int difficulty) {
  const int64_t largest[] = {20, 50, 100, 200, 500, 999};
  const int64_t limit = largest[difficulty];
  const int64_t common = rng.between(1, std::max<int64_t>(limit / 8, 3));
  int64_t a = common * rng.between(2, limit / common), b = common * rng.between(1, limit / common);
  if (a == b) a += common;
  if (a < b) std::swap(a, b);
  const std::string prompt = cat("What is the gcd of ", a, " and ", b, "?");
  const int64_t answer = std::gcd(a, b);
  Lines lines;
  while (b != 0) {
    lines.add(a, '=', a / b, '*', b, '+', a % b);
    a = std::exchange(b, a % b);
  }
  lines.add("gcd ", answer);
  return {prompt, std::to_string(answer), lines.take()};
}

// Trial division: "84/2=42", and "21/2 no" where it does not divide. No factor above 19, so that few trials fail.
Draft draw_prime_factors(Rng& rng, int difficulty) {
  const int64_t largest[] = {250, 300, 500, 700, 999};
  const int64_t primes[] = {2, 3, 5, 7, 11, 13, 17, 19};
  int64_t number = 1;
  std::vector<int64_t> factors;
  const size_t wanted = static_cast<size_t>(rng.small(2, 3 + (difficulty + 1) / 2));
  while (factors.size() < wanted || number < 4) {
    const int64_t prime = rng.pick(primes);
    if (number * prime > largest[difficulty]) {
      if (factors.size() >= 2) break;
      continue;
    }
    number *= prime;
    factors.push_back(prime);
  }
  std::sort(factors.begin(), factors.end());
  Lines lines;
  int64_t rest = number;
  size_t found = 0;
  for (const int64_t prime : primes) {
    if (rest == 1) break;
    if (rest % prime != 0) lines.add(rest, '/', prime, " no");
    for (; rest % prime == 0; ++found) {
      lines.add(rest, '/', prime, '=', rest / prime, ": ",
                join(std::vector<int64_t>(factors.begin(), factors.begin() + static_cast<int64_t>(found) + 1), "*"));
      rest /= prime;
    }
  }
  return {cat("Write ", number, " as a product of primes, like 2*2*5."), join(factors, "*"), lines.take()};
}

// Any order; "2^2*5", "2 x 2 x 5" and a list with commas are the same.
bool verify_prime_factors(const Problem& problem, std::string_view answer) {
  std::vector<int64_t> given;
  std::string text = lower(tidied(right_hand_side(answer)));
  for (const char c : text) {
    if (std::string_view("0123456789*^ ,x.{}\\times").find(c) == std::string_view::npos) return false;
  }
  for (size_t at = text.find("^{"); at != std::string::npos; at = text.find("^{", at)) text.erase(at + 1, 1);
  bool power = false;
  for (size_t i = 0; i < text.size() && given.size() < 64;) {
    if (text[i] == '^') power = true;
    if (text[i] < '0' || text[i] > '9') {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
    const auto value = parse_integer(text.substr(i, end - i));
    if (!value) return false;
    if (power && (given.empty() || *value < 1 || *value > 20)) return false;
    if (power) {
      const int64_t factor = given.back();
      given.insert(given.end(), static_cast<size_t>(*value - 1), factor);
    } else {
      given.push_back(*value);
    }
    power = false;
    i = end;
  }
  if (power) return false;
  std::vector<int64_t> wanted = integers_in(problem.answer, false);
  std::sort(given.begin(), given.end());
  std::sort(wanted.begin(), wanted.end());
  return !wanted.empty() && given == wanted;
}

}  // namespace

void add_numbers(Environments& list) {
  static const SimpleEnvironment environments[] = {
      {"linear_equation", "One equation, one unknown",
       "x+q=t; px+q=t; x on both sides; p(x+q)=t; brackets and x on both sides; larger numbers", 5,
       draw_linear_equation, same_integer},
      {"modular", "Remainders of numbers, sums, products, powers", "number; sum; product; sums of products and powers",
       6, draw_modular, same_integer},
      {"gcd", "Greatest common divisor", "numbers up to 20, 50, 100, 200, 500, 999", 5, draw_gcd, same_integer},
      {"prime_factors", "Factorization", "numbers up to 250, 300, 500, 700, 999 and how many factors", 4,
       draw_prime_factors, verify_prime_factors},
  };
  for (const Environment& environment : environments) list.push_back(&environment);
}

}  // namespace zaya::gym
