#include "engine/generation.h"

#include <algorithm>

namespace zaya::engine {
namespace {

// The ids of tokens whose text comes out although they are special: the think tags, which the parser needs to see, and
// what the request names.
std::vector<text::TokenId> visible_ids(const text::Tokenizer& tokenizer, const Request& request) {
  std::vector<std::string> texts = request.visible_tokens;
  texts.push_back(request.thinking.open_tag);
  texts.push_back(request.thinking.close_tag);
  std::vector<text::TokenId> ids;
  for (const std::string& text : texts) {
    if (const auto id = tokenizer.id_of(text)) ids.push_back(*id);
  }
  return ids;
}

text::ReasoningParser parser_for(const Thinking& thinking) {
  if (!thinking.separate) return text::ReasoningParser("", "", false);
  return text::ReasoningParser(thinking.open_tag, thinking.close_tag, thinking.starts_inside);
}

}  // namespace

const char* finish_name(Finish finish) {
  switch (finish) {
    case Finish::none: return "none";
    case Finish::stop: return "stop";
    case Finish::length: return "length";
    case Finish::cancelled: return "cancelled";
    case Finish::failed: return "failed";
  }
  return "unknown";
}

Generation::Generation(Request request, const text::Tokenizer& tokenizer, int64_t vocabulary, int64_t context_left,
                       EventSink sink)
    : request_(std::move(request)),
      sink_(std::move(sink)),
      limit_(request_.max_tokens < 0 ? context_left : std::min(request_.max_tokens, context_left)),
      sampler_(request_.sampling, vocabulary),
      detokenizer_(tokenizer, true, visible_ids(tokenizer, request_)),
      parser_(parser_for(request_.thinking)),
      stops_(request_.stop_strings),
      tokenizer_(tokenizer) {
  outcome_.prompt_tokens = static_cast<int64_t>(request_.prompt.size());
  sampler_.add_prompt(request_.prompt);
  if (limit_ <= 0) {
    outcome_.finish = Finish::length;
    sink_ = nullptr;
  }
}

void Generation::queue_forced_close() {
  // The model closes its reasoning on a line of its own and leaves a blank line before the answer.
  const bool at_line_start = outcome_.reasoning.empty() || outcome_.reasoning.ends_with('\n');
  const std::string close = (at_line_start ? "" : "\n") + request_.thinking.close_tag + "\n\n";
  for (text::TokenId token : tokenizer_.encode(close)) forced_.push_back(token);
  outcome_.budget_spent = true;
}

text::TokenId Generation::next(std::span<const float> logits) {
  const bool inside = parser_.inside();
  if (inside && !outcome_.budget_spent && request_.thinking.budget >= 0 &&
      outcome_.reasoning_tokens >= request_.thinking.budget) {
    queue_forced_close();
  }

  Event event;
  if (!forced_.empty()) {
    event.sampled = sampler_.forced(logits, forced_.front());
    event.forced = true;
    forced_.pop_front();
  } else {
    Result<Sampled> sampled = sampler_.sample(logits);
    if (!sampled.ok()) {
      end(Finish::failed, sampled.status());
      return 0;
    }
    event.sampled = std::move(sampled).value();
  }
  const text::TokenId token = event.sampled.token;
  sampler_.add_output(token);
  outcome_.tokens.push_back(token);

  const auto& stops = request_.stop_tokens;
  if (!event.forced && std::find(stops.begin(), stops.end(), token) != stops.end()) {
    outcome_.finish = Finish::stop;
    finish_text(event);
  } else {
    if (inside) ++outcome_.reasoning_tokens;
    append(event, parser_.push(detokenizer_.push(token)));
    if (!stops_.matched() && static_cast<int64_t>(outcome_.tokens.size()) >= limit_) {
      outcome_.finish = Finish::length;
      finish_text(event);
    }
    if (stops_.matched()) {
      outcome_.finish = Finish::stop;
      outcome_.stop_string = stops_.match();
    }
  }
  if (sink_) sink_(event);
  if (done()) sink_ = nullptr;
  return token;
}

void Generation::end(Finish finish, Status failure) {
  if (done()) return;
  outcome_.finish = finish;
  outcome_.failure = std::move(failure);
  Event event;
  event.sampled.token = -1;
  finish_text(event);
  if (sink_ && !event.pieces.empty()) sink_(event);
  sink_ = nullptr;
}

void Generation::append(Event& event, const std::vector<text::ReasoningParser::Piece>& pieces) {
  for (const auto& piece : pieces) {
    const bool reasoned = request_.thinking.starts_inside || !outcome_.reasoning.empty();
    std::string_view text = piece.text;
    if (!piece.reasoning && reasoned && !answering_) {
      text.remove_prefix(std::min(text.find_first_not_of("\r\n"), text.size()));
      if (text.empty()) continue;
    }
    if (!piece.reasoning) answering_ = true;
    std::string settled = piece.reasoning ? std::string(text) : stops_.push(text);
    if (settled.empty()) continue;
    (piece.reasoning ? outcome_.reasoning : outcome_.answer) += settled;
    event.pieces.push_back({piece.reasoning, std::move(settled)});
  }
}

// Releases what the detokenizer, the parser and the stop matcher held back, in that order.
void Generation::finish_text(Event& event) {
  append(event, parser_.push(detokenizer_.finish()));
  append(event, parser_.finish());
  if (std::string rest = stops_.finish(); !rest.empty()) {
    outcome_.answer += rest;
    event.pieces.push_back({false, std::move(rest)});
  }
}

}  // namespace zaya::engine
