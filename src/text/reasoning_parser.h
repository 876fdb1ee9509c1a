// Splits a model's streamed text into its reasoning (between the think tags) and its answer.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace zaya::text {

// An answer has at most one block of reasoning: it starts at the first opening tag (or at once, when the prompt ended
// with it) and ends at the first closing tag. After that everything is answer, tags included, so that an answer that
// speaks about the tags does not vanish. A model that repeats the opening tag although the prompt held it is forgiven:
// an opening tag that comes first of all, but for white space, is dropped.
//
// Tags are removed and all other bytes kept, white space too. A tag may be spread over any number of pushes; no byte
// is held back longer than needed to tell that it is no tag. An empty tag never matches.
class ReasoningParser {
 public:
  ReasoningParser(std::string open_tag, std::string close_tag, bool starts_inside);

  struct Piece {
    bool reasoning;    // else answer
    std::string text;  // never empty
  };
  // Pieces in order; neighbours differ in `reasoning`.
  std::vector<Piece> push(std::string_view chunk);
  // What was held back as a possible beginning of a tag. Nothing may be pushed after it.
  std::vector<Piece> finish();
  // Whether the text now being generated is reasoning.
  bool inside() const { return state_ == State::at_start_inside || state_ == State::inside; }

 private:
  enum class State {
    outside,          // looking for the opening tag
    at_start_inside,  // only white space so far; an opening tag here is a repeated one
    inside,           // looking for the closing tag
    after,            // the answer, to the end
  };

  // Consumes from held_ what is settled; returns false when more text is needed.
  bool step(bool at_end, std::vector<Piece>& pieces);

  std::string open_tag_;
  std::string close_tag_;
  std::string held_;
  State state_;
};

}  // namespace zaya::text
