// What a program prints. The language: assignments of "a", "a + b", "a - b", "a * b" to X, Y, Z (capitals, which a
// small tokenizer leaves alone); "if a > b:" and "repeat n:" before an assignment; "print".
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "gym/kinds.h"

namespace zaya::gym {
namespace {

constexpr int64_t kUnset = -1;  // values stay from 0 to 99

struct Machine {
  std::array<int64_t, 3> values = {kUnset, kUnset, kUnset};
  Lines lines;
  bool fine = true;  // whether every value stayed in its range
};

char name_of_variable(size_t index) { return static_cast<char>('X' + index); }

struct Operand {
  bool variable = false;
  size_t index = 0;
  int64_t number = 0;
  int64_t value(const Machine& machine) const { return variable ? machine.values[index] : number; }
  std::string text() const { return variable ? std::string(1, name_of_variable(index)) : std::to_string(number); }
};

// A variable that has a value, or a number.
Operand operand(Rng& rng, const Machine& machine, bool prefer_variable) {
  std::vector<size_t> set;
  for (size_t i = 0; i < machine.values.size(); ++i) {
    if (machine.values[i] != kUnset) set.push_back(i);
  }
  Operand result;
  result.number = rng.between(1, 9);
  result.variable = !set.empty() && (prefer_variable || rng.coin());
  if (result.variable) result.index = rng.pick(set);
  return result;
}

struct Assignment {
  size_t target = 0;
  Operand left, right;
  char op = 0;  // 0: the left operand alone
  std::string text() const {
    const std::string start = cat(name_of_variable(target), " = ", left.text());
    return op == 0 ? start : cat(start, ' ', op, ' ', right.text());
  }
};

Assignment assignment(Rng& rng, const Machine& machine, bool computed) {
  Assignment a;
  a.target = rng.below(3);
  if (!computed) {
    a.left.number = rng.between(1, 9);
    return a;
  }
  a.left = operand(rng, machine, true);
  constexpr std::string_view kOps = "+-*";
  a.op = rng.pick(kOps);
  a.right = operand(rng, machine, false);
  if (a.op == '-' && a.right.variable && a.right.index == a.left.index) a.right.variable = false;  // X - X says little
  return a;
}

// "Y=3+2=5" in the trace; a plain number is only "X=3".
void run(const Assignment& a, Machine& machine) {
  const int64_t left = a.left.value(machine), right = a.right.value(machine);
  const int64_t value = a.op == 0 ? left : a.op == '+' ? left + right : a.op == '-' ? left - right : left * right;
  if (value < 0 || value > 99) {
    machine.fine = false;
    return;
  }
  if (a.op == 0) {
    machine.lines.add(name_of_variable(a.target), '=', value);
  } else {
    machine.lines.add(name_of_variable(a.target), '=', left, a.op, right, '=', value);
  }
  machine.values[a.target] = value;
}

Draft draw_program_output(Rng& rng, int difficulty) {
  for (;;) {
    Machine machine;
    std::string program;
    size_t last = 0;  // the variable of the last assignment
    const int statements = 2 + difficulty;
    for (int i = 0; i < statements && machine.fine; ++i) {
      const int kind = i == 0 || i + 1 == statements ? 0 : rng.small(0, difficulty < 2 ? 0 : difficulty < 3 ? 2 : 3);
      const Assignment a = assignment(rng, machine, i > 0 && (i > 2 || rng.coin() || i + 1 == statements));
      last = a.target;
      if (kind <= 1) {
        program += a.text() + '\n';
        run(a, machine);
      } else if (kind == 2) {
        if (machine.values[a.target] == kUnset) machine.fine = false;  // it must have a value either way
        const Operand left = operand(rng, machine, true);
        Operand right = operand(rng, machine, false);
        if (right.variable && right.index == left.index) right.variable = false;
        const bool holds = left.value(machine) > right.value(machine);
        program += cat("if ", left.text(), " > ", right.text(), ": ", a.text(), '\n');
        machine.lines.add(left.value(machine), '>', right.value(machine), holds ? " yes" : " no");
        if (holds) run(a, machine);
      } else {
        const int times = rng.small(2, 3);
        program += cat("repeat ", times, ": ", a.text(), '\n');
        if (a.op == 0) machine.fine = false;  // a repeated constant is no program
        for (int n = 0; n < times && machine.fine; ++n) run(a, machine);
      }
    }
    if (!machine.fine) continue;
    Operand shown = operand(rng, machine, true);
    if (!shown.variable) continue;
    if (rng.coin()) shown.index = last;
    machine.lines.add("print ", shown.text(), ": ", shown.value(machine));
    return {cat(program, "print ", shown.text(), "\nWhat is printed?"), std::to_string(shown.value(machine)),
            machine.lines.take()};
  }
}

}  // namespace

void add_programs(Environments& list) {
  static const SimpleEnvironment environments[] = {
      {"program_output", "What a short program prints",
       "statements: 2, then one more per step; from 2 on if, from 3 on repeat", 6, draw_program_output, same_integer},
  };
  for (const Environment& environment : environments) list.push_back(&environment);
}

}  // namespace zaya::gym
