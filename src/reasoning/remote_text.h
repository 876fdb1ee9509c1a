// What one request to a server has brought so far: texts of both sides, counted in tokens or estimated, held to
// budgets.
#pragma once

#include <cstdint>
#include <string>

#include "reasoning/generator.h"
#include "reasoning/http.h"
#include "text/reasoning_parser.h"
#include "text/tokenizer.h"

namespace zaya::reasoning {

class RemoteText {
 public:
  // `tokenizer` may be null; then `characters_per_token` counts.
  RemoteText(const text::Tokenizer* tokenizer, double characters_per_token)
      : tokenizer_(tokenizer), ratio_(characters_per_token), parser_("<think>", "</think>", false) {}

  struct Piece {
    bool reasoning;
    std::string text;
  };
  // Pieces to show. A server's own reasoning channel and think tags in its content are both understood.
  std::vector<Piece> add(const ChatChunk& chunk);
  // No more comes. Content that holds a closing tag only began inside the reasoning: it is parted there.
  std::vector<Piece> end();

  // Whether a side has reached so many tokens. Cheap enough to be asked after every chunk.
  bool reasoning_reached(int64_t budget) { return reached(reasoning_, reasoning_check_, budget); }
  bool answer_reached(int64_t budget) { return reached(answer_, answer_check_, budget); }

  bool has_reasoning() const { return !reasoning_.empty(); }
  bool has_answer() const { return answer_.find_first_not_of(" \t\r\n") != std::string::npos; }
  bool closed() const { return closed_ || (has_reasoning() && has_answer()); }

  int64_t chunks() const { return chunks_; }  // a lower bound of the tokens on most servers
  size_t characters() const { return reasoning_.size() + answer_.size(); }

  // The sides, cut to their budgets (−1 = none). `completion_tokens`: what the server counted, −1 = nothing.
  Text reasoning(int64_t budget, int64_t completion_tokens) const;
  Text answer(int64_t budget, int64_t completion_tokens) const;

 private:
  bool reached(const std::string& text, size_t& check, int64_t budget) const;
  Text side(const std::string& text, int64_t budget, int64_t completion_tokens) const;
  void take(const std::vector<text::ReasoningParser::Piece>& pieces, std::vector<Piece>& out);

  const text::Tokenizer* tokenizer_;
  double ratio_;
  text::ReasoningParser parser_;
  std::string reasoning_, answer_;
  size_t reasoning_check_ = 0, answer_check_ = 0;  // lengths at which counting is worth the while
  int64_t chunks_ = 0;
  bool channel_ = false;  // the server parts reasoning from content
  bool closed_ = false;
};

}  // namespace zaya::reasoning
