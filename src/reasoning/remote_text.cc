#include "reasoning/remote_text.h"

#include <algorithm>
#include <cmath>

#include "text/utf8.h"

namespace zaya::reasoning {

void RemoteText::take(const std::vector<text::ReasoningParser::Piece>& pieces, std::vector<Piece>& out) {
  for (const auto& piece : pieces) {
    if (!piece.reasoning && has_reasoning()) closed_ = true;
    (piece.reasoning ? reasoning_ : answer_) += piece.text;
    out.push_back({piece.reasoning, piece.text});
  }
}

std::vector<RemoteText::Piece> RemoteText::add(const ChatChunk& chunk) {
  std::vector<Piece> out;
  if (!chunk.reasoning.empty() || !chunk.content.empty()) ++chunks_;
  if (!chunk.reasoning.empty()) {
    channel_ = true;
    const std::string valid = text::replace_invalid_utf8(chunk.reasoning);
    reasoning_ += valid;
    out.push_back({true, valid});
  }
  if (!chunk.content.empty()) {
    const std::string valid = text::replace_invalid_utf8(chunk.content);
    if (channel_) {
      answer_ += valid;
      out.push_back({false, valid});
    } else {
      const bool inside = parser_.inside();
      take(parser_.push(valid), out);
      if (inside && !parser_.inside()) closed_ = true;
    }
  }
  return out;
}

std::vector<RemoteText::Piece> RemoteText::end() {
  std::vector<Piece> out;
  if (!channel_) take(parser_.finish(), out);
  constexpr std::string_view kClose = "</think>";
  const size_t close = answer_.find(kClose);
  if (!channel_ && reasoning_.empty() && close != std::string::npos) {
    reasoning_ = answer_.substr(0, close);
    answer_.erase(0, close + kClose.size());
    closed_ = true;
  }
  return out;
}

bool RemoteText::reached(const std::string& text, size_t& check, int64_t budget) const {
  if (tokenizer_ == nullptr) return static_cast<double>(text.size()) >= static_cast<double>(budget) * ratio_;
  // A token has at least one byte, so that many more bytes are needed before it is worth counting again.
  if (text.size() < std::max(check, static_cast<size_t>(budget))) return false;
  const int64_t count = static_cast<int64_t>(tokenizer_->encode(text, {.parse_special = false}).size());
  if (count >= budget) return true;
  check = text.size() + static_cast<size_t>(budget - count);
  return false;
}

Text RemoteText::side(const std::string& text, int64_t budget, int64_t completion_tokens) const {
  Text side{.text = text};
  if (tokenizer_ != nullptr) {
    side.tokens = tokenizer_->encode(text, {.parse_special = false});
    if (budget >= 0 && static_cast<int64_t>(side.tokens.size()) > budget) {
      side.tokens.resize(static_cast<size_t>(budget));
      side.text = tokenizer_->decode(side.tokens);
    }
    side.count = static_cast<int64_t>(side.tokens.size());
    return side;
  }
  // The server's own count, by each side's part of the characters, beats a ratio that others gave.
  const double ratio = completion_tokens > 0 && characters() > 0
                           ? static_cast<double>(characters()) / static_cast<double>(completion_tokens)
                           : ratio_;
  side.estimated = true;
  side.count = text.empty() ? 0 : std::max<int64_t>(1, std::llround(static_cast<double>(text.size()) / ratio));
  if (budget >= 0 && side.count > budget) side.count = budget;
  return side;
}

Text RemoteText::reasoning(int64_t budget, int64_t completion_tokens) const {
  return side(reasoning_, budget, completion_tokens);
}
Text RemoteText::answer(int64_t budget, int64_t completion_tokens) const {
  return side(answer_, budget, completion_tokens);
}

}  // namespace zaya::reasoning
