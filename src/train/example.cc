#include "train/example.h"

#include <fmt/format.h>

#include <algorithm>

namespace zaya::train {
namespace {

constexpr std::string_view kOpen = "<think>", kClose = "</think>";

Example example_of(std::vector<int32_t> tokens, size_t loss_from) {
  Example example;
  example.loss.assign(tokens.size(), 0);
  std::fill(example.loss.begin() + static_cast<std::ptrdiff_t>(std::min(loss_from, tokens.size())), example.loss.end(),
            uint8_t{1});
  if (!example.loss.empty()) example.loss[0] = 0;
  example.tokens = std::move(tokens);
  return example;
}

// The answer of an assistant's message, without its reasoning.
std::string without_reasoning(const std::string& content) {
  const size_t close = content.rfind(kClose);
  if (close == std::string::npos) return content;
  const size_t begin = content.find_first_not_of('\n', close + kClose.size());
  return begin == std::string::npos ? std::string() : content.substr(begin);
}

bool is_message(const text::Json& message) {
  return message.is_object() && message.contains("role") && message["role"].is_string() &&
         message.contains("content") && message["content"].is_string();
}

}  // namespace

Result<Encoder> Encoder::load(const std::filesystem::path& folder, int64_t context, bool loss_on_all) {
  ZAYA_ASSIGN(text::Tokenizer tokenizer, text::Tokenizer::load(folder / "tokenizer.json"));
  ZAYA_ASSIGN(text::ChatTemplate chat_template, text::ChatTemplate::load(folder));
  Encoder encoder(std::move(tokenizer), std::move(chat_template));
  encoder.context_ = context;
  encoder.loss_on_all_ = loss_on_all;
  encoder.bos_ = encoder.tokenizer_.id_of("<bos>");
  if (const auto eos = encoder.tokenizer_.id_of("<eos>")) encoder.eos_ = *eos;
  encoder.end_of_turn_ = "<|im_end|>\n";
  if (!encoder.tokenizer_.id_of("<|im_end|>")) {
    return Status(Code::unsupported, fmt::format("the tokenizer of {} has no <|im_end|>", folder.string()));
  }
  return encoder;
}

std::optional<Example> Encoder::text(std::string_view text) const {
  std::vector<int32_t> tokens;
  if (bos_) tokens.push_back(*bos_);
  const std::vector<int32_t> body = tokenizer_.encode(text, {.add_special_tokens = false, .parse_special = false});
  tokens.insert(tokens.end(), body.begin(), body.end());
  tokens.push_back(eos_);
  if (static_cast<int64_t>(tokens.size()) > context_ || tokens.size() < 2) return std::nullopt;
  return example_of(std::move(tokens), 1);
}

Result<std::vector<int32_t>> Encoder::prompt(const text::Json& messages, bool think) const {
  text::Json variables;
  variables["messages"] = messages;
  variables["add_generation_prompt"] = true;
  variables["enable_thinking"] = think;
  ZAYA_ASSIGN(const std::string rendered, template_.render(variables));
  return tokenizer_.encode(rendered);
}

Result<std::optional<Example>> Encoder::chat(const text::Json& messages) const {
  const bool well_formed = messages.is_array() && messages.size() >= 2 &&
                           std::all_of(messages.begin(), messages.end(), is_message) &&
                           messages.back()["role"] == "assistant";
  if (!well_formed) {
    return Status(Code::invalid_argument, "messages must be a list of role and content that ends with the assistant's");
  }
  std::string content = messages.back()["content"].get<std::string>();
  std::string reasoning, rest = content;
  const bool think = content.starts_with(kOpen);
  if (think) {
    const size_t close = content.find(kClose);
    if (close == std::string::npos) {
      return Status(Code::invalid_argument, "the assistant's message opens <think> and never closes it");
    }
    size_t begin = kOpen.size();
    if (begin < close && content[begin] == '\n') ++begin;  // the generation prompt holds it
    const size_t end = close > begin && content[close - 1] == '\n' ? close - 1 : close;
    reasoning = content.substr(begin, end - begin);
    rest = content.substr(end);
  }
  rest += end_of_turn_;

  text::Json history = messages;
  history.erase(history.size() - 1);
  ZAYA_ASSIGN(std::vector<int32_t> tokens, prompt(history, think));
  std::vector<int32_t> target = tokenizer_.encode(reasoning + rest);
  const auto fits = [&] { return static_cast<int64_t>(tokens.size() + target.size()) <= context_; };
  if (!fits()) {
    for (auto& message : history) {
      if (message["role"] == "assistant") {
        message["content"] = without_reasoning(message["content"].get<std::string>());
      }
    }
    ZAYA_ASSIGN(tokens, prompt(history, think));
  }
  if (!fits()) {
    const std::vector<int32_t> end = tokenizer_.encode(rest);
    const int64_t room = context_ - static_cast<int64_t>(tokens.size() + end.size());
    if (room < 0 || (room == 0 && !reasoning.empty())) return std::optional<Example>();
    target = tokenizer_.encode(reasoning);
    if (static_cast<int64_t>(target.size()) > room) target.resize(static_cast<size_t>(room));
    target.insert(target.end(), end.begin(), end.end());
  }
  const size_t loss_from = loss_on_all_ ? 1 : tokens.size();
  tokens.insert(tokens.end(), target.begin(), target.end());
  return std::optional<Example>(example_of(std::move(tokens), loss_from));
}

}  // namespace zaya::train
