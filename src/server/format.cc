#include "server/format.h"

#include <cmath>
#include <ctime>

namespace zaya::server {

void Delta::append(Part::Kind kind, std::string text, std::string id) {
  if (kind != Part::Kind::call && text.empty()) return;
  if (kind != Part::Kind::call && !parts.empty() && parts.back().kind == kind) {
    parts.back().text += text;
  } else {
    parts.push_back({kind, std::move(text), std::move(id)});
  }
}

void Choice::append(const Delta& delta) {
  for (const Part& part : delta.parts) {
    switch (part.kind) {
      case Part::Kind::reasoning: reasoning += part.text; break;
      case Part::Kind::content: content += part.text; break;
      case Part::Kind::call: calls.push_back({part.id, part.text, ""}); break;
      case Part::Kind::arguments: calls.back().arguments += part.text; break;
    }
  }
  tokens.insert(tokens.end(), delta.tokens.begin(), delta.tokens.end());
}

std::string sse(const Json& data, const char* event) {
  std::string text;
  if (event != nullptr) text = std::string("event: ") + event + "\n";
  return text + "data: " + dump(data) + "\n\n";
}

int64_t unix_time() { return static_cast<int64_t>(std::time(nullptr)); }

Json openai_usage(const Usage& usage) {
  Json json = {{"prompt_tokens", usage.prompt_tokens},
               {"completion_tokens", usage.completion_tokens},
               {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
               {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
               {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
  if (!usage.markovian_rsa.is_null()) json["markovian_rsa"] = usage.markovian_rsa;
  return json;
}

Json timings(const engine::Outcome& outcome) {
  const auto milliseconds = [](double seconds) { return std::round(seconds * 1e6) / 1e3; };
  const auto rate = [](int64_t tokens, double seconds) {
    return seconds > 0 && tokens > 0 ? std::round(static_cast<double>(tokens) / seconds * 1e3) / 1e3 : 0.0;
  };
  const int64_t fresh = outcome.prompt_tokens - outcome.cached_prompt_tokens;
  const int64_t made = static_cast<int64_t>(outcome.tokens.size());
  return {{"queue_ms", milliseconds(outcome.queue_seconds)},
          {"cache_n", outcome.cached_prompt_tokens},
          {"prompt_n", fresh},
          {"prompt_ms", milliseconds(outcome.prefill_seconds)},
          {"prompt_per_second", rate(fresh, outcome.prefill_seconds)},
          {"predicted_n", made},
          {"predicted_ms", milliseconds(outcome.decode_seconds)},
          // The first token belongs to the prompt's time.
          {"predicted_per_second", rate(made - 1, outcome.decode_seconds)}};
}

std::string token_bytes(const text::Tokenizer& tokenizer, text::TokenId token) {
  const std::string_view text = tokenizer.token(token);
  if (text.size() == 6 && text.starts_with("<0x") && text.ends_with('>')) {
    const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
    return std::string(1, static_cast<char>(digit(text[3]) * 16 + digit(text[4])));
  }
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with("\u2581")) {  // SentencePiece's space
      out += ' ';
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace zaya::server
