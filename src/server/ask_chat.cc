// Requests in OpenAI's form: /v1/chat/completions and /v1/completions.
#include <fmt/format.h>

#include "server/ask.h"

namespace zaya::server {
namespace {

constexpr int64_t kDefaultCompletionTokens = 16;  // OpenAI's

// The tool calls of an earlier answer: arguments are JSON in a string here, and a mapping in the template.
Json history_calls(Reader& message, const Json& calls) {
  Json out = Json::array();
  for (size_t i = 0; i < calls.size() && !message.failed(); ++i) {
    Reader call(calls[i], message.path(fmt::format("tool_calls[{}]", i)), message.error());
    call.require("function");
    const Json* given = call.object("function");
    if (given == nullptr) continue;
    Reader function(*given, call.path("function"), message.error());
    function.require("name");
    const std::string name = function.string("name").value_or("");
    Json arguments = Json::object();
    if (const Json* value = function.find("arguments")) {
      if (value->is_object()) {
        arguments = *value;
      } else if (value->is_string() && !value->get_ref<const std::string&>().empty()) {
        if (parse_body(value->get_ref<const std::string&>(), arguments)) {
          function.fail("arguments", "must be a JSON object in a string");
        }
      } else if (!value->is_string()) {
        function.fail("arguments", fmt::format("must be a string, not {}", type_name(*value)), "invalid_type");
      }
    }
    out.push_back({{"id", call.string("id").value_or("")},
                   {"type", "function"},
                   {"function", {{"name", name}, {"arguments", std::move(arguments)}}}});
  }
  return out;
}

Json history_message(Reader& message) {
  message.require("role");
  std::string role = message.string("role").value_or("");
  if (role == "developer") role = "system";  // the same to this model
  if (role == "function") role = "tool";
  const bool known = role == "system" || role == "user" || role == "assistant" || role == "tool";
  if (!known) {
    message.fail("role",
                 fmt::format("is \"{}\"; it must be system, developer, user, assistant or tool", role.substr(0, 64)));
    return {};
  }
  const bool assistant = role == "assistant";
  Json out = {{"role", role},
              {"content", read_text(message, "content", {"text", "input_text", "output_text", "refusal"})}};
  const Json* calls = assistant ? message.array("tool_calls") : nullptr;
  if (!assistant || calls == nullptr) {
    // An assistant turn may be reasoning only.
    if (!assistant || message.find("reasoning_content") == nullptr) message.require("content");
  }
  if (calls != nullptr && !calls->empty()) out["tool_calls"] = history_calls(message, *calls);
  if (assistant) {
    if (const auto reasoning = message.string("reasoning_content")) out["reasoning_content"] = *reasoning;
  }
  if (role == "tool") {
    if (const auto id = message.string("tool_call_id")) out["tool_call_id"] = *id;
  }
  if (const auto name = message.string("name")) out["name"] = *name;
  return out;
}

Json read_tools(Reader& reader, const AskLimits& limits) {
  Json out = Json::array();
  const Json* tools = reader.array("tools");
  if (tools == nullptr) return out;
  if (static_cast<int64_t>(tools->size()) > limits.max_tools) {
    reader.fail("tools", fmt::format("has {} entries; at most {} are allowed", tools->size(), limits.max_tools));
    return out;
  }
  for (size_t i = 0; i < tools->size() && !reader.failed(); ++i) {
    Reader tool((*tools)[i], fmt::format("tools[{}]", i), reader.error());
    if (const auto type = tool.string("type"); type && *type != "function") {
      tool.fail("type", fmt::format("is \"{}\"; it must be function", type->substr(0, 64)));
    }
    tool.require("function");
    const Json* given = tool.object("function");
    if (given == nullptr) continue;
    Reader function(*given, tool.path("function"), reader.error());
    function.require("name");
    const std::string name = function.string("name").value_or("");
    if (!reader.failed() && !is_tool_name(name)) {
      function.fail("name", "must be 1 to 64 letters, digits, '_', '-' or '.'");
    }
    Json entry = {{"name", name}, {"description", function.string("description").value_or("")}};
    if (const Json* parameters = function.object("parameters")) entry["parameters"] = *parameters;
    out.push_back({{"type", "function"}, {"function", std::move(entry)}});
  }
  return out;
}

ToolChoice read_tool_choice(Reader& reader, const Json& tools) {
  ToolChoice choice;
  if (const auto parallel = reader.boolean("parallel_tool_calls")) choice.parallel = *parallel;
  const Json* value = reader.find("tool_choice");
  if (value == nullptr) return choice;
  if (*value == "auto") return choice;
  if (*value == "none") {
    choice.mode = ToolChoice::Mode::none;
    return choice;
  }
  if (value->is_string() && *value != "required") {
    reader.fail("tool_choice", "must be none, auto, required or a function");
    return choice;
  }
  choice.mode = ToolChoice::Mode::required;
  if (tools.empty()) reader.fail("tool_choice", "asks for a call, but there are no tools");
  if (*value == "required") return choice;
  const Json* function = reader.object("tool_choice");
  if (function == nullptr) return choice;
  Reader named(*function, "tool_choice", reader.error());
  // {"type": "function", "function": {"name": …}}, or with the name beside the type, as in the Responses API.
  if (const Json* inner = named.object("function")) {
    Reader nested(*inner, "tool_choice.function", reader.error());
    nested.require("name");
    choice.name = nested.string("name").value_or("");
  } else {
    named.require("name");
    choice.name = named.string("name").value_or("");
  }
  for (const Json& tool : tools) {
    if (tool["function"]["name"] == choice.name) return choice;
  }
  reader.fail("tool_choice", "names a function that is not among the tools");
  return choice;
}

}  // namespace

void read_stream(Reader& reader, Ask& ask) {
  ask.stream = reader.boolean("stream").value_or(false);
  if (const Json* given = reader.object("stream_options")) {
    Reader options(*given, "stream_options", reader.error());
    ask.include_usage = options.boolean("include_usage").value_or(false);
  }
}

namespace {

void read_choices(Reader& reader, const AskLimits& limits, Ask& ask) {
  ask.n = reader.integer("n", 1, limits.max_choices).value_or(1);
}

}  // namespace

Json chat_variables(Reader& reader, const AskLimits& limits) {
  Json variables = Json::object();
  reader.require("messages");
  const Json* messages = reader.array("messages");
  if (messages == nullptr) return variables;
  if (messages->empty()) reader.fail("messages", "is empty");
  if (static_cast<int64_t>(messages->size()) > limits.max_messages) {
    reader.fail("messages",
                fmt::format("has {} entries; at most {} are allowed", messages->size(), limits.max_messages));
  }
  Json list = Json::array();
  for (size_t i = 0; i < messages->size() && !reader.failed(); ++i) {
    Reader message((*messages)[i], fmt::format("messages[{}]", i), reader.error());
    list.push_back(history_message(message));
  }
  variables["messages"] = std::move(list);
  if (Json tools = read_tools(reader, limits); !tools.empty()) variables["tools"] = std::move(tools);
  return variables;
}

void parse_chat(const Json& body, const AskContext& context, Ask& ask, std::optional<ApiError>& error) {
  Reader reader(body, "", error);
  Json variables = chat_variables(reader, context.limits);
  const ToolChoice choice = read_tool_choice(reader, variables.value("tools", Json::array()));
  (void)reader.string("model");
  read_stream(reader, ask);
  read_choices(reader, context.limits, ask);

  engine::SamplingParams sampling = context.backend.session->sampling;
  read_sampling(reader, sampling);
  read_logit_bias(reader, context.backend.vocabulary(), sampling);
  ask.logprobs = reader.boolean("logprobs").value_or(false);
  const auto top = reader.integer("top_logprobs", 0, 20);
  if (top && !ask.logprobs && *top > 0) reader.fail("top_logprobs", "needs logprobs to be true");
  if (ask.logprobs) sampling.top_logprobs = static_cast<int>(top.value_or(0));

  int64_t max_tokens = reader.integer("max_tokens", 1, INT32_MAX).value_or(-1);
  max_tokens = reader.integer("max_completion_tokens", 1, INT32_MAX).value_or(max_tokens);
  std::vector<std::string> stops = read_stops(reader, "stop", context.limits);

  ThinkingChoice thinking;
  read_effort(reader, "reasoning_effort", thinking);
  read_thinking(reader, thinking, variables);
  if (const Json* format = reader.object("response_format")) {
    Reader wanted(*format, "response_format", error);
    if (const auto type = wanted.string("type"); type && *type != "text") {
      wanted.fail("type", fmt::format("is \"{}\"; only text can be promised", type->substr(0, 64)),
                  "unsupported_parameter");
    }
  }
  reader.refuse("functions", "use tools");
  reader.refuse("audio", "this model writes text only");
  build_chat(context, std::move(variables), thinking, choice, sampling, std::move(stops), max_tokens, ask, error);
}

void parse_completion(const Json& body, const AskContext& context, Ask& ask, std::optional<ApiError>& error) {
  Reader reader(body, "", error);
  const Backend& backend = context.backend;
  ask.prompt_field = "prompt";
  (void)reader.string("model");
  read_stream(reader, ask);
  read_choices(reader, context.limits, ask);
  ask.echo = reader.boolean("echo").value_or(false);
  engine::SamplingParams sampling = backend.session->sampling;
  read_sampling(reader, sampling);
  read_logit_bias(reader, context.backend.vocabulary(), sampling);
  if (const auto top = reader.integer("logprobs", 0, 20)) {
    ask.logprobs = true;
    sampling.top_logprobs = static_cast<int>(*top);
    if (ask.echo) reader.fail("echo", "cannot be had together with logprobs", "unsupported_parameter");
  }
  GenerateOptions options;
  options.max_tokens = reader.integer("max_tokens", 0, INT32_MAX).value_or(kDefaultCompletionTokens);
  options.stop = read_stops(reader, "stop", context.limits);
  reader.refuse("suffix", "this model does not fill in");
  if (const auto best = reader.integer("best_of", 1, context.limits.max_choices); best && *best != ask.n) {
    reader.fail("best_of", "must equal n", "unsupported_parameter");
  }
  reader.require("prompt");
  const Json* prompt = reader.find("prompt");
  if (prompt == nullptr) return;

  const auto is_tokens = [](const Json& value) { return value.is_array() && !value.empty() && value[0].is_number(); };
  const bool one = prompt->is_string() || is_tokens(*prompt);
  if (!one && (!prompt->is_array() || prompt->empty())) {
    return reader.fail("prompt", "must be a string, a list of token ids, or a list of such", "invalid_type");
  }
  const Json list = one ? Json::array({*prompt}) : *prompt;
  if (static_cast<int64_t>(list.size()) > context.limits.max_choices / ask.n) {
    return reader.fail("prompt", fmt::format("has {} entries for n = {}; at most {} choices are allowed", list.size(),
                                             ask.n, context.limits.max_choices));
  }
  for (const Json& entry : list) {
    Result<engine::Request> request = backend.session->completion_request(
        entry.is_string() ? std::string_view(entry.get_ref<const std::string&>()) : std::string_view(), options);
    if (!request.ok()) {
      error = to_api_error(request.status(), "prompt");
      return;
    }
    if (!entry.is_string()) {
      if (!is_tokens(entry)) return reader.fail("prompt", "must hold strings or lists of token ids", "invalid_type");
      request->prompt.clear();
      for (const Json& token : entry) {
        if (!token.is_number_integer() || token.get<int64_t>() < 0 ||
            token.get<int64_t>() >= backend.tokenizer().size()) {
          return reader.fail("prompt", fmt::format("holds {}, which is no token id", dump(token).substr(0, 32)));
        }
        request->prompt.push_back(token.get<text::TokenId>());
      }
    }
    request->sampling = sampling;
    request->thinking.separate = false;  // the text as it stands, tags and all
    if (ask.echo) {
      ask.prompt_texts.push_back(entry.is_string() ? entry.get<std::string>()
                                                   : backend.tokenizer().decode(request->prompt));
    }
    ask.prompts.push_back(std::move(*request));
  }
}

}  // namespace zaya::server
