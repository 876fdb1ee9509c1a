#include "server/ask.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace zaya::server {
namespace {

constexpr size_t kMaxStopBytes = 1024;

// Where the forms of tool calls begin (text/tool_call.h).
constexpr const char* kCallOpen = "<zyphra_tool_call>";
constexpr const char* kCallClose = "</zyphra_tool_call>";

}  // namespace

void read_sampling(Reader& reader, engine::SamplingParams& sampling) {
  if (const auto value = reader.number("temperature", 0, 100)) sampling.temperature = *value;
  if (const auto value = reader.number("top_p", 0, 1)) {
    if (*value == 0) reader.fail("top_p", "is 0; it must be above 0");
    sampling.top_p = *value;
  }
  // −1 is off in vLLM's words, 0 in ours.
  if (const auto value = reader.integer("top_k", -1, INT32_MAX)) sampling.top_k = std::max<int64_t>(0, *value);
  if (const auto value = reader.number("min_p", 0, 1)) sampling.min_p = *value;
  if (const auto value = reader.number("presence_penalty", -2, 2)) sampling.presence_penalty = *value;
  if (const auto value = reader.number("frequency_penalty", -2, 2)) sampling.frequency_penalty = *value;
  if (const auto value = reader.number("repetition_penalty", 0.01, 100)) sampling.repetition_penalty = *value;
  if (const auto value = reader.integer("seed", INT64_MIN, INT64_MAX)) sampling.seed = static_cast<uint64_t>(*value);
}

std::vector<std::string> read_stops(Reader& reader, const char* key, const AskLimits& limits) {
  std::vector<std::string> stops;
  const Json* value = reader.find(key);
  if (value == nullptr) return stops;
  const Json list = value->is_array() ? *value : Json::array({*value});
  if (static_cast<int64_t>(list.size()) > limits.max_stops) {
    reader.fail(key, fmt::format("has {} entries; at most {} are allowed", list.size(), limits.max_stops));
    return stops;
  }
  for (const Json& stop : list) {
    if (!stop.is_string()) {
      reader.fail(key, fmt::format("must hold strings, not {}", type_name(stop)), "invalid_type");
      return stops;
    }
    const auto& text = stop.get_ref<const std::string&>();
    if (text.size() > kMaxStopBytes) {
      reader.fail(key, fmt::format("holds a string of {} bytes; at most {} are allowed", text.size(), kMaxStopBytes));
    }
    if (!text.empty()) stops.push_back(text);
  }
  return stops;
}

void read_logit_bias(Reader& reader, int64_t vocabulary, engine::SamplingParams& sampling) {
  const Json* map = reader.object("logit_bias");
  if (map == nullptr) return;
  for (const auto& [key, bias] : map->items()) {
    int32_t token = -1;
    const auto [end, failure] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (failure != std::errc() || end != key.data() + key.size() || token < 0 || token >= vocabulary) {
      return reader.fail("logit_bias", fmt::format("has the key \"{}\", which is no token id", key.substr(0, 32)));
    }
    if (!bias.is_number() || !(bias.get<double>() >= -100 && bias.get<double>() <= 100)) {
      return reader.fail("logit_bias", fmt::format("of token {} must be a number between -100 and 100", token));
    }
    sampling.logit_bias.emplace_back(token, bias.get<float>());
  }
}

void read_effort(Reader& reader, const char* key, ThinkingChoice& thinking) {
  struct Effort {
    const char* name;
    ThinkingChoice choice;
  };
  // Tokens of reasoning; the authors' own evaluations let the model think as long as it likes: that is "high".
  static constexpr Effort kEfforts[] = {{"none", {false, -1}},
                                        {"minimal", {true, 256}},
                                        {"low", {true, 1024}},
                                        {"medium", {true, 8192}},
                                        {"high", {true, -1}}};
  const auto name = reader.string(key);
  if (!name) return;
  for (const Effort& effort : kEfforts) {
    if (*name == effort.name) {
      thinking = effort.choice;
      return;
    }
  }
  reader.fail(key, fmt::format("is \"{}\"; it must be none, minimal, low, medium or high", name->substr(0, 64)));
}

void read_thinking(Reader& reader, ThinkingChoice& thinking, Json& variables) {
  if (const auto budget = reader.integer("thinking_budget", -1, INT32_MAX)) thinking.budget = *budget;
  if (const Json* given = reader.object("chat_template_kwargs")) {
    Reader kwargs(*given, "chat_template_kwargs", reader.error());
    if (const auto think = kwargs.boolean("enable_thinking")) thinking.think = *think;
    for (const auto& [key, value] : given->items()) {
      if (key == "messages" || key == "tools") {
        return kwargs.fail(key, "stands beside chat_template_kwargs, not in it");
      }
      variables[key] = value;
    }
  }
}

bool is_tool_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
}

std::string read_text(Reader& reader, const char* key, std::initializer_list<std::string_view> text_types) {
  const Json* content = reader.find(key);
  if (content == nullptr) return {};
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array()) {
    reader.fail(key, fmt::format("must be a string or an array of parts, not {}", type_name(*content)), "invalid_type");
    return {};
  }
  std::string text;
  for (size_t i = 0; i < content->size() && !reader.failed(); ++i) {
    Reader part((*content)[i], reader.path(fmt::format("{}[{}]", key, i)), reader.error());
    part.require("type");
    const std::string type = part.string("type").value_or("");
    if (!reader.failed() && std::find(text_types.begin(), text_types.end(), type) == text_types.end()) {
      part.fail("type", fmt::format("is \"{}\"; this model reads text only", type.substr(0, 64)));
    }
    part.require(type == "refusal" ? "refusal" : "text");
    if (i > 0) text += '\n';
    text += part.string(type == "refusal" ? "refusal" : "text").value_or("");
  }
  return text;
}

Result<std::string> render_prompt(const Backend& backend, Json variables, bool think) {
  if (!backend.session->chat_template) {
    return Status(Code::unsupported, "this model has no chat template", "use /v1/completions");
  }
  if (!variables.contains("add_generation_prompt")) variables["add_generation_prompt"] = true;
  variables["enable_thinking"] = think;
  return backend.session->chat_template->render(variables);
}

void build_chat(const AskContext& context, Json variables, const ThinkingChoice& thinking, const ToolChoice& choice,
                const engine::SamplingParams& sampling, std::vector<std::string> stops, int64_t max_tokens, Ask& ask,
                std::optional<ApiError>& error) {
  if (error) return;
  const Backend& backend = context.backend;
  if (!backend.session->chat_template) {
    error = ApiError{.message = "this model has no chat template; use /v1/completions", .code = "unsupported_model"};
    return;
  }
  ask.tools = variables.contains("tools") ? variables["tools"] : Json::array();
  ask.calls = !ask.tools.empty() && choice.mode != ToolChoice::Mode::none;
  if (!ask.calls) variables.erase("tools");
  const bool required = choice.mode == ToolChoice::Mode::required;
  if (required)
    ask.prefill = choice.name.empty() ? fmt::format("{}<function=", kCallOpen)
                                      : fmt::format("{}<function={}>", kCallOpen, choice.name);

  GenerateOptions options;
  options.think = thinking.think && !required;
  options.think_budget = thinking.budget;
  options.max_tokens = max_tokens;
  options.stop = std::move(stops);
  if (ask.calls && !choice.parallel) options.stop.push_back(kCallClose);
  Result<engine::Request> request = backend.session->chat_request(std::move(variables), options);
  if (!request.ok()) {
    error = to_api_error(request.status(), "messages");
    if (error->status == 429) error->status = 400;  // the template went beyond its own limits
    return;
  }
  request->sampling = sampling;
  for (const text::TokenId token : backend.tokenizer().encode(ask.prefill)) request->prompt.push_back(token);
  if (ask.calls) request->visible_tokens = {kCallOpen, kCallClose};
  ask.prompts.push_back(std::move(*request));
}

}  // namespace zaya::server
