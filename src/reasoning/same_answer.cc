// What an answer is: a number or expression, a tuple or interval, a set, a union, a matrix, or words.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <memory>

#include "reasoning/answers.h"
#include "reasoning/expression.h"

namespace zaya::reasoning {
namespace {

constexpr int kMaxDepth = 6;
constexpr size_t kMaxItems = 256;
constexpr int kMaxComparisons = 20000;  // sets of sets are compared item by item; beyond this they differ

struct Value {
  enum class Kind { expression, sequence, set, words } kind = Kind::words;
  std::string open, close;   // sequence: its brackets
  std::vector<Value> items;  // sequence, set
  std::optional<Expression> expression;
  std::string text;  // words; of an expression too
};

std::string_view trimmed(std::string_view text) {
  const size_t from = text.find_first_not_of(" \t\r\n");
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t\r\n") - from + 1);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// Words up to case, spaces and punctuation at the ends.
std::string plain_words(std::string_view text) {
  std::string out;
  for (char c : lower(trimmed(text))) {
    if (c == '\n' || c == '\t' || c == '\r') c = ' ';
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
  }
  const auto strip = [](char c) { return c == ' ' || c == '.' || c == '*' || c == '"' || c == '\'' || c == '`'; };
  while (!out.empty() && strip(out.back())) out.pop_back();
  size_t from = 0;
  while (from < out.size() && strip(out[from])) ++from;
  out.erase(0, from);
  if (out.size() == 3 && out[0] == '(' && out[2] == ')') out = out.substr(1, 1);  // (b)
  return out;
}

// Parts between separators that stand outside of brackets. A bracket may be closed by another kind: [0, 1).
std::vector<std::string_view> split(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  int depth = 0;
  size_t from = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '(' || c == '[' || c == '{') ++depth;
    if (c == ')' || c == ']' || c == '}') --depth;
    if (depth == 0 && text.substr(i, separator.size()) == separator && parts.size() < kMaxItems) {
      parts.push_back(text.substr(from, i - from));
      i += separator.size() - 1;
      from = i + 1;
    }
  }
  parts.push_back(text.substr(from));
  return parts;
}

// Whether the bracket that opens at 0 closes at the very end.
bool encloses_all(std::string_view text) {
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '(' || text[i] == '[' || text[i] == '{') ++depth;
    if (text[i] == ')' || text[i] == ']' || text[i] == '}') --depth;
    if (depth == 0) return i + 1 == text.size();
    if (depth < 0) return false;
  }
  return false;
}

Value read_value(std::string_view text, int depth);

Value words(std::string_view text) { return {.kind = Value::Kind::words, .text = plain_words(text)}; }

Value collection(Value::Kind kind, const std::vector<std::string_view>& parts, int depth) {
  Value value{.kind = kind};
  for (std::string_view part : parts) value.items.push_back(read_value(part, depth + 1));
  return value;
}

bool is_word(std::string_view text) {
  size_t letters = 0;
  for (char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (u >= 0x80 || std::isalpha(u)) {
      ++letters;
    } else if (c != ' ' && c != '-' && c != '\'' && c != '.') {
      return false;
    }
  }
  return letters >= 2;
}

// A run of four letters that is no command and no function: words, where letters side by side would be a product.
bool has_word(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end]))) ++end;
    const std::string_view run = text.substr(i, end - i);
    const bool command = i > 0 && text[i - 1] == '\\';
    const bool function = run.find("sin") != run.npos || run.find("cos") != run.npos || run.find("tan") != run.npos ||
                          run.find("sqrt") != run.npos || run.find("log") != run.npos || run.find("exp") != run.npos;
    if (run.size() >= 4 && !command && !function) return true;
    i = std::max(end, i + 1);
  }
  return false;
}

// "12 apples", "5 km/h": the number without what it counts.
std::string_view without_unit(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    const auto c = static_cast<unsigned char>(text[end - 1]);
    if (!std::isalpha(c) && c != ' ' && c != '/' && c != '^' &&
        !(c < 0x80 && std::isdigit(c) && end >= 2 && text[end - 2] == '^'))
      break;
    --end;
  }
  // Only behind a plain number and a space: 2x and 3 pi are values.
  std::string_view number = trimmed(text.substr(0, end));
  const size_t space = text.find(' ');
  if (number.empty() || space == std::string_view::npos) return text;
  const std::string_view unit = trimmed(text.substr(number.size()));
  const size_t letters = std::min(unit.find_first_of(" /^"), unit.size());
  if (letters < 2 && unit.size() < 2) return text;
  if (unit.find("pi") == 0 || unit.find("sqrt") == 0) return text;
  if (number.find_first_not_of("0123456789.,-+ ") != std::string_view::npos) return text;
  return number;
}

// One bound of an inequality in one variable as a sequence with infinity; nothing when it is something else.
std::optional<Value> read_relation(std::string_view text, int depth) {
  struct Part {
    std::string_view side, sign;
  };
  std::vector<Part> parts;
  size_t from = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '<' && text[i] != '>') continue;
    const size_t length = i + 1 < text.size() && text[i + 1] == '=' ? 2 : 1;
    parts.push_back({trimmed(text.substr(from, i - from)), text.substr(i, length)});
    i += length - 1;
    from = i + 1;
  }
  if (parts.empty() || parts.size() > 2) return std::nullopt;
  parts.push_back({trimmed(text.substr(from)), {}});
  const auto is_variable = [](std::string_view side) {
    return side.size() == 1 && std::isalpha(static_cast<unsigned char>(side[0])) != 0;
  };
  Value infinity = read_value("\\infty", depth + 1), minus_infinity = read_value("-\\infty", depth + 1);
  const auto interval = [](Value low, bool low_in, Value high, bool high_in) {
    Value value{.kind = Value::Kind::sequence, .open = low_in ? "[" : "(", .close = high_in ? "]" : ")"};
    value.items = {std::move(low), std::move(high)};
    return value;
  };
  const auto closed = [](std::string_view sign) { return sign.size() == 2; };
  if (parts.size() == 2) {
    bool less = parts[0].sign[0] == '<';
    std::string_view bound = parts[1].side;
    if (!is_variable(parts[0].side)) {
      if (!is_variable(parts[1].side)) return std::nullopt;
      less = !less;
      bound = parts[0].side;
    }
    Value value = read_value(bound, depth + 1);
    const bool in = closed(parts[0].sign);
    return less ? interval(minus_infinity, false, std::move(value), in)
                : interval(std::move(value), in, infinity, false);
  }
  if (!is_variable(parts[1].side) || parts[0].sign[0] != parts[1].sign[0]) return std::nullopt;
  Value first = read_value(parts[0].side, depth + 1), second = read_value(parts[2].side, depth + 1);
  if (parts[0].sign[0] == '<')
    return interval(std::move(first), closed(parts[0].sign), std::move(second), closed(parts[1].sign));
  return interval(std::move(second), closed(parts[1].sign), std::move(first), closed(parts[0].sign));
}

std::optional<Value> read_matrix(std::string_view text, int depth) {
  if (!text.starts_with("\\begin{")) return std::nullopt;
  const size_t name_end = text.find('}'), end = text.rfind("\\end{");
  if (name_end == std::string_view::npos || end == std::string_view::npos || end < name_end) return std::nullopt;
  if (text.substr(0, name_end).find("matrix") == std::string_view::npos &&
      text.substr(0, name_end).find("array") == std::string_view::npos) {
    return std::nullopt;
  }
  Value value{.kind = Value::Kind::sequence, .open = "(", .close = ")"};
  for (std::string_view row : split(text.substr(name_end + 1, end - name_end - 1), "\\\\")) {
    const auto cells = split(row, "&");
    if (cells.size() == 1) {
      if (!trimmed(row).empty()) value.items.push_back(read_value(row, depth + 1));  // a vector, like a tuple
      continue;
    }
    Value line = collection(Value::Kind::sequence, cells, depth);
    line.open = "(";
    line.close = ")";
    value.items.push_back(std::move(line));
  }
  return value;
}

// The right side of "x = 5", "f(x) = …", "m\angle A = …": what is asked for has a name, and the name is no matter.
std::string_view without_name(std::string_view text) {
  const auto sides = split(text, "=");
  if (sides.size() != 2 || text.find_first_of("<>") != std::string_view::npos) return text;
  const std::string_view name = trimmed(sides[0]);
  const bool plain = !name.empty() && name.size() <= 12 && name.find_first_of("+-*/^&,") == std::string_view::npos &&
                     !std::isdigit(static_cast<unsigned char>(name[0]));
  return plain ? trimmed(sides[1]) : text;
}

Value read_value(std::string_view text, int depth) {
  text = trimmed(text);
  if (depth > kMaxDepth) return words(text);
  text = without_name(text);
  if (const size_t member = text.find("\\in "); member != std::string_view::npos && member <= 3) {
    text = trimmed(text.substr(member + 4));
  }
  if (auto matrix = read_matrix(text, depth)) return *matrix;

  // Several values: a union, a list, alternatives.
  for (const char* separator : {"\\cup", " or ", " and "}) {
    const auto parts = split(text, separator);
    if (parts.size() > 1) return collection(Value::Kind::set, parts, depth);
  }
  if (text.find_first_of("<>") != std::string_view::npos) {
    if (auto relation = read_relation(text, depth)) return *relation;
  }
  if (text.starts_with("\\{") && text.ends_with("\\}")) {
    const std::string_view inner = trimmed(text.substr(2, text.size() - 4));
    if (inner.empty()) return {.kind = Value::Kind::set};
    return collection(Value::Kind::set, split(inner, ","), depth);
  }
  if (const auto parts = split(text, ","); parts.size() > 1) return collection(Value::Kind::set, parts, depth);
  if (!text.empty() && (text[0] == '(' || text[0] == '[' || text[0] == '{') && encloses_all(text)) {
    const std::string_view inner = text.substr(1, text.size() - 2);
    const auto parts = split(inner, ",");
    if (text[0] == '{') {
      return parts.size() > 1 ? collection(Value::Kind::set, parts, depth) : read_value(inner, depth + 1);
    }
    if (parts.size() > 1) {
      Value value = collection(Value::Kind::sequence, parts, depth);
      value.open = text.substr(0, 1);
      value.close = text.substr(text.size() - 1);
      return value;
    }
  }
  if (const size_t sign = text.find("\\pm");
      sign != std::string_view::npos && text.find("\\pm", sign + 3) == std::string_view::npos) {
    const std::string before(text.substr(0, sign)), after(text.substr(sign + 3));
    Value value{.kind = Value::Kind::set};
    value.items = {read_value(before + "+" + after, depth + 1), read_value(before + "-" + after, depth + 1)};
    return value;
  }
  if (is_word(text)) return words(text);
  const std::string_view bare = without_unit(text);
  if (has_word(bare)) return words(text);
  Value value{.kind = Value::Kind::expression, .text = std::string(bare)};
  value.expression = Expression::parse(bare);
  return value.expression ? value : words(text);
}

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool same_value(const Value& a, const Value& b, int& left) {
  if (--left < 0) return false;
  // One value and a set of one are the same answer.
  if (a.kind == Value::Kind::set && a.items.size() == 1 && b.kind != Value::Kind::set)
    return same_value(a.items[0], b, left);
  if (b.kind == Value::Kind::set && b.items.size() == 1 && a.kind != Value::Kind::set)
    return same_value(a, b.items[0], left);
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Value::Kind::words: return a.text == b.text;
    case Value::Kind::expression:
      // Digits compare as digits: a double would not tell long numbers apart.
      if (all_digits(a.text) && all_digits(b.text)) {
        const auto significant = [](std::string_view t) {
          return t.substr(std::min(t.find_first_not_of('0'), t.size()));
        };
        return significant(a.text) == significant(b.text);
      }
      return a.text == b.text || Expression::same(*a.expression, *b.expression);
    case Value::Kind::sequence: {
      if (a.items.size() != b.items.size() || a.open != b.open || a.close != b.close) return false;
      for (size_t i = 0; i < a.items.size(); ++i) {
        if (!same_value(a.items[i], b.items[i], left)) return false;
      }
      return true;
    }
    case Value::Kind::set: {
      // Each has its like in the other: repetitions do not matter.
      const auto covers = [&](const Value& all, const Value& some) {
        return std::all_of(some.items.begin(), some.items.end(), [&](const Value& item) {
          return std::any_of(all.items.begin(), all.items.end(),
                             [&](const Value& x) { return same_value(x, item, left); });
        });
      };
      return covers(a, b) && covers(b, a);
    }
  }
  return false;
}

std::string code_lines(std::string_view text) {
  std::string out;
  for (size_t from = 0; from <= text.size();) {
    const size_t end = std::min(text.find('\n', from), text.size());
    std::string_view line = text.substr(from, end - from);
    const size_t last = line.find_last_not_of(" \t\r");
    if (last != std::string_view::npos) (out += line.substr(0, last + 1)) += '\n';
    from = end + 1;
  }
  return out;
}

}  // namespace

bool same_answer(std::string_view a, std::string_view b) {
  if (trimmed(a) == trimmed(b)) return true;
  constexpr size_t kLongest = 4000;  // no value is longer; code may be
  if (a.size() > kLongest || b.size() > kLongest || a.find('\n') != std::string_view::npos ||
      b.find('\n') != std::string_view::npos) {
    if (code_lines(a) == code_lines(b)) return true;
    if (a.size() > kLongest || b.size() > kLongest) return false;
  }
  if (plain_words(a) == plain_words(b)) return true;
  const std::string tidy_a = tidy_math(a), tidy_b = tidy_math(b);
  if (tidy_a.empty() || tidy_b.empty()) return false;
  int left = kMaxComparisons;
  return same_value(read_value(tidy_a, 0), read_value(tidy_b, 0), left);
}

}  // namespace zaya::reasoning
