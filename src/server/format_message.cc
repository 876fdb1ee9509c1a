// Anthropic's Messages API: an answer is a list of blocks, and a stream opens and closes them one after the other.
#include "server/format.h"

namespace zaya::server {
namespace {

const char* stop_reason(const Choice& choice) {
  if (choice.finish == "tool_calls") return "tool_use";
  if (choice.finish == "length") return "max_tokens";
  return choice.outcome.stop_string.empty() ? "end_turn" : "stop_sequence";
}

Json stop_sequence(const Choice& choice) {
  if (choice.outcome.stop_string.empty() || choice.finish != "stop") return nullptr;
  return choice.outcome.stop_string;
}

Json usage_json(const Usage& usage) {
  return {{"input_tokens", usage.prompt_tokens - usage.cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.cached_tokens},
          {"output_tokens", usage.completion_tokens}};
}

// Arguments are a JSON object unless the answer was cut off in the middle of them.
Json input_of(const Call& call) {
  Json input;
  if (parse_body(call.arguments, input)) input = Json::object();
  return input;
}

class MessageFormat : public Format {
 public:
  using Format::Format;

  bool anthropic() const override { return true; }
  std::string heartbeat() const override { return sse({{"type", "ping"}}, "ping"); }

  std::string begin() override {
    Json message = frame();
    message["content"] = Json::array();
    message["stop_reason"] = nullptr;
    message["stop_sequence"] = nullptr;
    message["usage"] = usage_json({.prompt_tokens = static_cast<int64_t>(ask_.prompts.front().prompt.size())});
    return sse({{"type", "message_start"}, {"message", std::move(message)}}, "message_start");
  }

  std::string delta(size_t, const Delta& delta) override {
    std::string events;
    for (const Part& part : delta.parts) {
      switch (part.kind) {
        case Part::Kind::reasoning:
          if (open_ != Open::thinking) {
            events += start(Open::thinking, {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}});
          }
          events += change({{"type", "thinking_delta"}, {"thinking", part.text}});
          break;
        case Part::Kind::content:
          if (open_ != Open::text) events += start(Open::text, {{"type", "text"}, {"text", ""}});
          events += change({{"type", "text_delta"}, {"text", part.text}});
          break;
        case Part::Kind::call:
          events += start(Open::tool,
                          {{"type", "tool_use"}, {"id", part.id}, {"name", part.text}, {"input", Json::object()}});
          break;
        case Part::Kind::arguments:
          events += change({{"type", "input_json_delta"}, {"partial_json", part.text}});
          break;
      }
    }
    return events;
  }

  std::string finish(size_t, const Choice&) override { return stop(); }

  std::string end(const std::vector<Choice>& choices, const Usage& usage) override {
    const Choice& choice = choices.front();
    return sse({{"type", "message_delta"},
                {"delta", {{"stop_reason", stop_reason(choice)}, {"stop_sequence", stop_sequence(choice)}}},
                {"usage", usage_json(usage)}},
               "message_delta") +
           sse({{"type", "message_stop"}}, "message_stop");
  }

  std::string failure(const ApiError& error) override {
    return "event: error\ndata: " + error.anthropic_body() + "\n\n";
  }

  Json whole(const std::vector<Choice>& choices, const Usage& usage) override {
    const Choice& choice = choices.front();
    Json content = Json::array();
    if (!choice.reasoning.empty()) {
      content.push_back({{"type", "thinking"}, {"thinking", choice.reasoning}, {"signature", ""}});
    }
    if (!choice.content.empty()) content.push_back({{"type", "text"}, {"text", choice.content}});
    for (const Call& call : choice.calls) {
      content.push_back({{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", input_of(call)}});
    }
    Json message = frame();
    message["content"] = std::move(content);
    message["stop_reason"] = stop_reason(choice);
    message["stop_sequence"] = stop_sequence(choice);
    message["usage"] = usage_json(usage);
    return message;
  }

 private:
  enum class Open { none, thinking, text, tool };

  Json frame() const {
    return {{"id", "msg_" + ask_.id}, {"type", "message"}, {"role", "assistant"}, {"model", backend_.model_name}};
  }

  std::string start(Open kind, Json block) {
    std::string events = stop();
    open_ = kind;
    return events + sse({{"type", "content_block_start"}, {"index", index_}, {"content_block", std::move(block)}},
                        "content_block_start");
  }

  std::string change(Json delta) const {
    return sse({{"type", "content_block_delta"}, {"index", index_}, {"delta", std::move(delta)}},
               "content_block_delta");
  }

  std::string stop() {
    if (open_ == Open::none) return {};
    open_ = Open::none;
    return sse({{"type", "content_block_stop"}, {"index", index_++}}, "content_block_stop");
  }

  Open open_ = Open::none;
  int index_ = 0;
};

}  // namespace

std::unique_ptr<Format> message_format(const Ask& ask, const Backend& backend) {
  return std::make_unique<MessageFormat>(ask, backend);
}

}  // namespace zaya::server
