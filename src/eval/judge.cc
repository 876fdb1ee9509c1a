#include "eval/judge.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <vector>

#include "nlohmann/json.hpp"

namespace zaya::eval {
namespace {

using Json = nlohmann::ordered_json;

// What solutions on judge sites take for granted. No star import that hides a built-in name: math has a pow of its own.
constexpr const char* kPrelude =
    R"(import bisect, collections, functools, heapq, itertools, math, operator, random, re, string, sys
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import ceil, comb, factorial, floor, gcd, inf, isqrt, lcm, log, log2, perm, pi, prod, sqrt
from typing import *
sys.setrecursionlimit(50000)
)";

// Calls the method of a class Solution, or the function, with one JSON argument from each line of standard input. What
// the solution prints goes elsewhere, so that only the result is standard output.
constexpr const char* kCall = R"(
import json as _json, sys as _sys
_out, _sys.stdout = _sys.stdout, _sys.stderr
_arguments = [_json.loads(line) for line in _sys.stdin.read().splitlines() if line.strip()]
_target = getattr(Solution(), "{0}") if "Solution" in globals() else globals()["{0}"]
_result = _target(*_arguments)
_out.write(_json.dumps(_result, default=list))
_out.flush()
)";

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t from = line.find_first_not_of(" \t\r");
    line = from == std::string_view::npos ? "" : line.substr(from, line.find_last_not_of(" \t\r") + 1 - from);
    lines.push_back(line);
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  size_t first = 0;
  while (first < lines.size() && lines[first].empty()) ++first;
  return {lines.begin() + static_cast<std::ptrdiff_t>(first), lines.end()};
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    const size_t from = text.find_first_not_of(" \t\r\n");
    if (from == std::string_view::npos) return words;
    text.remove_prefix(from);
    const size_t end = std::min(text.find_first_of(" \t\r\n"), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

bool is_number(std::string_view word, double& value) {
  const std::string text(word);
  char* end = nullptr;
  value = std::strtod(text.c_str(), &end);
  return end == text.c_str() + text.size() && !text.empty() && std::isfinite(value);
}

bool same_word(std::string_view a, std::string_view b) {
  if (a == b) return true;
  double x = 0, y = 0;
  if (!is_number(a, x) || !is_number(b, y)) return false;
  // Long integers are not the same because their doubles are.
  const bool integers = a.find_first_of(".eE") == a.npos && b.find_first_of(".eE") == b.npos;
  if (integers && (std::fabs(x) > 1e15 || std::fabs(y) > 1e15)) return false;
  return std::fabs(x - y) <= 1e-9 * std::max({1.0, std::fabs(x), std::fabs(y)});
}

bool same_json(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_number_integer() && b.is_number_integer()) return a == b;
    const double x = a.get<double>(), y = b.get<double>();
    return std::fabs(x - y) <= 1e-9 * std::max({1.0, std::fabs(x), std::fabs(y)});
  }
  if (a.is_array() && b.is_array()) {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); ++i) {
      if (!a[i].is_structured() || !b[i].is_structured()) {
        if (!same_json(a[i], b[i])) return false;
      } else if (a[i] != b[i]) {
        return false;
      }
    }
    return true;
  }
  return a == b;
}

std::string program_path(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  for (const char* place : {"/usr/local/bin/", "/usr/bin/", "/bin/"}) {
    if (const std::string path = place + name; ::access(path.c_str(), X_OK) == 0) return path;
  }
  return "/usr/bin/" + name;
}

bool passes(const Item& item, const std::string& code, const JudgeOptions& options, std::string& why) {
  if (item.tests == nullptr || item.tests->empty()) return false;
  // A future import must stand first, so such a program goes without.
  const bool bare = code.find("from __future__") != std::string::npos;
  const std::string program = (bare ? "" : kPrelude) + code + "\n",
                    called = program + fmt::format(kCall, item.function);
  const std::string python = program_path(options.python);
  for (size_t i = 0; i < item.tests->size(); ++i) {
    const CodeTest& test = (*item.tests)[i];
    const std::map<std::string, std::string> files{{"solution.py", test.functional ? called : program}};
    Result<SandboxResult> ran = run_sandboxed({python, "-I", "-B", "solution.py"}, test.input, files, options.limits);
    if (!ran.ok()) {
      why = ran.status().to_string();
      return false;
    }
    const auto fails = [&](const std::string& what) {
      why = fmt::format("test {} of {}: {}", i + 1, item.tests->size(), what);
      return false;
    };
    if (ran->ended == Ended::timed_out) return fails("took too long");
    if (ran->ended == Ended::flooded) return fails("printed too much");
    if (!ran->fine()) {
      const size_t last = ran->errors.find_last_not_of("\n");
      const std::string errors = ran->errors.substr(0, last == std::string::npos ? 0 : last + 1);
      return fails(errors.empty() ? "crashed" : errors.substr(errors.rfind('\n') + 1).substr(0, 200));
    }
    bool same = false;
    if (test.functional) {
      const Json got = Json::parse(ran->output, nullptr, false), expected = Json::parse(test.output, nullptr, false);
      same = expected.is_discarded() ? same_output(ran->output, test.output)
                                     : !got.is_discarded() && same_json(got, expected);
    } else {
      same = same_output(ran->output, test.output);
    }
    if (!same) return fails("wrong output");
  }
  return true;
}

}  // namespace

reasoning::AnswerKind answer_kind_of(Judge judge) {
  switch (judge) {
    case Judge::option: return reasoning::AnswerKind::option;
    case Judge::code: return reasoning::AnswerKind::code;
    default: return reasoning::AnswerKind::automatic;
  }
}

bool same_output(std::string_view got, std::string_view expected) {
  if (lines_of(got) == lines_of(expected)) return true;
  const auto a = words_of(got), b = words_of(expected);
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_word(a[i], b[i])) return false;
  }
  return true;
}

bool is_right(const Item& item, std::string_view text, const std::optional<std::string>& answer,
              const JudgeOptions& options, std::string* why) {
  switch (item.judge) {
    case Judge::answer:
    case Judge::option: return answer.has_value() && reasoning::same_answer(item.expected, *answer);
    case Judge::gym: {
      // Where nothing came behind the reasoning, a marked answer in it counts, as it does for votes.
      const bool said = text.find_first_not_of(" \t\r\n") != std::string_view::npos;
      return item.problem != nullptr && (said || answer.has_value()) &&
             gym::verify_answer(*item.problem, said ? text : std::string_view(*answer));
    }
    case Judge::code: {
      std::string reason = "no code block";
      const bool right = answer.has_value() && passes(item, *answer, options, reason);
      if (why != nullptr && !right) *why = reason;
      return right;
    }
  }
  return false;
}

}  // namespace zaya::eval
