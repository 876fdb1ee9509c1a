#include "text/reasoning_parser.h"

#include <algorithm>
#include <utility>

namespace zaya::text {
namespace {

// The length of the longest end of `text` that is a beginning of `tag`, but not all of it.
size_t partial_tag(std::string_view text, std::string_view tag) {
  size_t length = std::min(text.size(), tag.empty() ? 0 : tag.size() - 1);
  while (length > 0 && !tag.starts_with(text.substr(text.size() - length))) --length;
  return length;
}

void emit(std::vector<ReasoningParser::Piece>& pieces, bool reasoning, std::string_view text) {
  if (text.empty()) return;
  if (!pieces.empty() && pieces.back().reasoning == reasoning) {
    pieces.back().text.append(text);
  } else {
    pieces.push_back({reasoning, std::string(text)});
  }
}

}  // namespace

ReasoningParser::ReasoningParser(std::string open_tag, std::string close_tag, bool starts_inside)
    : open_tag_(std::move(open_tag)),
      close_tag_(std::move(close_tag)),
      state_(starts_inside ? State::at_start_inside : State::outside) {}

std::vector<ReasoningParser::Piece> ReasoningParser::push(std::string_view chunk) {
  held_.append(chunk);
  std::vector<Piece> pieces;
  while (step(false, pieces)) {
  }
  return pieces;
}

std::vector<ReasoningParser::Piece> ReasoningParser::finish() {
  std::vector<Piece> pieces;
  while (step(true, pieces)) {
  }
  return pieces;
}

bool ReasoningParser::step(bool at_end, std::vector<Piece>& pieces) {
  const std::string_view held = held_;
  switch (state_) {
    case State::at_start_inside: {
      // ASCII white space will do: a tag is repeated after a line feed or a space, if after anything.
      const size_t text_start = std::min(held.find_first_not_of(" \t\r\n"), held.size());
      emit(pieces, true, held.substr(0, text_start));
      held_.erase(0, text_start);
      if (!at_end && open_tag_.size() > held_.size() && open_tag_.starts_with(held_)) return false;
      if (!open_tag_.empty() && held_.starts_with(open_tag_)) held_.erase(0, open_tag_.size());
      state_ = State::inside;
      return true;
    }
    case State::outside:
    case State::inside: {
      const bool reasoning = state_ == State::inside;
      const std::string& tag = reasoning ? close_tag_ : open_tag_;
      const size_t found = tag.empty() ? std::string::npos : held.find(tag);
      if (found != std::string::npos) {
        emit(pieces, reasoning, held.substr(0, found));
        held_.erase(0, found + tag.size());
        state_ = reasoning ? State::after : State::inside;
        return true;
      }
      const size_t keep = at_end ? 0 : partial_tag(held, tag);
      emit(pieces, reasoning, held.substr(0, held.size() - keep));
      held_.erase(0, held.size() - keep);
      return false;
    }
    case State::after:
      emit(pieces, false, held);
      held_.clear();
      return false;
  }
  return false;
}

}  // namespace zaya::text
