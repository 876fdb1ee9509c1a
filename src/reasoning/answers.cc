#include "reasoning/answers.h"

#include <algorithm>
#include <cctype>

namespace zaya::reasoning {
namespace {

constexpr size_t kLookedAt = size_t{64} << 10;
constexpr size_t kShortLine = 200;

std::string_view trimmed(std::string_view text) {
  const size_t from = text.find_first_not_of(" \t\r\n");
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t\r\n") - from + 1);
}

std::optional<std::string> given(std::string_view text) {
  text = trimmed(text);
  if (text.empty()) return std::nullopt;
  return std::string(text);
}

// What stands between the brace at `open` and its partner; nothing when there is none.
std::optional<std::string_view> braced(std::string_view text, size_t open) {
  int depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '{') {
      ++depth;
    } else if (text[i] == '}' && --depth == 0) {
      return text.substr(open + 1, i - open - 1);
    }
  }
  return std::nullopt;
}

std::optional<std::string> boxed(std::string_view text) {
  for (size_t end = text.size(); end > 0;) {
    const size_t box = text.rfind("\\boxed", end - 1), frame = text.rfind("\\fbox", end - 1);
    size_t at = box;
    if (box == std::string_view::npos || (frame != std::string_view::npos && frame > box)) at = frame;
    if (at == std::string_view::npos) return std::nullopt;
    size_t open = at + (at == box ? 6 : 5);
    while (open < text.size() && text[open] == ' ') ++open;
    if (open < text.size() && text[open] == '{') {
      if (const auto inner = braced(text, open)) {
        if (auto answer = given(*inner)) return answer;
      }
    } else if (open < text.size()) {  // \boxed 5
      const size_t stop = std::min(text.find_first_of(" $\n.,\\", open), text.size());
      if (auto answer = given(text.substr(open, stop - open))) return answer;
    }
    end = at;
  }
  return std::nullopt;
}

std::optional<std::string> tagged(std::string_view text) {
  const size_t close = text.rfind("</answer>");
  const size_t open = text.rfind("<answer>", close);
  if (open == std::string_view::npos) return std::nullopt;
  const size_t from = open + 8;
  return given(text.substr(from, close == std::string_view::npos || close < from ? close : close - from));
}

// "The answer is 42." The value ends with its sentence or line.
std::optional<std::string> announced(std::string_view text) {
  std::string folded(text);
  for (char& c : folded) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  size_t best = std::string::npos, from = 0;
  for (const char* phrase : {"answer is", "answer:", "answer is:", "answer**:", "answer:**"}) {
    const size_t at = folded.rfind(phrase);
    if (at == std::string::npos) continue;
    const size_t end = at + std::string_view(phrase).size();
    if (best == std::string::npos || end > from) best = at, from = end;
  }
  if (best == std::string::npos) return std::nullopt;
  std::string_view rest = text.substr(from);
  rest = rest.substr(std::min(rest.find_first_not_of(" :*\t\n"), rest.size()));
  size_t end = std::min(rest.find('\n'), rest.size());
  for (size_t i = 0; i + 1 < end; ++i) {
    if (rest[i] == '.' && rest[i + 1] == ' ') end = i;
  }
  rest = trimmed(rest.substr(0, end));
  while (!rest.empty() && (rest.back() == '.' || rest.back() == '*')) rest.remove_suffix(1);
  return given(rest);
}

// The last formula, between dollar signs or LaTeX brackets.
std::optional<std::string> last_formula(std::string_view text) {
  const size_t close = text.rfind('$');
  if (close != std::string_view::npos && close > 0) {
    const size_t end = text[close - 1] == '$' ? close - 1 : close;
    const size_t open = end == 0 ? std::string_view::npos : text.rfind('$', end - 1);
    if (open != std::string_view::npos) return given(text.substr(open + 1, end - open - 1));
  }
  for (const auto& [left, right] : {std::pair("\\(", "\\)"), {"\\[", "\\]"}}) {
    const size_t end = text.rfind(right), open = text.rfind(left, end);
    if (end != std::string_view::npos && open != std::string_view::npos && open + 2 <= end) {
      return given(text.substr(open + 2, end - open - 2));
    }
  }
  return std::nullopt;
}

std::optional<std::string> last_number(std::string_view text) {
  size_t end = text.find_last_of("0123456789");
  if (end == std::string_view::npos) return std::nullopt;
  size_t from = end;
  const auto digit = [&](size_t i) { return std::isdigit(static_cast<unsigned char>(text[i])) != 0; };
  while (from > 0 && (digit(from - 1) || ((text[from - 1] == '.' || text[from - 1] == ',' || text[from - 1] == '/') &&
                                          from > 1 && digit(from - 2)))) {
    --from;
  }
  if (from > 0 && text[from - 1] == '-' && (from == 1 || !std::isalnum(static_cast<unsigned char>(text[from - 2]))))
    --from;
  return given(text.substr(from, end - from + 1));
}

std::optional<std::string> option_in(std::string_view text) {
  text = trimmed(text);
  std::optional<std::string> letter;
  const auto plain = [&](size_t i) {
    return i >= text.size() ||
           !(std::isalnum(static_cast<unsigned char>(text[i])) || static_cast<unsigned char>(text[i]) >= 0x80);
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] < 'A' || text[i] > 'J' || !plain(i + 1) || (i > 0 && !plain(i - 1))) continue;
    // "A" and "I" are words too, unless something marks them: brackets, a colon, the end.
    const bool word = (text[i] == 'A' || text[i] == 'I') && i + 1 < text.size() && text[i + 1] == ' ';
    if (!word) letter = std::string(1, text[i]);
  }
  return letter;
}

std::optional<std::string> option(std::string_view text) {
  for (const auto& part : {boxed(text), tagged(text), announced(text)}) {
    if (!part.has_value()) continue;
    if (auto letter = option_in(*part)) return letter;
  }
  return option_in(text);
}

std::optional<std::string> code(std::string_view text) {
  const size_t close = text.rfind("```");
  if (close == std::string_view::npos || close == 0) return std::nullopt;
  const size_t open = text.rfind("```", close - 1);
  if (open == std::string_view::npos) return std::nullopt;
  const size_t line = text.find('\n', open);  // behind the language's name
  if (line == std::string_view::npos || line >= close) return std::nullopt;
  return given(text.substr(line + 1, close - line - 1));
}

std::optional<std::string> marked(std::string_view text) {
  if (auto answer = boxed(text)) return answer;
  if (auto answer = tagged(text)) return answer;
  return announced(text);
}

struct NamedKind {
  AnswerKind kind;
  const char* name;
};
constexpr NamedKind kKinds[] = {{AnswerKind::automatic, "auto"}, {AnswerKind::boxed, "boxed"},
                                {AnswerKind::tag, "tag"},        {AnswerKind::option, "option"},
                                {AnswerKind::number, "number"},  {AnswerKind::code, "code"},
                                {AnswerKind::text, "text"}};

}  // namespace

const char* name_of(AnswerKind kind) {
  for (const NamedKind& named : kKinds) {
    if (named.kind == kind) return named.name;
  }
  return "unknown";
}

Status parse_name(std::string_view name, AnswerKind& kind) {
  for (const NamedKind& named : kKinds) {
    if (named.name == name) return kind = named.kind, Status();
  }
  return Status(Code::invalid_argument, "there is no kind of answer named \"" + std::string(name) + "\"",
                "use one of auto, boxed, tag, option, number, code, text");
}

std::optional<std::string> extract_answer(std::string_view text, AnswerKind kind) {
  if (text.size() > kLookedAt) text.remove_prefix(text.size() - kLookedAt);
  switch (kind) {
    case AnswerKind::boxed: return boxed(text);
    case AnswerKind::tag: return tagged(text);
    case AnswerKind::option: return option(text);
    case AnswerKind::code: return code(text);
    case AnswerKind::text: return given(text);
    case AnswerKind::number:
      if (auto answer = marked(text)) return answer;
      return last_number(text);
    case AnswerKind::automatic: break;
  }
  if (auto answer = marked(text)) return answer;
  if (auto formula = last_formula(text)) return formula;
  const std::string_view whole = trimmed(text);
  if (whole.size() <= kShortLine && whole.find('\n') == std::string_view::npos) return given(whole);
  return std::nullopt;
}

std::vector<VoteClass> count_votes(std::span<const Vote> votes) {
  std::vector<VoteClass> classes;
  for (const Vote& vote : votes) {
    auto found = std::find_if(classes.begin(), classes.end(),
                              [&](const VoteClass& c) { return same_answer(c.answer, vote.answer); });
    if (found == classes.end()) {
      classes.push_back({.answer = vote.answer});
      found = classes.end() - 1;
    }
    found->candidates.push_back(vote.candidate);
    found->finished += vote.finished;
  }
  for (VoteClass& c : classes) std::sort(c.candidates.begin(), c.candidates.end());
  std::sort(classes.begin(), classes.end(), [](const VoteClass& a, const VoteClass& b) {
    if (a.candidates.size() != b.candidates.size()) return a.candidates.size() > b.candidates.size();
    if (a.finished != b.finished) return a.finished > b.finished;
    return a.candidates.front() < b.candidates.front();
  });
  return classes;
}

bool vote_is_decided(std::span<const VoteClass> classes, int64_t outstanding) {
  if (classes.empty()) return false;
  const int64_t first = static_cast<int64_t>(classes[0].candidates.size());
  const int64_t second = classes.size() > 1 ? static_cast<int64_t>(classes[1].candidates.size()) : 0;
  return first > second + outstanding;
}

}  // namespace zaya::reasoning
