// Expressions, solved by replacing one operation by its value, again and again: sums in a row, arithmetic with
// brackets, logic.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "gym/kinds.h"

namespace zaya::gym {
namespace {

Draft draw_chain_sum(Rng& rng, int difficulty) {
  const int64_t largest = difficulty == 0 ? 9 : difficulty == 1 ? 20 : 99;
  int64_t total = rng.between(1, largest);
  std::string text = std::to_string(total);
  Lines lines;
  for (int i = 0; i < difficulty + 2; ++i) {
    const int64_t number = rng.between(1, largest);
    const char sign = rng.coin() || (difficulty < 3 && total < number) ? '+' : '-';
    const int64_t next = sign == '+' ? total + number : total - number;
    text += cat(' ', sign, ' ', number);
    lines.add(total, sign, number, '=', next);
    total = next;
  }
  return {cat("What is ", text, "?"), std::to_string(total), lines.take()};
}

// An expression as a tree in a vector; a leaf has op 0. The same tree serves numbers and truth values (0, 1).
struct Tree {
  struct Node {
    char op = 0;  // + - *, & | (and, or), ! (not, only `right` is used)
    int left = -1, right = -1;
    int value = 0;
  };
  std::vector<Node> nodes;

  int leaf(int value) {
    nodes.push_back({0, -1, -1, value});
    return static_cast<int>(nodes.size()) - 1;
  }
  int apply(char op, int left, int right) {
    const int a = left < 0 ? 0 : nodes[static_cast<size_t>(left)].value, b = nodes[static_cast<size_t>(right)].value;
    const int value = op == '+'   ? a + b
                      : op == '-' ? a - b
                      : op == '*' ? a * b
                      : op == '&' ? a & b
                      : op == '|' ? a | b
                                  : 1 - b;
    nodes.push_back({op, left, right, value});
    return static_cast<int>(nodes.size()) - 1;
  }
  const Node& at(int index) const { return nodes[static_cast<size_t>(index)]; }
  bool ready(int index) const {  // both sides are values already
    const Node& node = at(index);
    return node.op != 0 && (node.left < 0 || at(node.left).op == 0) && at(node.right).op == 0;
  }
  // The leftmost operation that is ready; every tree that is no leaf has one.
  int next(int index) const {
    if (ready(index)) return index;
    const Node& node = at(index);
    if (node.left >= 0 && at(node.left).op != 0) return next(node.left);
    return next(node.right);
  }
};

int precedence(char op) { return op == 0 || op == '!' ? 3 : op == '*' ? 2 : 1; }

// Brackets wherever the order of the tree is not the plain reading order; and around every "and" and "or" below
// another.
std::string text_of(const Tree& tree, int index, bool logic) {
  const Tree::Node& node = tree.at(index);
  if (node.op == 0) return logic ? (node.value != 0 ? "True" : "False") : std::to_string(node.value);
  const auto side = [&](int child, bool right) {
    const int mine = precedence(node.op), its = precedence(tree.at(child).op);
    const bool brackets = logic ? its < 3 : its < mine || (right && its == mine);
    return brackets ? cat('(', text_of(tree, child, logic), ')') : text_of(tree, child, logic);
  };
  if (node.op == '!') return "not " + side(node.right, true);
  const std::string_view op = node.op == '&' ? " and " : node.op == '|' ? " or " : std::string_view(&node.op, 1);
  return cat(side(node.left, false), op, side(node.right, true));
}

// "3+4=7: 7*(10-6)": the operation, and the expression with its value in its place; the last line is the operation
// alone.
std::string reduce(Tree tree, int root, bool logic) {
  Lines lines;
  while (tree.at(root).op != 0) {
    const int step = tree.next(root);
    const std::string before = text_of(tree, step, logic);
    tree.nodes[static_cast<size_t>(step)].op = 0;
    const std::string equation = cat(before, logic ? " = " : "=", text_of(tree, step, logic));
    if (step == root) {
      lines.add(equation);
    } else {
      lines.add(equation, ": ", text_of(tree, root, logic));
    }
  }
  return lines.take();
}

// Whole numbers from 0 to 99 throughout, so that every step is one that can be known by heart.
int grow_arithmetic(Rng& rng, Tree& tree, int operations) {
  if (operations == 0) return tree.leaf(rng.small(1, 9));
  const int on_the_left = rng.small(0, operations - 1);
  const int left = grow_arithmetic(rng, tree, on_the_left);
  const int right = grow_arithmetic(rng, tree, operations - 1 - on_the_left);
  const int a = tree.at(left).value, b = tree.at(right).value;
  std::vector<char> possible;
  if (a + b <= 99) possible.push_back('+');
  if (a >= b) possible.push_back('-');
  if (a * b <= 99) possible.push_back('*');
  if (possible.empty()) return tree.apply('-', right, left);  // a < b, and both are large
  const char op = rng.pick(possible);
  return tree.apply(op, left, right);
}

Draft draw_expression(Rng& rng, int difficulty) {
  Tree tree;
  const int root = grow_arithmetic(rng, tree, difficulty + 2);
  return {cat("Evaluate ", text_of(tree, root, false), "."), std::to_string(tree.at(root).value),
          reduce(tree, root, false)};
}

int grow_logic(Rng& rng, Tree& tree, int operations) {
  if (operations == 0) return tree.leaf(rng.small(0, 1));
  if (rng.chance(4)) {
    const int inner = grow_logic(rng, tree, operations - 1);
    if (tree.at(inner).op != '!') return tree.apply('!', -1, inner);
    return tree.apply('&', inner, tree.leaf(rng.small(0, 1)));
  }
  const int on_the_left = rng.small(0, operations - 1);
  const int left = grow_logic(rng, tree, on_the_left);
  const int right = grow_logic(rng, tree, operations - 1 - on_the_left);
  return tree.apply(rng.coin() ? '&' : '|', left, right);
}

Draft draw_boolean_logic(Rng& rng, int difficulty) {
  Tree tree;
  const int root = grow_logic(rng, tree, difficulty + 3);
  return {cat("True or False: ", text_of(tree, root, true), "?"), tree.at(root).value != 0 ? "True" : "False",
          reduce(tree, root, true)};
}

bool verify_boolean_logic(const Problem& problem, std::string_view answer) {
  const std::string given = lower(tidied(right_hand_side(answer))), wanted = lower(problem.answer);
  return !wanted.empty() && (given == wanted || given == wanted.substr(0, 1));
}

}  // namespace

void add_expressions(Environments& list) {
  static const SimpleEnvironment environments[] = {
      {"chain_sum", "Sums and differences in a row", "terms: 3, then one more per step; numbers to 9, 20, then 99", 6,
       draw_chain_sum, same_integer},
      {"expression", "Arithmetic with brackets", "operations: 2, then one more per step", 7, draw_expression,
       same_integer},
      {"boolean_logic", "Truth of an expression of and, or, not", "operations: 3, then one more per step", 5,
       draw_boolean_logic, verify_boolean_logic},
  };
  for (const Environment& environment : environments) list.push_back(&environment);
}

}  // namespace zaya::gym
