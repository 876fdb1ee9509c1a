// Streams of server-sent events, and what OpenAI-compatible servers say in them. Everything is bounded: a server is not
// trusted to end a line, an answer, or a number.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "reasoning/generator.h"

namespace zaya::reasoning {

// Cuts bytes as they come into the `data:` payloads of events. Other fields and comments are skipped.
class EventStream {
 public:
  static constexpr size_t kLongestEvent = size_t{4} << 20;

  // Calls `take` with each complete payload. out_of_range when an event is longer than kLongestEvent.
  Status push(std::string_view bytes, const std::function<Status(std::string_view)>& take);

 private:
  std::string line_, data_;
  bool has_data_ = false;
};

// One chunk of a chat completion, of the streamed or the whole form.
struct ChatChunk {
  std::string reasoning;  // reasoning_content or reasoning
  std::string content;
  std::string finish;                                                             // finish_reason; empty = not yet
  int64_t prompt_tokens = -1, cached_prompt_tokens = -1, completion_tokens = -1;  // −1 = not said
  std::string error;  // what the server says went wrong, in the middle of a stream
  bool done = false;  // [DONE]
};
Result<ChatChunk> parse_chat_chunk(std::string_view payload);

// The body of a request for a streamed chat completion. `extra`: a JSON object whose fields are added, or empty.
std::string chat_body(const Job& job, const std::string& model, int64_t max_tokens, const std::string& extra);

// The first model that a server's /models names.
Result<std::string> first_model(std::string_view body);

// A short reason for people out of an error's body.
std::string error_text(long http_status, std::string_view body);

}  // namespace zaya::reasoning
