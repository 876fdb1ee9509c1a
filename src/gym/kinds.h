// The environments by kind, one list per file, and what these files share. Inside the room only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gym/answer_text.h"
#include "gym/gym.h"
#include "gym/rng.h"

namespace zaya::gym {

// An environment without state: two functions and what there is to say about them.
class SimpleEnvironment final : public Environment {
 public:
  using Draw = Draft (*)(Rng&, int difficulty);
  using Verify = bool (*)(const Problem&, std::string_view final_answer);
  SimpleEnvironment(std::string_view name, std::string_view summary, std::string_view growth, int max_difficulty,
                    Draw drawer, Verify verifier)
      : name_(name),
        summary_(summary),
        growth_(growth),
        max_difficulty_(max_difficulty),
        draw_(drawer),
        verify_(verifier) {}
  std::string_view name() const override { return name_; }
  std::string_view summary() const override { return summary_; }
  std::string_view growth() const override { return growth_; }
  int max_useful_difficulty() const override { return max_difficulty_; }
  Draft draw(Rng& rng, int difficulty) const override { return draw_(rng, difficulty); }
  bool verify(const Problem& problem, std::string_view answer) const override { return verify_(problem, answer); }

 private:
  std::string_view name_, summary_, growth_;
  int max_difficulty_;
  Draw draw_;
  Verify verify_;
};

using Environments = std::vector<const Environment*>;
void add_arithmetic(Environments& list);   // addition, subtraction, multiplication, division
void add_expressions(Environments& list);  // chain_sum, expression, boolean_logic
void add_numbers(Environments& list);      // linear_equation, modular, gcd, prime_factors
void add_notation(Environments& list);     // base_conversion, number_sequence
void add_countdown(Environments& list);    // countdown
void add_strings(Environments& list);      // string_edit, letter_count, bracket_close
void add_lists(Environments& list);        // sorting, set_operations
void add_puzzles(Environments& list);      // knights_knaves, mini_sudoku
void add_graphs(Environments& list);       // shortest_path
void add_calendar(Environments& list);     // calendar
void add_programs(Environments& list);     // program_output

// Pieces of text in one string.
namespace detail {
inline void append(std::string& out, std::string_view piece) { out += piece; }
inline void append(std::string& out, char piece) { out += piece; }
inline void append(std::string& out, int piece) { out += std::to_string(piece); }
inline void append(std::string& out, int64_t piece) { out += std::to_string(piece); }
inline void append(std::string& out, size_t piece) { out += std::to_string(piece); }
}  // namespace detail
template <typename... Pieces>
std::string cat(const Pieces&... pieces) {
  std::string out;
  (detail::append(out, pieces), ...);
  return out;
}
template <typename List>
std::string join(const List& list, std::string_view separator) {
  std::string out;
  bool first = true;
  for (const auto& item : list) {
    if (!first) out += separator;
    first = false;
    detail::append(out, item);
  }
  return out;
}

// A trace: lines, without a newline at the end.
class Lines {
 public:
  template <typename... Pieces>
  void add(const Pieces&... pieces) {
    if (!text_.empty()) text_ += '\n';
    (detail::append(text_, pieces), ...);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace zaya::gym
