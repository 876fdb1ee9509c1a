// Reading answers and telling whether two are the same: \boxed{…}, <answer> tags, option letters, code; numbers,
// fractions, intervals, sets, tuples and simple expressions in LaTeX or plain notation. No error is possible: what is
// not understood is compared as text. Work is bounded for any input.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace zaya::reasoning {

// How an answer is looked for in what a model wrote.
enum class AnswerKind {
  automatic,  // boxed, then <answer>, then "the answer is …", then the last formula, then a short line whole
  boxed,      // the last \boxed{…} or \fbox{…}
  tag,        // the last <answer>…</answer>
  option,     // a letter A … J: boxed, tagged, announced, or the last one standing alone
  number,     // as automatic, else the last number of the text
  code,       // the last fenced block
  text,       // everything, white space at the ends aside
};
const char* name_of(AnswerKind kind);
Status parse_name(std::string_view name, AnswerKind& kind);

// At most the last 64 KB of `text` are looked at. Nothing when there is no answer.
std::optional<std::string> extract_answer(std::string_view text, AnswerKind kind = AnswerKind::automatic);

// Whether two answers say the same. Reflexive and symmetric. Numbers must agree to 1e-9 relative (exactly, where both
// are exact); expressions with variables must agree at several points; text up to case, white space and punctuation at
// its end; code up to white space at the ends of lines.
bool same_answer(std::string_view a, std::string_view b);

// Candidates that gave the same answer.
struct VoteClass {
  std::string answer;               // as its first candidate wrote it
  std::vector<int64_t> candidates;  // ascending
  int64_t finished = 0;             // of these, traces whose reasoning ended by itself
};

struct Vote {
  int64_t candidate = 0;
  std::string answer;
  bool finished = false;
};

// The classes, best first: most votes, then most finished traces, then the lowest candidate.
std::vector<VoteClass> count_votes(std::span<const Vote> votes);

// Whether the winner stays the same whatever `outstanding` further votes say.
bool vote_is_decided(std::span<const VoteClass> classes, int64_t outstanding);

}  // namespace zaya::reasoning
