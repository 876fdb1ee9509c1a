#include "reasoning/expression.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace zaya::reasoning {
namespace {

constexpr size_t kMaxLength = 4000;
constexpr int kMaxDepth = 50;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

struct Function {
  const char* name;
  double (*apply)(double);
};
// Longer names before those they begin with.
constexpr Function kFunctions[] = {
    {"arcsin", [](double x) { return std::asin(x); }}, {"arccos", [](double x) { return std::acos(x); }},
    {"arctan", [](double x) { return std::atan(x); }}, {"sinh", [](double x) { return std::sinh(x); }},
    {"cosh", [](double x) { return std::cosh(x); }},   {"tanh", [](double x) { return std::tanh(x); }},
    {"sin", [](double x) { return std::sin(x); }},     {"cos", [](double x) { return std::cos(x); }},
    {"tan", [](double x) { return std::tan(x); }},     {"cot", [](double x) { return 1 / std::tan(x); }},
    {"sec", [](double x) { return 1 / std::cos(x); }}, {"csc", [](double x) { return 1 / std::sin(x); }},
    {"ln", [](double x) { return std::log(x); }},      {"log", [](double x) { return std::log(x); }},
    {"exp", [](double x) { return std::exp(x); }},     {"sqrt", [](double x) { return std::sqrt(x); }},
    {"abs", [](double x) { return std::fabs(x); }},
};
constexpr int kSqrt = 15, kAbs = 16, kLog = 13;
static_assert(std::size(kFunctions) == 17);

using Rational = std::pair<int64_t, int64_t>;
__extension__ typedef __int128 Wide;  // products of two 64-bit numbers

std::optional<Rational> reduced(Wide numerator, Wide denominator) {
  if (denominator == 0) return std::nullopt;
  if (denominator < 0) numerator = -numerator, denominator = -denominator;
  Wide a = numerator < 0 ? -numerator : numerator, b = denominator;
  while (b != 0) std::swap(a %= b, b);
  if (a > 1) numerator /= a, denominator /= a;
  constexpr Wide kMax = INT64_MAX;
  if (numerator > kMax || numerator < -kMax || denominator > kMax) return std::nullopt;
  return Rational(static_cast<int64_t>(numerator), static_cast<int64_t>(denominator));
}

std::optional<Rational> rational_power(Rational base, Rational exponent) {
  if (exponent.second != 1 || exponent.first < -64 || exponent.first > 64) return std::nullopt;
  if (base.first == 0 && exponent.first <= 0) return std::nullopt;
  if (exponent.first < 0) {
    auto inverse = reduced(base.second, base.first);
    if (!inverse) return std::nullopt;
    base = *inverse;
  }
  Rational result(1, 1);
  for (int64_t i = 0; i < std::abs(exponent.first); ++i) {
    const auto next =
        reduced(static_cast<Wide>(result.first) * base.first, static_cast<Wide>(result.second) * base.second);
    if (!next) return std::nullopt;
    result = *next;
  }
  return result;
}

bool close_enough(double a, double b) {
  if (a == b) return true;
  if (std::isinf(a) || std::isinf(b)) return false;
  return std::fabs(a - b) <= 1e-9 * std::max({1e-6, std::fabs(a), std::fabs(b)});
}

}  // namespace

// Recursive descent; every rule counts its depth.
class ExpressionParser {
 public:
  explicit ExpressionParser(std::string_view text) : text_(text) {}

  std::optional<Expression> run() {
    const int root = sum(0);
    skip_space();
    if (root < 0 || position_ != text_.size()) return std::nullopt;
    return std::move(out_);
  }

 private:
  using Op = Expression::Op;

  int add(Expression::Node node) {
    out_.nodes_.push_back(node);
    return static_cast<int>(out_.nodes_.size()) - 1;
  }
  int binary(Op op, int left, int right) {
    return left < 0 || right < 0 ? -1 : add({.op = op, .left = left, .right = right});
  }
  int call(int function, int argument) {
    return argument < 0 ? -1 : add({.op = Op::function, .function = function, .left = argument});
  }
  int constant(double value) { return add({.op = Op::number, .number = value}); }
  int integer(int64_t value) {
    return add({.op = Op::number, .number = static_cast<double>(value), .numerator = value, .denominator = 1});
  }

  void skip_space() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\n')) ++position_;
  }
  char peek() {
    skip_space();
    return position_ < text_.size() ? text_[position_] : '\0';
  }
  bool take(std::string_view word) {
    skip_space();
    if (text_.substr(position_, word.size()) != word) return false;
    // A LaTeX command ends where its letters end.
    if (word.size() > 1 && word[0] == '\\' && is_letter(word.back()) && position_ + word.size() < text_.size() &&
        is_letter(text_[position_ + word.size()])) {
      return false;
    }
    position_ += word.size();
    return true;
  }

  int sum(int depth) {
    if (depth > kMaxDepth) return -1;
    int left = product(depth + 1);
    while (left >= 0) {
      if (take("+")) {
        left = binary(Op::add, left, product(depth + 1));
      } else if (take("-")) {
        left = binary(Op::subtract, left, product(depth + 1));
      } else {
        break;
      }
    }
    return left;
  }

  int product(int depth) {
    if (depth > kMaxDepth) return -1;
    int left = signed_factor(depth + 1);
    while (left >= 0) {
      if (take("*")) {
        left = binary(Op::multiply, left, signed_factor(depth + 1));
      } else if (take("/")) {
        left = binary(Op::divide, left, signed_factor(depth + 1));
      } else if (starts_factor()) {
        left = binary(Op::multiply, left, power(depth + 1));
      } else {
        break;
      }
    }
    return left;
  }

  // Whether what follows is multiplied although no sign says so. Digits are so only behind a bracket: "x 2" and "3 4"
  // are no products.
  bool starts_factor() {
    const char c = peek();
    return c == '(' || c == '{' || c == '\\' || is_letter(c) || (is_digit(c) && after_bracket());
  }
  bool after_bracket() const {
    size_t i = position_;
    while (i > 0 && text_[i - 1] == ' ') --i;
    return i > 0 && (text_[i - 1] == ')' || text_[i - 1] == '}');
  }

  int signed_factor(int depth) {
    if (depth > kMaxDepth) return -1;
    if (take("-")) {
      const int inner = signed_factor(depth + 1);
      return inner < 0 ? -1 : add({.op = Op::negate, .left = inner});
    }
    if (take("+")) return signed_factor(depth + 1);
    return power(depth + 1);
  }

  int power(int depth) {
    if (depth > kMaxDepth) return -1;
    int base = atom(depth + 1);
    while (base >= 0 && take("!")) base = add({.op = Op::factorial, .left = base});
    if (base < 0 || !take("^")) return base;
    return binary(Op::power, base, exponent(depth + 1));
  }

  int exponent(int depth) {
    if (depth > kMaxDepth) return -1;
    if (take("-")) {
      const int inner = exponent(depth + 1);
      return inner < 0 ? -1 : add({.op = Op::negate, .left = inner});
    }
    return power(depth + 1);
  }

  // {…}, or what one token is to TeX: a digit, a letter, a command.
  int argument(int depth) {
    if (take("{")) return group("}", depth + 1);
    const char c = peek();
    if (is_digit(c)) {
      ++position_;
      return integer(c - '0');
    }
    return atom(depth + 1);
  }

  int group(std::string_view close, int depth) {
    if (depth > kMaxDepth) return -1;
    const int inner = sum(depth + 1);
    return inner >= 0 && take(close) ? inner : -1;
  }

  int number() {
    const size_t start = position_;
    Wide digits = 0;
    int64_t scale = 1;
    bool point = false, exact = true;
    while (position_ < text_.size() && (is_digit(text_[position_]) || (text_[position_] == '.' && !point))) {
      const char c = text_[position_++];
      if (c == '.') {
        point = true;
        continue;
      }
      if (digits > INT64_MAX / 10 - 10 || (point && scale > INT64_MAX / 10)) exact = false;
      if (!exact) continue;
      digits = digits * 10 + (c - '0');
      if (point) scale *= 10;
    }
    const std::string copy(text_.substr(start, position_ - start));
    if (copy == ".") return -1;
    if (position_ < text_.size() && text_[position_] == '_') return -1;  // another base
    Expression::Node node{.op = Op::number, .number = std::strtod(copy.c_str(), nullptr)};
    if (const auto value = exact ? reduced(digits, scale) : std::nullopt) {
      node.numerator = value->first;
      node.denominator = value->second;
    }
    return add(node);
  }

  int atom(int depth) {
    if (depth > kMaxDepth) return -1;
    const char c = peek();
    if (is_digit(c) || c == '.') {
      const size_t start = position_;
      const int whole = number();
      // 3\frac{1}{2} is a mixed number.
      if (whole >= 0 && text_.substr(start, position_ - start).find('.') == std::string_view::npos &&
          mixed_fraction()) {
        return binary(Op::add, whole, atom(depth + 1));
      }
      return whole;
    }
    if (take("(")) return group(")", depth);
    if (take("{")) return group("}", depth);
    if (take("[")) return group("]", depth);
    if (take("|")) return call(kAbs, group("|", depth));
    if (take("\\lfloor") || take("\\lceil")) return -1;
    if (take("\\frac")) {
      const int above = argument(depth + 1);
      return above < 0 ? -1 : binary(Op::divide, above, argument(depth + 1));
    }
    if (take("\\binom")) return binomial(depth + 1);
    if (take("\\sqrt")) return root(depth + 1);
    if (take("\\pi")) return constant(3.14159265358979323846);
    if (take("\\infty")) return constant(HUGE_VAL);
    return named(depth);
  }

  bool mixed_fraction() {
    skip_space();
    const std::string_view rest = text_.substr(position_);
    if (!rest.starts_with("\\frac")) return false;
    size_t i = 5;
    for (int part = 0; part < 2; ++part) {
      if (i >= rest.size()) return false;
      if (rest[i] != '{') {
        if (!is_digit(rest[i++])) return false;
        continue;
      }
      const size_t from = ++i;
      while (i < rest.size() && is_digit(rest[i])) ++i;
      if (i == from || i >= rest.size() || rest[i++] != '}') return false;
    }
    return true;
  }

  int root(int depth) {
    int index = -1;
    if (take("[") && (index = group("]", depth)) < 0) return -1;
    const int inner = argument(depth);
    if (index < 0) return call(kSqrt, inner);
    return binary(Op::power, inner, binary(Op::divide, integer(1), index));
  }

  int binomial(int depth) {
    const int n = argument(depth);
    return n < 0 ? -1 : binary(Op::binomial, n, argument(depth));
  }

  // A function, a constant or a variable.
  int named(int depth) {
    const bool command = take("\\");
    for (size_t i = 0; i < std::size(kFunctions); ++i) {
      if (!take(kFunctions[i].name)) continue;
      return applied(static_cast<int>(i), depth + 1);
    }
    std::string name;
    while (position_ < text_.size() && is_letter(text_[position_])) {
      name += text_[position_++];
      if (!command) break;  // plain letters stand for themselves, each
    }
    if (name.empty()) return -1;
    if (!command && name == "e") return constant(2.71828182845904523536);
    if (position_ + 1 < text_.size() && text_[position_] == '_') {
      const size_t from = ++position_;
      if (text_[position_] == '{') {
        const size_t close = text_.find('}', position_);
        if (close == std::string_view::npos) return -1;
        position_ = close + 1;
      } else {
        ++position_;
      }
      name += "_" + std::string(text_.substr(from, position_ - from));
    }
    return variable((command ? "\\" : "") + name);
  }

  int variable(const std::string& name) {
    auto& all = out_.variables_;
    const auto found = std::find(all.begin(), all.end(), name);
    const int index = static_cast<int>(found - all.begin());
    if (found == all.end()) all.push_back(name);
    return add({.op = Op::variable, .variable = index});
  }

  // sin x, sin^2 x, log_b x; without parentheses a function takes the product behind it.
  int applied(int function, int depth) {
    int base = -1, exponent_of = -1;
    if (take("_") && (base = argument(depth)) < 0) return -1;
    if (take("^") && (exponent_of = argument(depth)) < 0) return -1;
    int inner;
    if (take("(")) {
      inner = group(")", depth);
    } else if (take("{")) {
      inner = group("}", depth);
    } else {
      inner = depth > kMaxDepth ? -1 : power(depth + 1);
      while (inner >= 0 && (is_letter(peek()) || text_.substr(position_).starts_with("\\pi"))) {
        inner = binary(Op::multiply, inner, power(depth + 1));
      }
    }
    int result = call(function, inner);
    if (base >= 0) result = function == kLog ? binary(Op::divide, result, call(kLog, base)) : -1;
    return exponent_of < 0 ? result : binary(Op::power, result, exponent_of);
  }

  std::string_view text_;
  size_t position_ = 0;
  Expression out_;
};

std::optional<Expression> Expression::parse(std::string_view text) {
  if (text.empty() || text.size() > kMaxLength) return std::nullopt;
  return ExpressionParser(text).run();
}

double Expression::evaluate(const std::vector<double>& values) const {
  std::vector<double> results(nodes_.size());
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const Node& node = nodes_[i];
    const double a = node.left < 0 ? 0 : results[static_cast<size_t>(node.left)];
    const double b = node.right < 0 ? 0 : results[static_cast<size_t>(node.right)];
    double& result = results[i];
    switch (node.op) {
      case Op::number: result = node.number; break;
      case Op::variable: result = values[static_cast<size_t>(node.variable)]; break;
      case Op::add: result = a + b; break;
      case Op::subtract: result = a - b; break;
      case Op::multiply: result = a * b; break;
      case Op::divide: result = a / b; break;
      // The odd roots of negative numbers that \sqrt[3] writes are real.
      case Op::power: {
        const double odd = 1 / b;
        const bool odd_root = a < 0 && std::fabs(b) < 1 && close_enough(odd, std::round(odd)) &&
                              std::fmod(std::fabs(std::round(odd)), 2) == 1;
        result = odd_root ? -std::pow(-a, b) : std::pow(a, b);
        break;
      }
      case Op::negate: result = -a; break;
      case Op::factorial: result = a >= 0 && a < 171 && a == std::floor(a) ? std::tgamma(a + 1) : std::nan(""); break;
      case Op::binomial: {
        const bool counts = b >= 0 && b <= a && a <= 1000 && a == std::floor(a) && b == std::floor(b);
        result = counts ? 1 : std::nan("");
        for (double k = 1; counts && k <= b; ++k) result = result * (a - b + k) / k;
        break;
      }
      case Op::function: result = kFunctions[node.function].apply(a); break;
    }
  }
  return results.back();
}

std::optional<std::pair<int64_t, int64_t>> Expression::exact() const {
  std::vector<Rational> results(nodes_.size());
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const Node& node = nodes_[i];
    const Rational a = node.left < 0 ? Rational(0, 1) : results[static_cast<size_t>(node.left)];
    const Rational b = node.right < 0 ? Rational(0, 1) : results[static_cast<size_t>(node.right)];
    const auto wide = [](int64_t value) { return static_cast<Wide>(value); };
    std::optional<Rational> result;
    switch (node.op) {
      case Op::number:
        if (node.denominator != 0) result = Rational(node.numerator, node.denominator);
        break;
      case Op::add:
      case Op::subtract: {
        const Wide left = wide(a.first) * b.second, right = wide(b.first) * a.second;
        result = reduced(node.op == Op::add ? left + right : left - right, wide(a.second) * b.second);
        break;
      }
      case Op::multiply: result = reduced(wide(a.first) * b.first, wide(a.second) * b.second); break;
      case Op::divide: result = reduced(wide(a.first) * b.second, wide(a.second) * b.first); break;
      case Op::power: result = rational_power(a, b); break;
      case Op::negate: result = Rational(-a.first, a.second); break;
      case Op::factorial:
        if (a.second == 1 && a.first >= 0 && a.first <= 20) {
          int64_t product = 1;
          for (int64_t k = 2; k <= a.first; ++k) product *= k;
          result = Rational(product, 1);
        }
        break;
      case Op::variable:
      case Op::binomial:
      case Op::function: break;
    }
    if (!result) return std::nullopt;
    results[i] = *result;
  }
  return results.back();
}

std::optional<double> Expression::value() const {
  if (has_variables()) return std::nullopt;
  return evaluate({});
}

bool Expression::same(const Expression& a, const Expression& b) {
  const auto exact_a = a.exact(), exact_b = b.exact();
  if (exact_a && exact_b) return *exact_a == *exact_b;
  std::vector<std::string> names = a.variables_;
  for (const std::string& name : b.variables_) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  const auto values_of = [&](const Expression& expression, const std::vector<double>& point) {
    std::vector<double> values;
    for (const std::string& name : expression.variables_) {
      values.push_back(point[static_cast<size_t>(std::find(names.begin(), names.end(), name) - names.begin())]);
    }
    return values;
  };
  // Points with nothing special about them; powers and logarithms of most expressions are real there.
  constexpr int kPoints = 6;
  int compared = 0;
  for (int k = 0; k < (names.empty() ? 1 : kPoints); ++k) {
    std::vector<double> point;
    for (size_t i = 0; i < names.size(); ++i) {
      point.push_back(0.3719 +
                      std::fmod(0.7548776662 * static_cast<double>(i + 1) + 0.5698402909 * (k + 1), 1.0) * (k + 1));
    }
    const double x = a.evaluate(values_of(a, point)), y = b.evaluate(values_of(b, point));
    if (std::isnan(x) && std::isnan(y)) continue;
    if (!close_enough(x, y)) return false;
    ++compared;
  }
  return compared > 0;
}

}  // namespace zaya::reasoning
