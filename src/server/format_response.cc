// OpenAI's Responses API: an answer is a list of items (reasoning, message, function calls), and a stream is a list of
// numbered events that open, fill and close them.
#include "server/format.h"

namespace zaya::server {
namespace {

Json usage_json(const Usage& usage) {
  Json json = {{"input_tokens", usage.prompt_tokens},
               {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
               {"output_tokens", usage.completion_tokens},
               {"output_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}},
               {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
  if (!usage.markovian_rsa.is_null()) json["markovian_rsa"] = usage.markovian_rsa;
  return json;
}

class ResponseFormat : public Format {
 public:
  ResponseFormat(const Ask& ask, const Backend& backend, const Json& body) : Format(ask, backend) {
    const auto repeated = [&](const char* key, Json otherwise) {
      const auto found = body.find(key);
      return found == body.end() || found->is_null() ? otherwise : *found;
    };
    const engine::SamplingParams& sampling = ask.prompts.front().sampling;
    response_ = {{"id", "resp_" + ask.id},
                 {"object", "response"},
                 {"created_at", unix_time()},
                 {"status", "in_progress"},
                 {"error", nullptr},
                 {"incomplete_details", nullptr},
                 {"instructions", repeated("instructions", nullptr)},
                 {"max_output_tokens", repeated("max_output_tokens", nullptr)},
                 {"model", backend.model_name},
                 {"output", Json::array()},
                 {"parallel_tool_calls", repeated("parallel_tool_calls", true)},
                 {"previous_response_id", nullptr},
                 {"reasoning", repeated("reasoning", {{"effort", nullptr}, {"summary", nullptr}})},
                 {"store", false},
                 {"temperature", sampling.temperature},
                 {"text", {{"format", {{"type", "text"}}}}},
                 {"tool_choice", repeated("tool_choice", "auto")},
                 {"tools", repeated("tools", Json::array())},
                 {"top_p", sampling.top_p},
                 {"truncation", "disabled"},
                 {"usage", nullptr},
                 {"metadata", repeated("metadata", Json::object())}};
  }

  std::string begin() override {
    // In two steps: they are numbered in the order in which they are made.
    const std::string created = event("response.created", {{"response", response_}});
    return created + event("response.in_progress", {{"response", response_}});
  }

  std::string delta(size_t, const Delta& delta) override {
    std::string events;
    for (const Part& part : delta.parts) {
      switch (part.kind) {
        case Part::Kind::reasoning:
          if (open_ != Open::reasoning) events += open_item(Open::reasoning, part);
          text_ += part.text;
          events += event("response.reasoning_text.delta", place({{"content_index", 0}, {"delta", part.text}}));
          break;
        case Part::Kind::content:
          if (open_ != Open::message) events += open_item(Open::message, part);
          text_ += part.text;
          events += event("response.output_text.delta",
                          place({{"content_index", 0}, {"delta", part.text}, {"logprobs", Json::array()}}));
          break;
        case Part::Kind::call: events += open_item(Open::call, part); break;
        case Part::Kind::arguments:
          text_ += part.text;
          events += event("response.function_call_arguments.delta", place({{"delta", part.text}}));
          break;
      }
    }
    return events;
  }

  std::string finish(size_t, const Choice& state) override {
    return close_item(state.finish == "length" ? "incomplete" : "completed");
  }

  std::string end(const std::vector<Choice>& choices, const Usage& usage) override {
    const bool complete = settle(choices.front(), usage);
    return event(complete ? "response.completed" : "response.incomplete", {{"response", response_}});
  }

  std::string failure(const ApiError& error) override {
    response_["status"] = "failed";
    response_["error"] = {{"code", "server_error"}, {"message", error.message}};
    return event("response.failed", {{"response", response_}});
  }

  // An event of a type that is ours alone.
  std::string run_line(const std::string& line) override {
    constexpr const char* kType = "response.markovian_rsa.line";
    std::string data = dump({{"type", kType}, {"sequence_number", sequence_++}});
    data.pop_back();
    return std::string("event: ") + kType + "\ndata: " + data + ",\"markovian_rsa\":" + line + "}\n\n";
  }

  // The items are built by the same steps as in a stream.
  Json whole(const std::vector<Choice>& choices, const Usage& usage) override {
    const Choice& choice = choices.front();
    Delta all;
    all.append(Part::Kind::reasoning, choice.reasoning);
    all.append(Part::Kind::content, choice.content);
    for (const Call& call : choice.calls) {
      all.append(Part::Kind::call, call.name, call.id);
      all.append(Part::Kind::arguments, call.arguments);
    }
    (void)delta(0, all);
    (void)finish(0, choice);
    settle(choice, usage);
    return response_;
  }

 private:
  enum class Open { none, reasoning, message, call };

  bool settle(const Choice& choice, const Usage& usage) {
    const bool complete = choice.finish != "length";
    response_["status"] = complete ? "completed" : "incomplete";
    if (!complete) response_["incomplete_details"] = {{"reason", "max_output_tokens"}};
    response_["usage"] = usage_json(usage);
    return complete;
  }

  std::string event(const char* type, Json fields) {
    Json data = {{"type", type}, {"sequence_number", sequence_++}};
    data.update(fields);
    return sse(data, type);
  }

  // The fields that say which item an event is about.
  Json place(Json fields) const {
    Json all = {{"item_id", item_["id"]}, {"output_index", response_["output"].size()}};
    all.update(fields);
    return all;
  }

  std::string open_item(Open kind, const Part& part) {
    std::string events = close_item("completed");
    open_ = kind;
    text_.clear();
    const std::string number = std::to_string(response_["output"].size());
    switch (kind) {
      case Open::reasoning:
        item_ = {{"id", "rs_" + ask_.id + number},
                 {"type", "reasoning"},
                 {"summary", Json::array()},
                 {"content", Json::array()},
                 {"status", "in_progress"}};
        break;
      case Open::message:
        item_ = {{"id", "msg_" + ask_.id + number},
                 {"type", "message"},
                 {"role", "assistant"},
                 {"content", Json::array()},
                 {"status", "in_progress"}};
        break;
      default:
        item_ = {{"id", "fc_" + ask_.id + number},
                 {"type", "function_call"},
                 {"call_id", part.id},
                 {"name", part.text},
                 {"arguments", ""},
                 {"status", "in_progress"}};
    }
    events += event("response.output_item.added", {{"output_index", response_["output"].size()}, {"item", item_}});
    if (kind == Open::message) {
      events += event("response.content_part.added", place({{"content_index", 0}, {"part", text_part("")}}));
    }
    return events;
  }

  std::string close_item(const char* status) {
    std::string events;
    switch (open_) {
      case Open::none: return events;
      case Open::reasoning:
        item_["content"].push_back({{"type", "reasoning_text"}, {"text", text_}});
        events += event("response.reasoning_text.done", place({{"content_index", 0}, {"text", text_}}));
        break;
      case Open::message:
        item_["content"].push_back(text_part(text_));
        events += event("response.output_text.done",
                        place({{"content_index", 0}, {"text", text_}, {"logprobs", Json::array()}}));
        events += event("response.content_part.done", place({{"content_index", 0}, {"part", text_part(text_)}}));
        break;
      case Open::call:
        item_["arguments"] = text_;
        events +=
            event("response.function_call_arguments.done", place({{"name", item_["name"]}, {"arguments", text_}}));
        break;
    }
    item_["status"] = status;
    events += event("response.output_item.done", {{"output_index", response_["output"].size()}, {"item", item_}});
    response_["output"].push_back(std::move(item_));
    open_ = Open::none;
    return events;
  }

  static Json text_part(const std::string& text) {
    return {{"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
  }

  Json response_;
  Json item_;         // that is being written
  std::string text_;  // its text or arguments so far
  Open open_ = Open::none;
  int64_t sequence_ = 0;
};

}  // namespace

std::unique_ptr<Format> response_format(const Ask& ask, const Backend& backend, const Json& body) {
  return std::make_unique<ResponseFormat>(ask, backend, body);
}

}  // namespace zaya::server
