#include "text/detokenizer_chain.h"

#include <algorithm>
#include <optional>

#include "text/tokenizer_pipeline.h"
#include "text/utf8.h"

namespace zaya::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The byte that a token like "<0x0A>" stands for. Digits may be of either case, and "+" may stand for the first one:
// that is what the number parser behind `tokenizers` accepts.
std::optional<char> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  const int high = token[3] == '+' ? 0 : digit(token[3]);
  const int low = digit(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high << 4 | low);
}

// Strips whole characters off one token's ends.
std::string_view strip(std::string_view token, const DecoderStep& step) {
  for (uint64_t i = 0; i < step.strip_start && token.starts_with(step.content); ++i) {
    token.remove_prefix(step.content.size());
  }
  for (uint64_t i = 0; i < step.strip_stop && token.ends_with(step.content); ++i) {
    token.remove_suffix(step.content.size());
  }
  return token;
}

}  // namespace

DecoderChain::DecoderChain(std::vector<DecoderStep> steps) : steps_(std::move(steps)) {
  bool fused = false;
  for (DecoderStep& step : steps_) {
    step.fused = fused;
    fused |= step.kind == DecoderStep::Kind::fuse;
  }
}

void DecoderStream::push_from(size_t index, std::string_view token, std::string& out) {
  if (index == states_.size()) {
    out.append(token);
    return;
  }
  const DecoderStep& step = chain_->steps()[index];
  State& state = states_[index];
  switch (step.kind) {
    case DecoderStep::Kind::fuse: return push_from(index + 1, token, out);
    case DecoderStep::Kind::replace:
      if (step.fused) return push_fused_replace(index, token, false, out);
      if (token.find(step.pattern) == std::string_view::npos) return push_from(index + 1, token, out);
      return push_from(index + 1, replace_all(token, step.pattern, step.content), out);
    case DecoderStep::Kind::byte_fallback:
      if (const auto byte = byte_of_token(token)) return state.held.push_back(*byte);
      flush_bytes(index, out);
      return push_from(index + 1, token, out);
    case DecoderStep::Kind::strip:
      if (step.fused) return push_fused_strip(index, token, false, out);
      return push_from(index + 1, strip(token, step), out);
    case DecoderStep::Kind::metaspace: {
      const bool first = !state.started || step.fused;  // fused tokens are all parts of the first
      state.started = true;
      if (token.find(step.pattern) == std::string_view::npos) return push_from(index + 1, token, out);
      return push_from(index + 1, replace_all(token, step.pattern, first && step.drop_in_first ? "" : " "), out);
    }
    case DecoderStep::Kind::join:
      if (state.started) push_from(index + 1, " ", out);
      state.started = true;
      return push_from(index + 1, token, out);
  }
}

void DecoderStream::finish(std::string& out) {
  for (size_t index = 0; index < states_.size(); ++index) {
    const DecoderStep& step = chain_->steps()[index];
    if (step.kind == DecoderStep::Kind::byte_fallback) flush_bytes(index, out);
    if (step.kind == DecoderStep::Kind::replace && step.fused) push_fused_replace(index, {}, true, out);
    if (step.kind == DecoderStep::Kind::strip && step.fused) push_fused_strip(index, {}, true, out);
    states_[index] = State();
  }
}

// A run of byte tokens is text only as a whole: one ill-formed byte makes each token of the run a U+FFFD.
void DecoderStream::flush_bytes(size_t index, std::string& out) {
  if (states_[index].held.empty()) return;
  std::string bytes;
  bytes.swap(states_[index].held);
  if (is_valid_utf8(bytes)) return push_from(index + 1, bytes, out);
  for (size_t i = 0; i < bytes.size(); ++i) push_from(index + 1, kReplacement, out);
}

void DecoderStream::push_fused_replace(size_t index, std::string_view token, bool at_end, std::string& out) {
  const DecoderStep& step = chain_->steps()[index];
  const std::string_view pattern = step.pattern;
  std::string text;
  text.swap(states_[index].held);
  text.append(token);
  std::string settled;
  size_t done = 0;
  for (size_t found = text.find(pattern); found != std::string::npos; found = text.find(pattern, done)) {
    settled.append(text, done, found - done).append(step.content);
    done = found + pattern.size();
  }
  // Hold the longest tail that the next token may complete to a match.
  size_t hold = at_end ? 0 : std::min(pattern.size() - 1, text.size() - done);
  while (hold > 0 && !pattern.starts_with(std::string_view(text).substr(text.size() - hold))) --hold;
  settled.append(text, done, text.size() - done - hold);
  states_[index].held = text.substr(text.size() - hold);
  if (!settled.empty()) push_from(index + 1, settled, out);
}

void DecoderStream::push_fused_strip(size_t index, std::string_view token, bool at_end, std::string& out) {
  const DecoderStep& step = chain_->steps()[index];
  State& state = states_[index];
  while (!state.started && !token.empty()) {
    if (state.stripped < step.strip_start && token.starts_with(step.content)) {
      token.remove_prefix(step.content.size());
      ++state.stripped;
    } else {
      state.started = true;
    }
  }
  // Hold the tail of strippable characters, at most as many as may go.
  std::string text;
  text.swap(state.held);
  text.append(token);
  size_t tail = 0;
  for (uint64_t i = 0;
       i < step.strip_stop && std::string_view(text).substr(0, text.size() - tail).ends_with(step.content); ++i) {
    tail += step.content.size();
  }
  if (!at_end) state.held = text.substr(text.size() - tail);
  text.resize(text.size() - tail);
  if (!text.empty()) push_from(index + 1, text, out);
}

}  // namespace zaya::text
