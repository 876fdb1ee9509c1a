// One answer in the making: from logits to tokens, from tokens to reasoning and answer text, and when to stop. It knows
// nothing of the model; the engine feeds it logits.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/sampler.h"
#include "engine/stop_matcher.h"
#include "text/detokenizer.h"
#include "text/reasoning_parser.h"
#include "text/tokenizer.h"

namespace zaya::engine {

struct Thinking {
  std::string open_tag = "<think>";
  std::string close_tag = "</think>";
  bool starts_inside = false;  // the prompt ended with the open tag
  // Reasoning tokens allowed; at the limit the close tag is forced on the model and it must answer. -1 = no limit.
  int64_t budget = -1;
  // false: the text is passed on as it stands, tags included, and all of it is answer.
  bool separate = true;
};

struct Request {
  std::vector<text::TokenId> prompt;  // at least one token
  SamplingParams sampling;
  int64_t max_tokens = -1;                 // new tokens, reasoning included; -1 = until the context is full
  std::vector<text::TokenId> stop_tokens;  // end the answer, and are not part of its text
  std::vector<std::string> stop_strings;   // looked for in the answer, not in the reasoning
  Thinking thinking;
  // Special tokens whose text belongs to the answer, such as the tags of tool calls; others leave no text.
  std::vector<std::string> visible_tokens;
  std::stop_token cancel;  // asked before each step
};

enum class Finish { none, stop, length, cancelled, failed };

const char* finish_name(Finish finish);

// What one new token brought. When an answer is ended from outside, a last event with token −1 may bring text that was
// held back.
struct Event {
  Sampled sampled;
  bool forced = false;                               // part of a forced close, not the model's choice
  std::vector<text::ReasoningParser::Piece> pieces;  // text that is settled now; may be empty
};
using EventSink = std::function<void(const Event&)>;

struct Outcome {
  Finish finish = Finish::none;
  Status failure;                     // when finish is failed
  std::string stop_string;            // the one that ended it, if one did
  std::vector<text::TokenId> tokens;  // all new tokens, the stop token included
  std::string reasoning;
  std::string answer;  // behind reasoning: without the line breaks that part the two
  int64_t prompt_tokens = 0;
  int64_t cached_prompt_tokens = 0;  // of these, taken from the prefix cache
  int64_t reasoning_tokens = 0;
  bool budget_spent = false;   // the close of the reasoning was forced
  double queue_seconds = 0;    // from submission to a place in the batch
  double prefill_seconds = 0;  // from then to the first token
  double decode_seconds = 0;   // from the first token to the last
};

class Generation {
 public:
  // The tokenizer's tables are shared, not referenced. `vocabulary`: ids that tokenizer and model both have.
  // `context_left` bounds max_tokens: the room behind the prompt.
  Generation(Request request, const text::Tokenizer& tokenizer, int64_t vocabulary, int64_t context_left,
             EventSink sink);

  const Request& request() const { return request_; }
  bool done() const { return outcome_.finish != Finish::none; }
  const Outcome& outcome() const { return outcome_; }
  Outcome& outcome() { return outcome_; }

  // Chooses the next token from the logits behind the last one and returns it; the engine feeds it to the model unless
  // done() is true afterwards.
  text::TokenId next(std::span<const float> logits);

  // From any thread: asks the engine to end this before its next step. Request::cancel does the same.
  void request_cancel() { cancel_requested_.store(true, std::memory_order_relaxed); }
  bool cancel_requested() const {
    return cancel_requested_.load(std::memory_order_relaxed) || request_.cancel.stop_requested();
  }

  // Ends the answer from outside: cancelled, or failed with a reason.
  void end(Finish finish, Status failure = Status());

 private:
  void queue_forced_close();
  void append(Event& event, const std::vector<text::ReasoningParser::Piece>& pieces);
  void finish_text(Event& event);

  Request request_;
  EventSink sink_;  // gone when done: what it holds may in turn hold this
  int64_t limit_;
  Sampler sampler_;
  text::Detokenizer detokenizer_;
  text::ReasoningParser parser_;
  StopMatcher stops_;
  const text::Tokenizer tokenizer_;
  std::deque<text::TokenId> forced_;  // tokens of a forced close still to come
  bool answering_ = false;            // the answer's first character is out
  std::atomic<bool> cancel_requested_{false};
  Outcome outcome_;
};

}  // namespace zaya::engine
