// What a client asks for, whichever API it speaks: each API's parser makes one of these.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/generation.h"
#include "server/backend.h"
#include "server/json.h"

namespace zaya::server {

// Bounds on a request that the configuration may move.
struct AskLimits {
  int64_t max_choices = 16;  // n times the number of prompts
  int64_t max_tools = 128;
  int64_t max_messages = 4096;
  int64_t max_stops = 16;
};

struct Ask {
  std::string id;  // of the answer, without the API's prefix
  bool stream = false;
  bool include_usage = false;  // in a stream
  std::vector<engine::Request> prompts;
  std::string prompt_field = "messages";  // named when the prompt is refused
  int64_t n = 1;                          // choices for each prompt
  bool echo = false;
  std::vector<std::string> prompt_texts;  // with echo

  // Tool calls are looked for in the answer when there are tools, and typed by their schemas.
  bool calls = false;
  Json tools = Json::array();
  std::string prefill;  // the beginning of a call that the prompt already holds

  bool logprobs = false;
  bool show_reasoning = true;
};

// Everything that parsing needs beside the request.
struct AskContext {
  const Backend& backend;
  const AskLimits& limits;
};

// temperature, top_p, top_k, min_p, seed and the penalties, under the names that OpenAI, vLLM and llama.cpp share.
void read_sampling(Reader& reader, engine::SamplingParams& sampling);

// A string or a list of them, of at most limits.max_stops.
std::vector<std::string> read_stops(Reader& reader, const char* key, const AskLimits& limits);

// {"123": -100, …}
void read_logit_bias(Reader& reader, int64_t vocabulary, engine::SamplingParams& sampling);

// Whether and how long the model may think.
struct ThinkingChoice {
  bool think = true;
  int64_t budget = -1;  // tokens; -1 = no limit
};

// reasoning_effort: none, minimal, low, medium, high. Other names fail with the field's name; a name for test-time
// methods beyond one chain of thought would be added here.
void read_effort(Reader& reader, const char* key, ThinkingChoice& thinking);

// thinking_budget, and chat_template_kwargs: enable_thinking, and whatever else the template reads, into `variables`.
void read_thinking(Reader& reader, ThinkingChoice& thinking, Json& variables);

// How the model must use its tools.
struct ToolChoice {
  enum class Mode { none, automatic, required } mode = Mode::automatic;
  std::string name;      // with required: this one; empty = any
  bool parallel = true;  // may call more than one
};

// From `variables` (messages, tools, …) to `ask`: renders, tokenizes, sets sampling, stops and budget. A required call
// is begun for the model, which therefore does not think first. Errors go to `error`.
void build_chat(const AskContext& context, Json variables, const ThinkingChoice& thinking, const ToolChoice& choice,
                const engine::SamplingParams& sampling, std::vector<std::string> stops, int64_t max_tokens, Ask& ask,
                std::optional<ApiError>& error);

// Names of functions: letters, digits, '_', '-' and '.', at most 64.
bool is_tool_name(std::string_view name);

// The text of a content field: a string, or a list of parts of which `text_types` are text; others fail by name.
std::string read_text(Reader& reader, const char* key, std::initializer_list<std::string_view> text_types);

// stream and stream_options, in OpenAI's form.
void read_stream(Reader& reader, Ask& ask);

// One parser per API; each leaves the first error in `error`.
void parse_chat(const Json& body, const AskContext& context, Ask& ask, std::optional<ApiError>& error);
void parse_completion(const Json& body, const AskContext& context, Ask& ask, std::optional<ApiError>& error);
void parse_response(const Json& body, const AskContext& context, Ask& ask, std::optional<ApiError>& error);
// A Responses request as a chat request.
Json chat_of_response(const Json& body, const AskLimits& limits, std::optional<ApiError>& error);
void parse_message(const Json& body, const AskContext& context, Ask& ask, std::optional<ApiError>& error);

// The template's variables of a chat request: {"messages", "tools"} in the form that templates read. Also for
// /apply-template and /tokenize.
Json chat_variables(Reader& reader, const AskLimits& limits);

// The rendered prompt of `variables`.
Result<std::string> render_prompt(const Backend& backend, Json variables, bool think);

}  // namespace zaya::server
