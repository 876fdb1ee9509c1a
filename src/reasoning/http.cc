#include "reasoning/http.h"

#include <fmt/format.h>

#include <algorithm>

#include "nlohmann/json.hpp"
#include "text/utf8.h"

namespace zaya::reasoning {
namespace {

using Json = nlohmann::ordered_json;

const Json* member(const Json& json, const char* key) {
  if (!json.is_object()) return nullptr;
  const auto found = json.find(key);
  return found == json.end() ? nullptr : &*found;
}

std::string text_of(const Json* json) { return json != nullptr && json->is_string() ? json->get<std::string>() : ""; }

int64_t count_of(const Json* json) {
  if (json == nullptr || !json->is_number_integer()) return -1;
  return std::clamp<int64_t>(json->get<int64_t>(), -1, int64_t{1} << 32);
}

}  // namespace

Status EventStream::push(std::string_view bytes, const std::function<Status(std::string_view)>& take) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    line_ += bytes.substr(0, end);
    if (line_.size() + data_.size() > kLongestEvent) {
      return Status(Code::out_of_range, fmt::format("an event is longer than {} bytes", kLongestEvent));
    }
    if (end == std::string_view::npos) return Status();
    bytes.remove_prefix(end + 1);
    if (line_.ends_with('\r')) line_.pop_back();
    if (line_.empty()) {
      if (has_data_) {
        has_data_ = false;
        const std::string payload = std::exchange(data_, {});
        ZAYA_RETURN_IF_ERROR(take(payload));
      }
    } else if (line_.starts_with("data:")) {
      if (has_data_) data_ += '\n';
      has_data_ = true;
      data_ += std::string_view(line_).substr(line_.size() > 5 && line_[5] == ' ' ? 6 : 5);
    }
    line_.clear();
  }
  return Status();
}

Result<ChatChunk> parse_chat_chunk(std::string_view payload) {
  ChatChunk chunk;
  if (payload == "[DONE]") {
    chunk.done = true;
    return chunk;
  }
  const Json json = Json::parse(payload, nullptr, false);
  if (!json.is_object()) return Status(Code::malformed, "an event is no JSON object");
  if (const Json* error = member(json, "error"); error != nullptr && !error->is_null()) {
    chunk.error = error->is_string() ? error->get<std::string>() : text_of(member(*error, "message"));
    if (chunk.error.empty()) chunk.error = "the server reports an error";
  }
  if (const Json* choices = member(json, "choices"); choices != nullptr && choices->is_array() && !choices->empty()) {
    const Json& choice = choices->front();
    const Json* delta = member(choice, "delta");
    if (delta == nullptr) delta = member(choice, "message");
    if (delta != nullptr) {
      chunk.reasoning = text_of(member(*delta, "reasoning_content"));
      if (chunk.reasoning.empty()) chunk.reasoning = text_of(member(*delta, "reasoning"));
      chunk.content = text_of(member(*delta, "content"));
    }
    chunk.finish = text_of(member(choice, "finish_reason"));
  }
  if (const Json* usage = member(json, "usage"); usage != nullptr) {
    chunk.prompt_tokens = count_of(member(*usage, "prompt_tokens"));
    chunk.completion_tokens = count_of(member(*usage, "completion_tokens"));
    if (const Json* details = member(*usage, "prompt_tokens_details"); details != nullptr) {
      chunk.cached_prompt_tokens = count_of(member(*details, "cached_tokens"));
    }
  }
  return chunk;
}

std::string chat_body(const Job& job, const std::string& model, int64_t max_tokens, const std::string& extra) {
  Json body = {{"messages", Json::array({{{"role", "user"}, {"content", job.prompt.text()}}})},
               {"stream", true},
               {"stream_options", {{"include_usage", true}}},
               {"max_tokens", max_tokens},
               {"temperature", job.sampling.temperature},
               {"top_p", job.sampling.top_p},
               {"seed", job.seed}};
  if (!model.empty()) body["model"] = model;
  // Not all servers know these two; they are sent only when they do something.
  if (job.sampling.top_k > 0) body["top_k"] = job.sampling.top_k;
  if (job.sampling.min_p > 0) body["min_p"] = job.sampling.min_p;
  if (const Json more = Json::parse(extra, nullptr, false); more.is_object()) body.update(more);
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::string> first_model(std::string_view body) {
  const Json json = Json::parse(body, nullptr, false);
  const Json* data = member(json, "data");
  if (data != nullptr && data->is_array() && !data->empty()) {
    if (std::string id = text_of(member(data->front(), "id")); !id.empty()) return id;
  }
  return Status(Code::malformed, "the server names no model");
}

std::string error_text(long http_status, std::string_view body) {
  const Json json = Json::parse(body, nullptr, false);
  std::string text;
  if (const Json* error = member(json, "error"); error != nullptr) {
    text = error->is_string() ? error->get<std::string>() : text_of(member(*error, "message"));
  }
  if (text.empty()) text = body.substr(0, 200);
  text = text::replace_controls(text);
  std::replace(text.begin(), text.end(), '\n', ' ');
  constexpr size_t kShown = 300;
  if (text.size() > kShown) text = text::replace_invalid_utf8(std::string_view(text).substr(0, kShown)) + "…";
  return fmt::format("HTTP {}{}{}", http_status, text.empty() ? "" : ": ", text);
}

}  // namespace zaya::reasoning
