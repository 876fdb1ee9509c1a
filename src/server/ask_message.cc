// Requests of Anthropic's Messages API: turned into a chat request's messages and read as that.
#include <fmt/format.h>

#include "server/ask.h"

namespace zaya::server {
namespace {

void read_blocks(Reader& message, const std::string& role, const Json& blocks, Json& messages) {
  std::string text, reasoning;
  Json calls = Json::array();
  const auto add_text = [&](const std::string& more) { text += (text.empty() ? "" : "\n") + more; };
  for (size_t i = 0; i < blocks.size() && !message.failed(); ++i) {
    Reader block(blocks[i], message.path(fmt::format("content[{}]", i)), message.error());
    block.require("type");
    const std::string type = block.string("type").value_or("");
    if (block.failed()) return;
    if (type == "text") {
      block.require("text");
      add_text(block.string("text").value_or(""));
    } else if (type == "thinking" && role == "assistant") {
      reasoning += block.string("thinking").value_or("");
    } else if (type == "redacted_thinking" && role == "assistant") {
      // Nothing of ours, and nothing that could be read.
    } else if (type == "tool_use" && role == "assistant") {
      block.require("name");
      Json function = {{"name", block.string("name").value_or("")}, {"arguments", Json::object()}};
      if (const Json* input = block.object("input")) function["arguments"] = *input;
      calls.push_back({{"id", block.string("id").value_or("")}, {"function", std::move(function)}});
    } else if (type == "tool_result" && role == "user") {
      block.require("tool_use_id");
      messages.push_back({{"role", "tool"},
                          {"tool_call_id", block.string("tool_use_id").value_or("")},
                          {"content", read_text(block, "content", {"text"})}});
    } else {
      block.fail("type", fmt::format("is \"{}\"; this model reads text only", type.substr(0, 64)));
    }
  }
  if (role == "user") {
    if (!text.empty() || blocks.empty()) messages.push_back({{"role", "user"}, {"content", std::move(text)}});
    return;
  }
  Json turn = {{"role", "assistant"}, {"content", std::move(text)}};
  if (!reasoning.empty()) turn["reasoning_content"] = std::move(reasoning);
  if (!calls.empty()) turn["tool_calls"] = std::move(calls);
  messages.push_back(std::move(turn));
}

void read_tools(Reader& reader, Json& chat) {
  const Json* tools = reader.array("tools");
  if (tools == nullptr) return;
  Json list = Json::array();
  for (size_t i = 0; i < tools->size() && !reader.failed(); ++i) {
    Reader tool((*tools)[i], fmt::format("tools[{}]", i), reader.error());
    if (const auto type = tool.string("type"); type && *type != "custom") {
      tool.fail("type", fmt::format("is \"{}\"; this server has no tools of its own", type->substr(0, 64)));
    }
    tool.require("name");
    tool.require("input_schema");
    Json function = {{"name", tool.string("name").value_or("")},
                     {"description", tool.string("description").value_or("")}};
    if (const Json* schema = tool.object("input_schema")) function["parameters"] = *schema;
    list.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  chat["tools"] = std::move(list);
}

void read_tool_choice(Reader& reader, Json& chat) {
  const Json* given = reader.object("tool_choice");
  if (given == nullptr) return;
  Reader choice(*given, "tool_choice", reader.error());
  choice.require("type");
  const std::string type = choice.string("type").value_or("");
  if (choice.boolean("disable_parallel_tool_use").value_or(false)) chat["parallel_tool_calls"] = false;
  if (type == "auto" || type == "none") {
    chat["tool_choice"] = type;
  } else if (type == "any") {
    chat["tool_choice"] = "required";
  } else if (type == "tool") {
    choice.require("name");
    chat["tool_choice"] = {{"type", "function"}, {"name", choice.string("name").value_or("")}};
  } else {
    choice.fail("type", fmt::format("is \"{}\"; it must be auto, any, tool or none", type.substr(0, 64)));
  }
}

}  // namespace

void parse_message(const Json& body, const AskContext& context, Ask& ask, std::optional<ApiError>& error) {
  Reader reader(body, "", error);
  Json messages = Json::array();
  if (const std::string system = read_text(reader, "system", {"text"}); !system.empty()) {
    messages.push_back({{"role", "system"}, {"content", system}});
  }
  reader.require("messages");
  const Json* given = reader.array("messages");
  for (size_t i = 0; given != nullptr && i < given->size() && !error; ++i) {
    Reader message((*given)[i], fmt::format("messages[{}]", i), error);
    message.require("role");
    const std::string role = message.string("role").value_or("");
    if (role != "user" && role != "assistant") {
      message.fail("role", fmt::format("is \"{}\"; it must be user or assistant", role.substr(0, 64)));
    }
    message.require("content");
    const Json* content = message.find("content");
    if (content == nullptr) break;
    if (content->is_string()) {
      messages.push_back({{"role", role}, {"content", *content}});
    } else if (const Json* blocks = message.array("content")) {
      read_blocks(message, role, *blocks, messages);
    }
  }

  Json chat = {{"messages", std::move(messages)}};
  for (const char* key :
       {"stream", "temperature", "top_p", "top_k", "min_p", "model", "seed", "chat_template_kwargs", "markovian_rsa"}) {
    if (const Json* value = reader.find(key)) chat[key] = *value;
  }
  reader.require("max_tokens");
  if (const auto tokens = reader.integer("max_tokens", 1, INT32_MAX)) chat["max_tokens"] = *tokens;
  if (const Json* stops = reader.array("stop_sequences")) {
    (void)read_stops(reader, "stop_sequences", context.limits);
    chat["stop"] = *stops;
  }
  read_tools(reader, chat);
  read_tool_choice(reader, chat);
  // A client that does not speak of thinking does not expect blocks of it; the model thinks all the same.
  bool show = false;
  if (const Json* thinking = reader.object("thinking")) {
    Reader choice(*thinking, "thinking", error);
    choice.require("type");
    const std::string type = choice.string("type").value_or("");
    if (type == "enabled" || type == "adaptive") {
      show = true;
      if (const auto budget = choice.integer("budget_tokens", 0, INT32_MAX)) chat["thinking_budget"] = *budget;
    } else if (type == "disabled") {
      chat["reasoning_effort"] = "none";
    } else {
      choice.fail("type", fmt::format("is \"{}\"; it must be enabled, adaptive or disabled", type.substr(0, 64)));
    }
  }
  if (!error) parse_chat(chat, context, ask, error);
  ask.show_reasoning = show;
}

}  // namespace zaya::server
