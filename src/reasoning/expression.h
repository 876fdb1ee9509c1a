// Simple mathematical expressions, in LaTeX or plain notation: read once, then compared by value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace zaya::reasoning {

class Expression {
 public:
  // Understands + − * / ^ ! and implied products; \frac, \sqrt, \binom, |x|; elementary functions; π, e, ∞; variables
  // of one letter, with subscripts. Expects text that has passed tidy_math(). Nothing when `text` is anything else,
  // longer than 4,000 characters, or nested deeper than 50.
  static std::optional<Expression> parse(std::string_view text);

  // Whether both have the same value: exactly, where both are rational numbers that fit 64 bits; else to 1e-9 relative,
  // at several points when there are variables.
  static bool same(const Expression& a, const Expression& b);

  // The value of an expression without variables; nothing with them.
  std::optional<double> value() const;
  bool has_variables() const { return !variables_.empty(); }

 private:
  friend class ExpressionParser;
  enum class Op { number, variable, add, subtract, multiply, divide, power, negate, factorial, binomial, function };
  struct Node {
    Op op = Op::number;
    double number = 0;
    int64_t numerator = 0, denominator = 0;  // of an exact number; denominator 0 = not exact
    int function = 0;
    int left = -1, right = -1;  // children stand before their parent
    int variable = -1;
  };
  double evaluate(const std::vector<double>& values) const;
  // {numerator, denominator} in lowest terms.
  std::optional<std::pair<int64_t, int64_t>> exact() const;

  std::vector<Node> nodes_;  // the last one is the root
  std::vector<std::string> variables_;
};

// One spelling for what means the same: LaTeX spacing, \left and \right, dollar signs, \dfrac, \cdot, Unicode signs,
// degrees and thousands separators.
std::string tidy_math(std::string_view text);

}  // namespace zaya::reasoning
