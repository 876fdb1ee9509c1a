// Where tokens come from: many generations at once, as a stream of events. A run knows only this interface; behind it
// stands the engine in this process (local_generator.h) or a list of servers (remote_generator.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "reasoning/settings.h"
#include "text/tokenizer.h"

namespace zaya::reasoning {

// A part of a prompt: text of ours, or a tail, which is spliced in as the tokens it was cut from where the generator
// has tokens. A tail is data: nothing in it may pass for the end of a turn.
struct Segment {
  std::string text;
  bool is_tail = false;
  std::vector<text::TokenId> tokens;  // of a tail; empty when only text is known
};

struct Prompt {
  std::vector<Segment> user;          // the user's message
  std::vector<Segment> continuation;  // what already stands in the assistant's reasoning (carry = resume)

  // The user's message as one text.
  std::string text() const;
};

// What a run asks for. `id` is the run's name for it.
struct Job {
  int64_t id = 0;
  Prompt prompt;
  Sampling sampling;
  uint64_t seed = 0;
  int64_t thinking_budget = 0;  // reasoning tokens, held exactly
  int64_t answer_budget = 0;    // answer tokens, held exactly; 0 = stop when the reasoning closes
  Close close = Close::force;   // at the thinking budget
  int64_t max_new_tokens = -1;  // of all kinds, a forced close included; −1 = what the budgets allow
  // A question that asks for the answer to reasoning that was cut, for generators that cannot close it themselves.
  std::function<Prompt(const Segment& reasoning)> closing;
};

enum class End {
  stop,       // by itself
  length,     // a budget was reached; also the close of the reasoning where no answer was asked for
  cancelled,  // from outside; what there is counts as tokens, but not as an answer
  failed,
};
const char* name_of(End end);

// One side of a trace. Generators without a tokenizer leave `tokens` empty and state the count.
struct Text {
  std::string text;
  std::vector<text::TokenId> tokens;
  int64_t count = 0;       // tokens; an estimate where `estimated`
  bool estimated = false;  // the count comes from a ratio of characters to tokens
};

// What a generation brought.
struct Trace {
  Text reasoning, answer;
  bool closed = false;  // the reasoning ended by itself
  End end = End::stop;
  std::string failure;  // when end is failed
  int64_t prompt_tokens = 0, cached_prompt_tokens = 0;
  int64_t new_tokens = 0;     // reasoning, tags and answer; of the attempt that succeeded
  int64_t wasted_tokens = 0;  // generated and thrown away: failed attempts, a step behind a budget
  int64_t attempts = 1;
  std::string endpoint;  // of a remote generator
  double queue_seconds = 0, prefill_seconds = 0, decode_seconds = 0;
};

struct Event {
  enum class Kind {
    started,    // its prompt is being worked on
    text,       // more of it
    restarted,  // an attempt failed: what came so far is void
    done,
  };
  int64_t job = 0;
  Kind kind = Kind::text;
  bool reasoning = false;        // text: which side
  std::string text;              // text
  int64_t new_tokens = 0;        // so far, of this attempt
  std::string note;              // restarted: why
  std::shared_ptr<Trace> trace;  // done
};

class Generator {
 public:
  virtual ~Generator() = default;

  // Starts a job. Every accepted job ends with exactly one `done`, cancelled and failed ones too.
  virtual Status submit(Job job) = 0;

  virtual void cancel(int64_t id) = 0;

  // The events since the last call; waits up to `seconds` for the first one.
  virtual std::vector<Event> wait(double seconds) = 0;

  // Jobs worth having under way at once.
  virtual int64_t capacity() const = 0;

  // Tokens of prompt and answer together; 0 = not known.
  virtual int64_t context() const { return 0; }

  // The text of a tail; only for tokens that this generator gave out.
  virtual std::string decode(std::span<const text::TokenId> tokens) const = 0;

  // For the journal: a JSON object that says what answered (model, endpoints, how tokens are counted). No secrets.
  virtual std::string describe() const = 0;
};

}  // namespace zaya::reasoning
