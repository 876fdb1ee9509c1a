// How each API writes an answer, whole and as a stream of server-sent events. A format knows no sockets and no engine:
// it turns pieces into text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/generation.h"
#include "server/api_error.h"
#include "server/ask.h"
#include "server/json.h"

namespace zaya::server {

// A piece of a choice, in order. Arguments belong to the last call before them.
struct Part {
  enum class Kind { reasoning, content, call, arguments } kind;
  std::string text;  // of a call: the function's name
  std::string id;    // of a call
};

struct Delta {
  std::vector<Part> parts;
  std::vector<engine::Sampled> tokens;  // with logprobs: the answer's tokens behind these parts

  bool empty() const { return parts.empty() && tokens.empty(); }
  // Joins pieces of one kind.
  void append(Part::Kind kind, std::string text, std::string id = {});
};

struct Call {
  std::string id, name, arguments;
};

// A choice as far as it has come.
struct Choice {
  std::string reasoning, content;
  std::vector<Call> calls;
  std::vector<engine::Sampled> tokens;
  std::string finish;       // stop, length or tool_calls, once it is done
  engine::Outcome outcome;  // numbers and the stop string

  void append(const Delta& delta);
};

struct Usage {
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0, reasoning_tokens = 0;
  Json markovian_rsa;  // of a run: the same by rounds; null otherwise
};

class Format {
 public:
  Format(const Ask& ask, const Backend& backend) : ask_(ask), backend_(backend) {}
  virtual ~Format() = default;

  // A stream, in this order; each returns complete events, perhaps none.
  virtual std::string begin() = 0;
  virtual std::string delta(size_t choice, const Delta& delta) = 0;
  virtual std::string finish(size_t choice, const Choice& state) = 0;  // after the choice's last delta
  virtual std::string end(const std::vector<Choice>& choices, const Usage& usage) = 0;
  virtual std::string failure(const ApiError& error) = 0;  // instead of the rest
  // A line of a run's journal, which is JSON already, before the first delta; plain clients pass over it.
  virtual std::string run_line(const std::string& line) {
    (void)line;
    return {};
  }
  virtual std::string heartbeat() const { return ": waiting\n\n"; }

  virtual Json whole(const std::vector<Choice>& choices, const Usage& usage) = 0;

  virtual bool anthropic() const { return false; }

 protected:
  const Ask& ask_;
  const Backend& backend_;
};

std::unique_ptr<Format> chat_format(const Ask& ask, const Backend& backend);
std::unique_ptr<Format> completion_format(const Ask& ask, const Backend& backend);
// `body`: the request, parts of which these repeat.
std::unique_ptr<Format> response_format(const Ask& ask, const Backend& backend, const Json& body);
std::unique_ptr<Format> message_format(const Ask& ask, const Backend& backend);

// "data: …\n\n", with "event: NAME\n" before it if there is a name.
std::string sse(const Json& data, const char* event = nullptr);

int64_t unix_time();

// {"prompt_tokens", "completion_tokens", …} as OpenAI's chat API has it.
Json openai_usage(const Usage& usage);

// What the engine took: tokens, milliseconds and tokens per second of prompt and answer, as llama.cpp names them.
Json timings(const engine::Outcome& outcome);

// A token's bytes; those of a byte token need not be valid UTF-8.
std::string token_bytes(const text::Tokenizer& tokenizer, text::TokenId token);

}  // namespace zaya::server
