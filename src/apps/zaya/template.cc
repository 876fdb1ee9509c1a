// zaya template: a conversation through a chat template; plumbing with JSON on stdout.
#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "apps/zaya/common.h"
#include "apps/zaya/verbs.h"
#include "text/chat_template.h"

namespace zaya::app {
namespace {

struct Options {
  std::string model, messages, tools;
  bool jsonl = false, no_think = false, no_generation_prompt = false, raw = false;
};

// MODEL may also be a template file itself.
Result<text::ChatTemplate> load_template(const std::string& given) {
  ZAYA_ASSIGN(const std::filesystem::path path, model_directory(given));
  if (std::filesystem::is_directory(path)) return text::ChatTemplate::load(path);
  ZAYA_ASSIGN(std::string source, read_file(path, size_t{16} << 20));
  return text::ChatTemplate::parse(std::move(source), path.filename().string());
}

Result<text::Json> read_json(const std::string& path) {
  ZAYA_ASSIGN(const std::string content, read_file(path, size_t{64} << 20));
  text::Json json = text::Json::parse(content, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return Status(Code::malformed, fmt::format("{} is not JSON", path));
  return json;
}

// An array is the messages; an object is all of the template's variables.
Result<text::Json> variables_from(text::Json json, const Options& options) {
  if (json.is_array()) json = text::Json{{"messages", std::move(json)}};
  if (!json.is_object())
    return Status(Code::invalid_argument, "expected an array of messages or an object of variables");
  if (!json.contains("add_generation_prompt")) json["add_generation_prompt"] = !options.no_generation_prompt;
  if (options.no_think) json["enable_thinking"] = false;
  return json;
}

Status run(const Options& options) {
  ZAYA_ASSIGN(const text::ChatTemplate chat_template, load_template(options.model));
  if (options.jsonl) {
    // The line's variables are all there is, so that a test controls every one.
    for (std::string line; std::getline(std::cin, line);) {
      const text::Json variables = text::Json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (!variables.is_object()) return Status(Code::invalid_argument, "expected a JSON object on each line");
      const Result<std::string> text = chat_template.render(variables);
      fmt::print("{}\n",
                 json_text(text.ok() ? text::Json{{"text", *text}} : text::Json{{"error", text.status().to_string()}}));
    }
    return Status();
  }
  if (options.messages.empty()) return Status(Code::invalid_argument, "--messages FILE is missing");
  ZAYA_ASSIGN(text::Json messages, read_json(options.messages));
  ZAYA_ASSIGN(text::Json variables, variables_from(std::move(messages), options));
  if (!options.tools.empty()) {
    ZAYA_ASSIGN(variables["tools"], read_json(options.tools));
  }
  ZAYA_ASSIGN(const std::string text, chat_template.render(variables));
  fmt::print("{}\n", options.raw ? text : json_text({{"text", text}}));
  return Status();
}

}  // namespace

Action add_template(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  verb.add_option("MODEL", options->model, "Model directory or a template file");
  verb.add_option("--messages", options->messages, "JSON file: an array of messages, or an object of variables");
  verb.add_option("--tools", options->tools, "JSON file: the tools' schemas");
  verb.add_flag("--no-think", options->no_think, "Set enable_thinking to false");
  verb.add_flag("--no-generation-prompt", options->no_generation_prompt, "Do not open the assistant's turn");
  verb.add_flag("--raw", options->raw, "Print the text itself instead of JSON");
  verb.add_flag("--jsonl", options->jsonl,
                "One object of variables per line in, {\"text\"} or {\"error\"} per line out");
  return [options] {
    const Status status = run(*options);
    return status.ok() ? kFine : fail(status);
  };
}

}  // namespace zaya::app
