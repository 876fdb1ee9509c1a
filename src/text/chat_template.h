// The chat template of a model: a Jinja template that turns a conversation into the text the model was trained on.
//
// What it renders is what Hugging Face transformers' apply_chat_template renders, byte for byte: jinja2's immutable
// sandbox with trim_blocks and lstrip_blocks, loop controls, generation blocks, its own tojson, raise_exception and
// strftime_now. Templates come from outside: every loop, string, nesting and the output is bounded (jinja::Limits).
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "nlohmann/json.hpp"
#include "text/jinja/template.h"

namespace zaya::text {

// Ordered: a template that prints a mapping or turns one into JSON shows the order in which it was written.
using Json = nlohmann::ordered_json;

class ChatTemplate {
 public:
  // `name` stands in error messages. malformed: not a template, with the line; unsupported: a construct we lack.
  static Result<ChatTemplate> parse(std::string source, std::string name = "chat_template");

  // chat_template.jinja in the model's directory, else "chat_template" of tokenizer_config.json: a string, or a list of
  // {name, template}, of which "default" serves, and "tool_use", if there is one, serves when tools are given. Also
  // reads the special tokens' texts (bos_token, eos_token, …) of tokenizer_config.json and special_tokens_map.json,
  // which templates read as variables. not_found: the directory holds no template.
  static Result<ChatTemplate> load(const std::filesystem::path& model_directory);

  // `variables` is an object: messages, tools, add_generation_prompt, enable_thinking, …: whatever the template reads.
  // As in transformers: tools and documents are none and add_generation_prompt is false when not given; a special
  // token not given is the model's; a message's reasoning is found under "reasoning_content" and "thinking" whichever
  // of reasoning_content, thinking and reasoning names it.
  // invalid_argument: the template refused (raise_exception) or failed, as Jinja would, with the line;
  // unsupported: it used something we lack; resource_exhausted: it went beyond a limit.
  Result<std::string> render(const Json& variables) const;

  // As above with limits and a clock of the caller's choice.
  Result<std::string> render(const Json& variables, const jinja::RenderOptions& options) const;

  // The model's special tokens by their names, e.g. {"bos_token": "<bos>"}; empty for a template from parse().
  const Json& special_tokens() const { return special_tokens_; }

 private:
  explicit ChatTemplate(std::shared_ptr<const jinja::Template> main) : main_(std::move(main)) {}

  std::shared_ptr<const jinja::Template> main_;
  std::shared_ptr<const jinja::Template> tool_use_;  // may be null
  Json special_tokens_ = Json::object();
};

}  // namespace zaya::text
