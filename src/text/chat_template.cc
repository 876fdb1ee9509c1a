#include "text/chat_template.h"

#include <array>
#include <utility>

#include "base/file.h"

namespace zaya::text {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxTemplateFile = size_t{2} << 20;
constexpr size_t kMaxConfigFile = size_t{64} << 20;

constexpr std::array kSpecialTokens = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};

// Names of a message's reasoning, the first one that is not null wins.
constexpr std::array kReasoningFields = {"reasoning_content", "thinking", "reasoning"};

// A JSON object from a file of the model's directory; null when there is no such file.
Result<Json> read_json(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return Json();
  ZAYA_ASSIGN(std::string text, read_file(path, kMaxConfigFile));
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Status(Code::malformed, path.string() + " is not a JSON object");
  return json;
}

// A special token is written as its text, or as an object with the text under "content".
const std::string* token_text(const Json& token) {
  if (token.is_string()) return &token.get_ref<const std::string&>();
  if (!token.is_object()) return nullptr;
  const auto content = token.find("content");
  return content != token.end() && content->is_string() ? &content->get_ref<const std::string&>() : nullptr;
}

void collect_special_tokens(const Json& config, Json& tokens) {
  if (!config.is_object()) return;
  for (const char* name : kSpecialTokens) {
    if (tokens.contains(name)) continue;
    const auto token = config.find(name);
    if (token == config.end()) continue;
    if (const std::string* text = token_text(*token)) tokens[name] = *text;
  }
}

// The messages with their reasoning under both names that templates read.
Json with_reasoning_aliases(const Json& messages) {
  if (!messages.is_array()) return messages;
  Json aliased = Json::array();
  for (const Json& message : messages) {
    const Json* reasoning = nullptr;
    if (message.is_object()) {
      for (const char* field : kReasoningFields) {
        const auto found = message.find(field);
        if (found == message.end() || found->is_null()) continue;
        reasoning = &*found;
        break;
      }
    }
    if (!reasoning) {
      aliased.push_back(message);
      continue;
    }
    Json copy = Json::object();
    copy["thinking"] = *reasoning;
    for (const auto& [key, value] : message.items()) copy[key] = value;
    copy["reasoning_content"] = *reasoning;
    aliased.push_back(std::move(copy));
  }
  return aliased;
}

// "default" and "tool_use" of tokenizer_config.json's chat_template; both empty when it has none.
struct Sources {
  std::string main, tool_use;
  bool has_main = false, has_tool_use = false;
};

Result<Sources> sources_in(const Json& config, const fs::path& path) {
  Sources sources;
  const auto entry = config.is_object() ? config.find("chat_template") : config.end();
  if (!config.is_object() || entry == config.end() || entry->is_null()) return sources;
  if (entry->is_string()) {
    sources.main = entry->get<std::string>();
    sources.has_main = true;
    return sources;
  }
  if (!entry->is_array()) {
    return Status(Code::malformed, path.string() + ": \"chat_template\" is neither a string nor a list");
  }
  for (const Json& named : *entry) {
    if (!named.is_object() || !named.contains("name") || !named.contains("template") || !named["name"].is_string() ||
        !named["template"].is_string()) {
      return Status(Code::malformed,
                    path.string() + ": an item of \"chat_template\" is not {\"name\": …, \"template\": …}");
    }
    const auto& name = named["name"].get_ref<const std::string&>();
    if (name == "default") {
      sources.main = named["template"].get<std::string>();
      sources.has_main = true;
    } else if (name == "tool_use") {
      sources.tool_use = named["template"].get<std::string>();
      sources.has_tool_use = true;
    }
  }
  if (!sources.has_main) {
    return Status(Code::malformed, path.string() + ": \"chat_template\" is a list without the name \"default\"");
  }
  return sources;
}

}  // namespace

Result<ChatTemplate> ChatTemplate::parse(std::string source, std::string name) {
  ZAYA_ASSIGN(auto main, jinja::Template::parse(std::move(source), std::move(name)));
  return ChatTemplate(std::move(main));
}

Result<ChatTemplate> ChatTemplate::load(const fs::path& model_directory) {
  const fs::path config_path = model_directory / "tokenizer_config.json";
  ZAYA_ASSIGN(const Json config, read_json(config_path));
  ZAYA_ASSIGN(const Json map, read_json(model_directory / "special_tokens_map.json"));

  Sources sources;
  const fs::path template_path = model_directory / "chat_template.jinja";
  std::error_code ignored;
  std::string name = "chat_template.jinja";
  if (fs::exists(template_path, ignored)) {
    ZAYA_ASSIGN(sources.main, read_file(template_path, kMaxTemplateFile));
    sources.has_main = true;
  } else {
    name = "tokenizer_config.json's chat_template";
    ZAYA_ASSIGN(sources, sources_in(config, config_path));
  }
  if (!sources.has_main) {
    return Status(Code::not_found,
                  model_directory.string() +
                      " holds no chat template: neither chat_template.jinja nor \"chat_template\" in "
                      "tokenizer_config.json",
                  "base models have none; give a template's file, or prompt with plain text");
  }
  ZAYA_ASSIGN(ChatTemplate result, parse(std::move(sources.main), name));
  if (sources.has_tool_use) {
    ZAYA_ASSIGN(result.tool_use_, jinja::Template::parse(std::move(sources.tool_use), name + " (tool_use)"));
  }
  collect_special_tokens(config, result.special_tokens_);
  collect_special_tokens(map, result.special_tokens_);
  return result;
}

Result<std::string> ChatTemplate::render(const Json& variables) const { return render(variables, {}); }

Result<std::string> ChatTemplate::render(const Json& variables, const jinja::RenderOptions& options) const {
  if (!variables.is_object()) {
    return Status(Code::invalid_argument, "the variables of a chat template must be a JSON object",
                  "put the list of messages under \"messages\"");
  }
  Json all = {
      {"messages", Json::array()}, {"tools", nullptr}, {"documents", nullptr}, {"add_generation_prompt", false}};
  for (const auto& [name, value] : special_tokens_.items()) all[name] = value;
  for (const auto& [name, value] : variables.items()) {
    if (name == "messages") {
      all[name] = with_reasoning_aliases(value);
    } else {
      all[name] = value;
    }
  }
  const bool with_tools = tool_use_ && !all["tools"].is_null();
  return (with_tools ? tool_use_ : main_)->render(all, options);
}

}  // namespace zaya::text
