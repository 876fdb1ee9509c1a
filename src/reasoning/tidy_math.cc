// One spelling for notations that mean the same.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "reasoning/expression.h"

namespace zaya::reasoning {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// A replaced command must end there: \left is not the beginning of \leftarrow.
constexpr std::pair<std::string_view, std::string_view> kReplacements[] = {
    {"\\dfrac", "\\frac"},
    {"\\tfrac", "\\frac"},
    {"\\cfrac", "\\frac"},
    {"\\dbinom", "\\binom"},
    {"\\displaystyle", " "},
    {"\\left", ""},
    {"\\right", ""},
    {"\\bigl", ""},
    {"\\bigr", ""},
    {"\\Big", ""},
    {"\\big", ""},
    {"\\limits", ""},
    {"\\quad", " "},
    {"\\qquad", " "},
    {"\\,", " "},
    {"\\;", " "},
    {"\\:", " "},
    {"\\!", ""},
    {"\\ ", " "},
    {"\\$", ""},
    {"$", ""},
    {"\\%", ""},
    {"%", ""},
    {"\\(", " "},
    {"\\)", " "},
    {"\\[", " "},
    {"\\]", " "},
    {"~", " "},
    {"\\cdot", "*"},
    {"\\times", "*"},
    {"\\ast", "*"},
    {"\\div", "/"},
    {"**", "^"},
    {"\\lbrace", "\\{"},
    {"\\rbrace", "\\}"},
    {"\\lvert", "|"},
    {"\\rvert", "|"},
    {"\\vert", "|"},
    {"\\leq", "<="},
    {"\\leqslant", "<="},
    {"\\le", "<="},
    {"\\geq", ">="},
    {"\\geqslant", ">="},
    {"\\ge", ">="},
    {"\\lt", "<"},
    {"\\gt", ">"},
    {"\\ne", "\\neq"},
    {"\\to", "\\rightarrow"},
    {"^{\\circ}", ""},
    {"^\\circ", ""},
    {"\\circ", ""},
    {"\\degree", ""},
    {"\\emptyset", "\\{\\}"},
    {"\\varnothing", "\\{\\}"},
    {"{,}", ""},
    {"\\lparen", "("},
    {"\\rparen", ")"},
    {"\xE2\x88\x92", "-"},         // −
    {"\xE2\x80\x93", "-"},         // –
    {"\xC3\x97", "*"},             // ×
    {"\xC2\xB7", "*"},             // ·
    {"\xC3\xB7", "/"},             // ÷
    {"\xCF\x80", "\\pi "},         // π
    {"\xE2\x88\x9E", "\\infty "},  // ∞
    {"\xE2\x88\xAA", "\\cup "},    // ∪
    {"\xE2\x89\xA4", "<="},        // ≤
    {"\xE2\x89\xA5", ">="},        // ≥
    {"\xE2\x88\x9A", "\\sqrt "},   // √
    {"\xC2\xB1", "\\pm "},         // ±
    {"\xC2\xB2", "^2"},            // ²
    {"\xC2\xB3", "^3"},            // ³
    {"\xC2\xB0", ""},              // °
    {"\xE2\x82\xAC", ""},          // €
    {"\xC2\xA3", ""},              // £
};

std::string replaced(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    size_t best = 0;
    std::string_view by;
    for (const auto& [from, to] : kReplacements) {
      if (from.size() <= best || text.substr(i, from.size()) != from) continue;
      const size_t end = i + from.size();
      if (from[0] == '\\' && is_letter(from.back()) && end < text.size() && is_letter(text[end])) continue;
      best = from.size();
      by = to;
    }
    if (best == 0 && text[i] == '\\' && i + 1 < text.size()) {  // \{ and the like stay together
      out += text[i++];
      out += text[i++];
    } else if (best == 0) {
      out += text[i++];
    } else {
      out += by;
      i += best;
    }
  }
  return out;
}

// Takes \text{…} and its relatives away, or keeps what they hold where nothing else is left.
std::string without_text(const std::string& text) {
  static constexpr std::string_view kCommands[] = {"\\text",   "\\mathrm",       "\\textbf", "\\mathbf", "\\mbox",
                                                   "\\textit", "\\operatorname", "\\mathit", "\\rm",     "\\bf"};
  std::string outside, inside;
  for (size_t i = 0; i < text.size();) {
    bool found = false;
    for (std::string_view command : kCommands) {
      if (text.compare(i, command.size(), command) != 0) continue;
      size_t open = i + command.size();
      while (open < text.size() && text[open] == ' ') ++open;
      if (open >= text.size() || text[open] != '{') continue;
      int depth = 0;
      size_t close = open;
      for (; close < text.size(); ++close) {
        if (text[close] == '{') ++depth;
        if (text[close] == '}' && --depth == 0) break;
      }
      if (close >= text.size()) continue;
      const std::string content = text.substr(open + 1, close - open - 1);
      inside += content;
      // What joins or names stays; what follows a value is a unit.
      if (content.find("and") != std::string::npos || content.find("or") != std::string::npos || outside.empty()) {
        outside += content;
      } else {
        outside += ' ';
      }
      i = close + 1;
      found = true;
      break;
    }
    if (!found) outside += text[i++];
  }
  return outside.find_first_not_of(" .") == std::string::npos ? inside : outside;
}

// "1,234,567" but not "1, 2" or "(1,234)".
std::string without_thousands(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool separates = text[i] == ',' && i > 0 && is_digit(text[i - 1]) && i + 3 < text.size() + 0 &&
                           is_digit(text[i + 1]) && is_digit(text[i + 2]) && is_digit(text[i + 3]) &&
                           (i + 4 >= text.size() || !is_digit(text[i + 4]));
    if (!separates) out += text[i];
  }
  return out;
}

}  // namespace

std::string tidy_math(std::string_view text) {
  std::string tidy = without_text(replaced(text));
  if (tidy.find_first_of("()[]{}") == std::string::npos) tidy = without_thousands(tidy);
  std::string out;
  for (char c : tidy) {
    if (c == '\n' || c == '\t' || c == '\r') c = ' ';
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
  }
  while (!out.empty() && (out.back() == ' ' || out.back() == '.' || out.back() == ';' || out.back() == ',' ||
                          (out.back() == '\\' && out.size() > 1))) {
    out.pop_back();
  }
  return out;
}

}  // namespace zaya::reasoning
