// The teachers' answers and lines against solvers that share nothing with them.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "gym/answer_text.h"
#include "gym/gym.h"

namespace zaya::gym {
namespace {

template <typename Visit>
void for_problems_of(const char* name, Visit visit) {
  const Environment* environment = find_environment(name);
  ASSERT_NE(environment, nullptr) << name;
  for (int difficulty = 0; difficulty <= environment->max_useful_difficulty(); ++difficulty) {
    for (uint64_t seed = 0; seed < 60; ++seed) visit(make_problem(*environment, Split::train, seed, difficulty));
  }
}

// Two stacks, doubles; "-" in front of a number or a bracket is a sign. NaN for anything that is no expression.
double evaluate(const std::string& text) {
  std::vector<double> values;
  std::vector<char> ops;
  const auto rank = [](char op) { return op == '(' ? 0 : op == '+' || op == '-' ? 1 : 2; };
  bool fine = true;
  const auto reduce = [&] {
    if (values.size() < 2) {
      fine = false;
      return;
    }
    const double b = values.back();
    values.pop_back();
    double& a = values.back();
    a = ops.back() == '+' ? a + b : ops.back() == '-' ? a - b : ops.back() == '*' ? a * b : a / b;
    ops.pop_back();
  };
  bool operand_next = true;
  for (size_t i = 0; i < text.size() && fine;) {
    const char c = text[i];
    if (c == ' ') {
      ++i;
    } else if (operand_next && (std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '-')) {
      const size_t start = i++;
      while (i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) != 0) ++i;
      if (c == '-' && i == start + 1) return NAN;
      values.push_back(std::strtod(text.substr(start, i - start).c_str(), nullptr));
      operand_next = false;
    } else if (operand_next && c == '(') {
      ops.push_back(c);
      ++i;
    } else if (!operand_next && c == ')') {
      while (fine && !ops.empty() && ops.back() != '(') reduce();
      if (ops.empty()) return NAN;
      ops.pop_back();
      ++i;
    } else if (!operand_next && (c == '+' || c == '-' || c == '*' || c == '/')) {
      while (fine && !ops.empty() && rank(ops.back()) >= rank(c)) reduce();
      ops.push_back(c);
      operand_next = true;
      ++i;
    } else {
      return NAN;
    }
  }
  while (fine && !ops.empty() && ops.back() != '(') reduce();
  return fine && values.size() == 1 && ops.empty() ? values[0] : NAN;
}

std::string between(const std::string& text, const std::string& before, const std::string& after) {
  const size_t start = text.find(before) + before.size();
  return text.substr(start, text.find(after, start) - start);
}

TEST(Teacher, EveryEquationOfEveryTraceHolds) {
  int64_t equations = 0;
  for (const Environment* environment : environments()) {
    for_problems_of(std::string(environment->name()).c_str(), [&](const Problem& p) {
      std::string trace = p.trace;
      std::replace(trace.begin(), trace.end(), '\n', ' ');
      trace += ' ';
      for (size_t at = 0; at < trace.size();) {
        const size_t end = trace.find(' ', at);
        std::string piece = trace.substr(at, end - at);
        at = end + 1;
        while (!piece.empty() && (piece.back() == ':' || piece.back() == ',')) piece.pop_back();
        const size_t equals = piece.find('=');
        if (equals == std::string::npos || piece.size() < 3 ||
            piece.find_first_not_of("0123456789+-*/()=") != std::string::npos)
          continue;
        const double left = evaluate(piece.substr(0, equals)), right = evaluate(piece.substr(equals + 1));
        ASSERT_EQ(left, right) << piece << "\n" << p.prompt << "\n" << p.trace;
        ++equations;
      }
    });
  }
  EXPECT_GT(equations, 20000);
}

TEST(Teacher, ArithmeticIsRight) {
  for (const char* name : {"addition", "subtraction", "multiplication", "chain_sum"}) {
    for_problems_of(name, [](const Problem& p) {
      ASSERT_EQ(evaluate(between(p.prompt, "What is ", "?")), std::stod(p.answer)) << p.prompt;
    });
  }
  for_problems_of("expression", [](const Problem& p) {
    ASSERT_EQ(evaluate(between(p.prompt, "Evaluate ", ".")), std::stod(p.answer)) << p.prompt;
  });
  for_problems_of("division", [](const Problem& p) {
    const auto n = integers_in(p.prompt, false), a = integers_in(p.answer, false);
    ASSERT_EQ(n[0], n[1] * a[0] + a[1]) << p.prompt;
    ASSERT_LT(a[1], n[1]);
  });
  for_problems_of("linear_equation", [](const Problem& p) {
    std::string text = between(p.prompt, "Solve ", " for");
    const std::string value = "*(" + p.answer + ")";
    std::string put;
    for (size_t i = 0; i < text.size(); ++i) {
      const bool digit_before = i > 0 && std::isdigit(static_cast<unsigned char>(text[i - 1])) != 0;
      if (text[i] == 'x')
        put += digit_before ? value : "1" + value;
      else if (text[i] == '(' && digit_before)
        put += "*(";
      else
        put += text[i];
    }
    const size_t equals = put.find('=');
    ASSERT_EQ(evaluate(put.substr(0, equals)), evaluate(put.substr(equals + 1))) << p.prompt << " " << put;
  });
}

TEST(Teacher, BasesAreRight) {
  const std::regex form("Convert (\\w+) from base (\\d+) to base (\\d+)\\.");
  for_problems_of("base_conversion", [&](const Problem& p) {
    std::smatch m;
    ASSERT_TRUE(std::regex_match(p.prompt, m, form)) << p.prompt;
    ASSERT_EQ(std::strtol(m[1].str().c_str(), nullptr, std::stoi(m[2])),
              std::strtol(p.answer.c_str(), nullptr, std::stoi(m[3])));
  });
}

TEST(Teacher, CountdownUsesEveryNumberOnce) {
  for_problems_of("countdown", [](const Problem& p) {
    auto wanted = integers_in(p.prompt, false), used = integers_in(p.answer, false);
    ASSERT_EQ(evaluate(p.answer), static_cast<double>(wanted[0])) << p.prompt << p.answer;
    wanted.erase(wanted.begin());
    std::sort(wanted.begin(), wanted.end());
    std::sort(used.begin(), used.end());
    ASSERT_EQ(wanted, used);
  });
}

int count_solutions(std::string& cells) {
  const size_t gap = cells.find('_');
  if (gap == std::string::npos) return 1;
  int count = 0;
  for (char digit = '1'; digit <= '4'; ++digit) {
    bool free = true;
    for (size_t i = 0; i < 4; ++i) {
      const size_t row = gap / 4, column = gap % 4;
      free = free && cells[row * 4 + i] != digit && cells[i * 4 + column] != digit &&
             cells[(row / 2 * 2 + i / 2) * 4 + column / 2 * 2 + i % 2] != digit;
    }
    if (!free) continue;
    cells[gap] = digit;
    count += count_solutions(cells);
    cells[gap] = '_';
  }
  return count;
}

TEST(Teacher, SudokuHasOneSolution) {
  std::array<size_t, 5> gaps{};
  for_problems_of("mini_sudoku", [&](const Problem& p) {
    std::string cells = p.prompt.substr(p.prompt.rfind("sudoku ") + 7, 19);
    std::erase(cells, ' ');
    ASSERT_EQ(cells.size(), 16u);
    gaps[static_cast<size_t>(p.difficulty)] += static_cast<size_t>(std::count(cells.begin(), cells.end(), '_'));
    ASSERT_EQ(count_solutions(cells), 1) << p.prompt;
  });
  for (size_t i = 1; i < gaps.size(); ++i) EXPECT_GT(gaps[i], gaps[i - 1]);
}

// Reads the English of the puzzle and tries every case.
TEST(Teacher, KnightsAndKnavesHaveOneSolution) {
  const std::regex said(
      "([A-Z]) says: (?:([A-Z]) is a (knight|knave)|([A-Z]) (and|or) ([A-Z]) (?:are|is) (?:a |the )?(\\w+))\\.");
  for_problems_of("knights_knaves", [&](const Problem& p) {
    std::vector<std::smatch> claims;
    for (std::sregex_iterator it(p.prompt.begin(), p.prompt.end(), said), end; it != end; ++it) claims.push_back(*it);
    const size_t people = claims.size();
    ASSERT_GE(people, 2u) << p.prompt;
    std::vector<std::string> solutions;
    for (unsigned bits = 0; bits < 1u << people; ++bits) {
      const auto knight = [&](const std::string& name) {
        size_t index = 0;
        while (claims.at(index)[1].str() != name) ++index;
        return (bits >> index & 1) != 0;
      };
      bool fits = true;
      for (const std::smatch& m : claims) {
        bool truth = false;
        if (m[2].matched) {
          truth = knight(m[2]) == (m[3] == "knight");
        } else {
          const bool a = knight(m[4]), b = knight(m[6]);
          truth = m[7] == "same" ? a == b : m[7] == "different" ? a != b : m[7] == "knaves" ? !a && !b : a || b;
        }
        fits = fits && truth == knight(m[1]);
      }
      if (!fits) continue;
      std::string text;
      for (size_t i = 0; i < people; ++i)
        text += std::string(i > 0 ? ", " : "") + claims[i][1].str() + ((bits >> i & 1) != 0 ? " knight" : " knave");
      solutions.push_back(text);
    }
    ASSERT_EQ(solutions, std::vector<std::string>{p.answer}) << p.prompt;
  });
}

TEST(Teacher, PathsAreShortest) {
  for_problems_of("shortest_path", [](const Problem& p) {
    std::map<std::pair<char, char>, int> far;
    std::set<char> nodes;
    const std::string edges = between(p.prompt, "Edges: ", ".");
    for (size_t i = 0; i + 1 < edges.size(); i += 4) {
      far[{edges[i], edges[i + 1]}] = far[{edges[i + 1], edges[i]}] = 1;
      nodes.insert({edges[i], edges[i + 1]});
    }
    for (const char k : nodes) {
      for (const char a : nodes) {
        for (const char b : nodes) {
          const auto first = far.find({a, k}), second = far.find({k, b});
          if (first == far.end() || second == far.end() || a == b) continue;
          const int sum = first->second + second->second;
          const auto known = far.find({a, b});
          if (known == far.end() || sum < known->second) far[{a, b}] = sum;
        }
      }
    }
    ASSERT_EQ(far.at({p.answer.front(), p.answer.back()}), static_cast<int>(p.answer.size()) - 1) << p.prompt;
    ASSERT_EQ(between(p.prompt, " from ", ","), std::string(1, p.answer.front()) + " to " + p.answer.back());
  });
}

TEST(Teacher, DatesAgreeWithTheStandardLibrary) {
  using std::chrono::month, std::chrono::sys_days, std::chrono::year, std::chrono::year_month_day;
  const char* const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                "July",    "August",   "September", "October", "November", "December"};
  const char* const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
  const auto month_of = [&](const std::string& name) {
    return static_cast<unsigned>(std::find(std::begin(months), std::end(months), name) - std::begin(months)) + 1;
  };
  const auto day_index = [&](const std::string& name) {
    return static_cast<int>(std::find(std::begin(days), std::end(days), name) - std::begin(days));
  };
  const auto date = [&](const std::string& name, const std::string& day) {
    return sys_days(year(2023) / month(month_of(name)) / static_cast<int>(std::stoi(day)));  // 365 days
  };
  const std::regex weekday_form("Which weekday is (\\d+) days (before|after) (\\w+)\\?"),
      after("Which date is (\\d+) days after (\\w+) (\\d+)\\?"),
      apart("How many days are from (\\w+) (\\d+) to (\\w+) (\\d+)\\?"),
      known("(\\w+) (\\d+) is a (\\w+)\\. Which weekday is (\\w+) (\\d+)\\?");
  for_problems_of("calendar", [&](const Problem& p) {
    std::smatch m;
    std::string expected;
    if (std::regex_match(p.prompt, m, weekday_form)) {
      const int count = std::stoi(m[1]) * (m[2] == "after" ? 1 : -1);
      expected = days[((day_index(m[3]) + count) % 7 + 7) % 7];
    } else if (std::regex_match(p.prompt, m, after)) {
      const year_month_day result(date(m[2], m[3]) + std::chrono::days(std::stoi(m[1])));
      expected = std::string(months[static_cast<unsigned>(result.month()) - 1]) + ' ' +
                 std::to_string(static_cast<unsigned>(result.day()));
      ASSERT_EQ(static_cast<int>(result.year()), 2023) << p.prompt;
    } else if (std::regex_match(p.prompt, m, apart)) {
      expected = std::to_string((date(m[3], m[4]) - date(m[1], m[2])).count());
    } else {
      ASSERT_TRUE(std::regex_match(p.prompt, m, known)) << p.prompt;
      expected = days[(day_index(m[3]) + (date(m[4], m[5]) - date(m[1], m[2])).count()) % 7];
    }
    ASSERT_EQ(p.answer, expected) << p.prompt;
  });
}

TEST(Teacher, SetsAndListsAreRight) {
  const std::regex sets(
      "A = \\{(.*?)\\}, B = \\{(.*?)\\}(?:, C = \\{(.*?)\\})?\\. Which numbers are in \\(?A (\\w+) B\\)?(?: (\\w+) "
      "C)?\\?");
  for_problems_of("set_operations", [&](const Problem& p) {
    std::smatch m;
    ASSERT_TRUE(std::regex_match(p.prompt, m, sets)) << p.prompt;
    const auto read = [](const std::string& text) {
      const auto list = integers_in(text, false);
      return std::set<int64_t>(list.begin(), list.end());
    };
    const auto combine = [](const std::set<int64_t>& a, const std::string& op, const std::set<int64_t>& b) {
      std::set<int64_t> out;
      if (op == "and") std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::inserter(out, out.end()));
      if (op == "or") std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::inserter(out, out.end()));
      if (op == "minus") std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::inserter(out, out.end()));
      return out;
    };
    std::set<int64_t> expected = combine(read(m[1]), m[4], read(m[2]));
    if (m[5].matched) expected = combine(expected, m[5], read(m[3]));
    ASSERT_EQ(read(p.answer), expected) << p.prompt;
  });
  for_problems_of("sorting", [](const Problem& p) {
    auto numbers = integers_in(p.prompt, false);
    std::sort(numbers.begin(), numbers.end());
    if (p.prompt.find("large to small") != std::string::npos) std::reverse(numbers.begin(), numbers.end());
    ASSERT_EQ(integers_in(p.answer, false), numbers);
  });
  for_problems_of("letter_count", [](const Problem& p) {
    const std::string text = between(p.prompt, " in ", "?");
    ASSERT_EQ(std::stoll(p.answer), std::count(text.begin(), text.end(), p.prompt[9])) << p.prompt;
  });
}

}  // namespace
}  // namespace zaya::gym
