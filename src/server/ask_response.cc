// Requests of OpenAI's Responses API: the conversation is a list of items instead of messages. They are turned into
// a chat request's messages and read as that. Nothing is kept between requests.
#include <fmt/format.h>

#include "server/ask.h"

namespace zaya::server {
namespace {

// Items that belong to one assistant turn (reasoning, text, calls) are gathered into one message.
class Messages {
 public:
  Json& assistant() {
    if (list_.empty() || list_.back()["role"] != "assistant") {
      list_.push_back({{"role", "assistant"}, {"content", ""}});
    }
    return list_.back();
  }
  void add(Json message) { list_.push_back(std::move(message)); }
  Json take() { return std::move(list_); }

 private:
  Json list_ = Json::array();
};

std::string reasoning_text(Reader& item) {
  std::string text;
  for (const char* key : {"content", "summary"}) {
    const Json* parts = item.array(key);
    for (size_t i = 0; parts != nullptr && i < parts->size() && !item.failed(); ++i) {
      Reader part((*parts)[i], item.path(fmt::format("{}[{}]", key, i)), item.error());
      text += part.string("text").value_or("");
    }
    if (!text.empty()) break;
  }
  return text;
}

void read_item(Reader& item, Messages& messages) {
  const std::string type = item.string("type").value_or("message");
  if (type == "message") {
    item.require("role");
    const std::string role = item.string("role").value_or("");
    item.require("content");
    std::string content = read_text(item, "content", {"text", "input_text", "output_text", "refusal"});
    if (role == "assistant") {
      Json& turn = messages.assistant();
      turn["content"] = turn["content"].get<std::string>() + content;
    } else {
      messages.add({{"role", role}, {"content", std::move(content)}});
    }
  } else if (type == "reasoning") {
    if (std::string text = reasoning_text(item); !text.empty())
      messages.assistant()["reasoning_content"] = std::move(text);
  } else if (type == "function_call") {
    item.require("name");
    item.require("call_id");
    messages.assistant()["tool_calls"].push_back(
        {{"id", item.string("call_id").value_or("")},
         {"function",
          {{"name", item.string("name").value_or("")}, {"arguments", item.string("arguments").value_or("")}}}});
  } else if (type == "function_call_output") {
    item.require("call_id");
    item.require("output");
    messages.add({{"role", "tool"},
                  {"tool_call_id", item.string("call_id").value_or("")},
                  {"content", read_text(item, "output", {"input_text", "output_text", "text"})}});
  } else {
    item.fail("type", fmt::format("is \"{}\", which this server does not know", type.substr(0, 64)));
  }
}

}  // namespace

Json chat_of_response(const Json& body, const AskLimits& limits, std::optional<ApiError>& error) {
  Reader reader(body, "", error);
  reader.refuse("previous_response_id", "nothing is kept between requests; send the whole conversation as input");
  reader.refuse("conversation", "nothing is kept between requests; send the whole conversation as input");
  reader.refuse("background", "requests are answered while the client waits");
  reader.refuse("prompt", "there are no stored prompts");

  Messages messages;
  if (const auto instructions = reader.string("instructions")) {
    messages.add({{"role", "system"}, {"content", *instructions}});
  }
  reader.require("input");
  const Json* input = reader.find("input");
  if (input != nullptr && input->is_string()) {
    messages.add({{"role", "user"}, {"content", *input}});
  } else if (const Json* items = reader.array("input")) {
    if (static_cast<int64_t>(items->size()) > limits.max_messages) {
      reader.fail("input", fmt::format("has {} entries; at most {} are allowed", items->size(), limits.max_messages));
    }
    for (size_t i = 0; i < items->size() && !error; ++i) {
      Reader item((*items)[i], fmt::format("input[{}]", i), error);
      read_item(item, messages);
    }
  }

  // The same fields under the names of the chat API.
  Json chat = {{"messages", messages.take()}};
  for (const char* key : {"stream", "temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty",
                          "frequency_penalty", "repetition_penalty", "stop", "parallel_tool_calls", "tool_choice",
                          "thinking_budget", "chat_template_kwargs", "model", "markovian_rsa"}) {
    if (const Json* value = reader.find(key)) chat[key] = *value;
  }
  if (const auto tokens = reader.integer("max_output_tokens", 1, INT32_MAX)) chat["max_tokens"] = *tokens;
  if (const Json* given = reader.object("reasoning")) {
    Reader reasoning(*given, "reasoning", error);
    ThinkingChoice unused;
    read_effort(reasoning, "effort", unused);
    if (const auto effort = reasoning.string("effort")) chat["reasoning_effort"] = *effort;
  }
  if (const Json* given = reader.object("text")) {
    Reader text(*given, "text", error);
    if (const Json* format = text.object("format")) {
      Reader wanted(*format, "text.format", error);
      if (const auto type = wanted.string("type"); type && *type != "text") {
        wanted.fail("type", fmt::format("is \"{}\"; only text can be promised", type->substr(0, 64)),
                    "unsupported_parameter");
      }
    }
  }
  if (const Json* tools = reader.array("tools")) {
    Json list = Json::array();
    for (size_t i = 0; i < tools->size() && !error; ++i) {
      Reader tool((*tools)[i], fmt::format("tools[{}]", i), error);
      if (const auto type = tool.string("type"); type && *type != "function") {
        tool.fail("type", fmt::format("is \"{}\"; it must be function", type->substr(0, 64)));
      }
      tool.require("name");
      if (!error) list.push_back({{"type", "function"}, {"function", (*tools)[i]}});
    }
    chat["tools"] = std::move(list);
  }
  return chat;
}

void parse_response(const Json& body, const AskContext& context, Ask& ask, std::optional<ApiError>& error) {
  ask.prompt_field = "input";
  const Json chat = chat_of_response(body, context.limits, error);
  if (!error) parse_chat(chat, context, ask, error);
}

}  // namespace zaya::server
