#include "gym/answer_text.h"

#include <algorithm>
#include <array>

namespace zaya::gym {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// One integer without anything around it, thousands separated by commas or not.
std::optional<int64_t> plain_integer(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.empty() || !is_digit(text[0])) return std::nullopt;
  const bool separated = text.find(',') != std::string_view::npos;
  int64_t value = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool comma_place = separated && (text.size() - i) % 4 == 0 && i > 0;
    if (comma_place != (text[i] == ',')) return std::nullopt;
    if (comma_place) continue;
    if (!is_digit(text[i])) return std::nullopt;
    if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text[i] - '0', &value))
      return std::nullopt;
  }
  return negative ? -value : value;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

std::string_view tidied(std::string_view text) {
  for (size_t before = text.size() + 1; text.size() < before;) {
    before = text.size();
    text = trimmed(text);
    if (text.ends_with('.')) text.remove_suffix(1);
    if (text.size() >= 2 && text.front() == text.back() &&
        (text.front() == '"' || text.front() == '\'' || text.front() == '`' || text.front() == '$')) {
      text = text.substr(1, text.size() - 2);
    }
    if (text.starts_with("\\text{") && text.ends_with('}')) text = text.substr(6, text.size() - 7);
  }
  return text;
}

std::optional<int64_t> parse_integer(std::string_view text) { return plain_integer(tidied(text)); }

std::string_view right_hand_side(std::string_view text) {
  const size_t equals = text.rfind('=');
  return equals == std::string_view::npos ? text : text.substr(equals + 1);
}

std::vector<int64_t> integers_in(std::string_view text, bool signs, size_t limit) {
  std::vector<int64_t> found;
  for (size_t i = 0; i < text.size() && found.size() < limit;) {
    if (!is_digit(text[i])) {
      ++i;
      continue;
    }
    const bool negative = signs && i > 0 && text[i - 1] == '-' && (i < 2 || !is_digit(text[i - 2]));
    size_t end = i;
    while (end < text.size() && is_digit(text[end])) ++end;
    const int64_t value = plain_integer(text.substr(i, end - i)).value_or(INT64_MAX);
    found.push_back(negative ? -value : value);
    i = end;
  }
  return found;
}

bool same_integer(const Problem& problem, std::string_view answer) {
  const auto wanted = parse_integer(problem.answer);
  const auto given = parse_integer(right_hand_side(tidied(answer)));
  return wanted && given && *wanted == *given;
}

bool same_text(const Problem& problem, std::string_view answer) {
  const auto bare = [](std::string_view text) {
    std::string out = lower(tidied(text));
    std::erase_if(out, is_space);
    return out;
  };
  const std::string wanted = bare(problem.answer);
  return !wanted.empty() && bare(answer) == wanted;
}

}  // namespace zaya::gym
