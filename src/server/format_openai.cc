// OpenAI's chat completions and completions.
#include <fmt/format.h>

#include "server/format.h"

namespace zaya::server {
namespace {

// JSON has no infinities; OpenAI writes −9999 for what has no chance at all.
double json_logprob(float value) { return value > -9999.0f ? static_cast<double>(value) : -9999.0; }

class ChatFormat : public Format {
 public:
  using Format::Format;

  std::string begin() override {
    std::string events;
    for (size_t i = 0; i < ask_.prompts.size() * static_cast<size_t>(ask_.n); ++i) {
      events += sse(chunk(i, {{"role", "assistant"}, {"content", ""}}));
      calls_.push_back(-1);
    }
    return events;
  }

  std::string delta(size_t choice, const Delta& delta) override {
    std::string events;
    Json logprobs = ask_.logprobs && !delta.tokens.empty() ? logprob_list(delta.tokens) : Json();
    for (const Part& part : delta.parts) {
      const bool reasoning = part.kind == Part::Kind::reasoning;
      if (reasoning || (part.kind == Part::Kind::content && logprobs.is_null())) {
        events += text_event(choice, reasoning ? "reasoning_content" : "content", part.text);
        continue;
      }
      Json fields = Json::object();
      switch (part.kind) {
        case Part::Kind::reasoning: break;
        case Part::Kind::content: fields["content"] = part.text; break;
        case Part::Kind::call:
          fields["tool_calls"] = Json::array({Json{{"index", ++calls_[choice]},
                                                   {"id", part.id},
                                                   {"type", "function"},
                                                   {"function", {{"name", part.text}, {"arguments", ""}}}}});
          break;
        case Part::Kind::arguments:
          fields["tool_calls"] =
              Json::array({Json{{"index", calls_[choice]}, {"function", {{"arguments", part.text}}}}});
          break;
      }
      Json event = chunk(choice, std::move(fields));
      if (!logprobs.is_null()) {
        event["choices"][0]["logprobs"] = {{"content", std::move(logprobs)}, {"refusal", nullptr}};
        logprobs = nullptr;
      }
      events += sse(event);
    }
    if (!logprobs.is_null()) {
      Json event = chunk(choice, {{"content", ""}});
      event["choices"][0]["logprobs"] = {{"content", std::move(logprobs)}, {"refusal", nullptr}};
      events += sse(event);
    }
    return events;
  }

  std::string finish(size_t choice, const Choice& state) override {
    Json event = chunk(choice, Json::object());
    event["choices"][0]["finish_reason"] = state.finish;
    event["timings"] = timings(state.outcome);
    return sse(event);
  }

  std::string end(const std::vector<Choice>&, const Usage& usage) override {
    std::string events;
    if (ask_.include_usage) {
      Json event = frame("chat.completion.chunk");
      event["choices"] = Json::array();
      event["usage"] = openai_usage(usage);
      events = sse(event);
    }
    return events + "data: [DONE]\n\n";
  }

  std::string failure(const ApiError& error) override { return "data: " + error.openai_body() + "\n\n"; }

  // A chunk without choices.
  std::string run_line(const std::string& line) override {
    std::string chunk = dump(frame("chat.completion.chunk"));
    chunk.pop_back();
    return "data: " + chunk + ",\"choices\":[],\"markovian_rsa\":" + line + "}\n\n";
  }

  Json whole(const std::vector<Choice>& choices, const Usage& usage) override {
    Json answer = frame("chat.completion");
    answer["choices"] = Json::array();
    for (size_t i = 0; i < choices.size(); ++i) {
      const Choice& choice = choices[i];
      Json message = {{"role", "assistant"}, {"content", choice.content}, {"refusal", nullptr}};
      if (choice.content.empty() && !choice.calls.empty()) message["content"] = nullptr;
      if (!choice.reasoning.empty() && ask_.show_reasoning) message["reasoning_content"] = choice.reasoning;
      for (const Call& call : choice.calls) {
        message["tool_calls"].push_back({{"id", call.id},
                                         {"type", "function"},
                                         {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
      }
      Json logprobs;
      if (ask_.logprobs) logprobs = {{"content", logprob_list(choice.tokens)}, {"refusal", nullptr}};
      answer["choices"].push_back({{"index", i},
                                   {"message", std::move(message)},
                                   {"logprobs", std::move(logprobs)},
                                   {"finish_reason", choice.finish}});
    }
    answer["usage"] = openai_usage(usage);
    answer["timings"] = timings(choices.front().outcome);
    return answer;
  }

 private:
  Json frame(const char* object) const {
    return {{"id", "chatcmpl-" + ask_.id}, {"object", object}, {"created", created_}, {"model", backend_.model_name}};
  }

  Json chunk(size_t choice, Json delta) const {
    Json event = frame("chat.completion.chunk");
    event["choices"] = Json::array(
        {Json{{"index", choice}, {"delta", std::move(delta)}, {"logprobs", nullptr}, {"finish_reason", nullptr}}});
    return event;
  }

  // sse(chunk(choice, {{field, text}})) without the tree: nearly all events are of this kind, one for each token.
  std::string text_event(size_t choice, const char* field, const std::string& text) {
    if (event_begin_.empty()) {
      event_begin_ = "data: " + dump(frame("chat.completion.chunk"));
      event_begin_.back() = ',';  // was }
    }
    return fmt::format(R"({}"choices":[{{"index":{},"delta":{{"{}":{}}},"logprobs":null,"finish_reason":null}}]}})",
                       event_begin_, choice, field, dump(text)) +
           "\n\n";
  }

  Json token_entry(text::TokenId token, float logprob) const {
    const std::string bytes = token_bytes(backend_.tokenizer(), token);
    Json values = Json::array();
    for (const char c : bytes) values.push_back(static_cast<unsigned char>(c));
    return {{"token", bytes}, {"logprob", json_logprob(logprob)}, {"bytes", std::move(values)}};
  }

  Json logprob_list(const std::vector<engine::Sampled>& tokens) const {
    Json list = Json::array();
    for (const engine::Sampled& sampled : tokens) {
      Json entry = token_entry(sampled.token, sampled.chosen ? sampled.chosen->logprob : 0);
      Json top = Json::array();
      for (const auto& one : sampled.top) top.push_back(token_entry(one.token, one.logprob));
      entry["top_logprobs"] = std::move(top);
      list.push_back(std::move(entry));
    }
    return list;
  }

  const int64_t created_ = unix_time();
  std::vector<int> calls_;   // index of each choice's last call
  std::string event_begin_;  // what all events begin with
};

class CompletionFormat : public Format {
 public:
  using Format::Format;

  std::string begin() override {
    std::string events;
    offsets_.assign(ask_.prompts.size() * static_cast<size_t>(ask_.n), 0);
    for (size_t i = 0; ask_.echo && i < offsets_.size(); ++i) events += sse(chunk(i, echoed(i)));
    return events;
  }

  std::string delta(size_t choice, const Delta& delta) override {
    std::string text;
    for (const Part& part : delta.parts) text += part.text;
    Json event = chunk(choice, text);
    if (ask_.logprobs) event["choices"][0]["logprobs"] = logprobs(delta.tokens, offsets_[choice]);
    return sse(event);
  }

  std::string finish(size_t choice, const Choice& state) override {
    Json event = chunk(choice, "");
    event["choices"][0]["finish_reason"] = state.finish;
    event["timings"] = timings(state.outcome);
    return sse(event);
  }

  std::string end(const std::vector<Choice>&, const Usage& usage) override {
    std::string events;
    if (ask_.include_usage) {
      Json event = frame();
      event["choices"] = Json::array();
      event["usage"] = openai_usage(usage);
      events = sse(event);
    }
    return events + "data: [DONE]\n\n";
  }

  std::string failure(const ApiError& error) override { return "data: " + error.openai_body() + "\n\n"; }

  Json whole(const std::vector<Choice>& choices, const Usage& usage) override {
    Json answer = frame();
    answer["choices"] = Json::array();
    for (size_t i = 0; i < choices.size(); ++i) {
      size_t offset = 0;
      answer["choices"].push_back({{"text", (ask_.echo ? echoed(i) : "") + choices[i].content},
                                   {"index", i},
                                   {"logprobs", ask_.logprobs ? logprobs(choices[i].tokens, offset) : Json()},
                                   {"finish_reason", choices[i].finish}});
    }
    answer["usage"] = openai_usage(usage);
    answer["timings"] = timings(choices.front().outcome);
    return answer;
  }

 private:
  std::string echoed(size_t choice) const { return ask_.prompt_texts[choice / static_cast<size_t>(ask_.n)]; }

  Json frame() const {
    return {{"id", "cmpl-" + ask_.id},
            {"object", "text_completion"},
            {"created", created_},
            {"model", backend_.model_name}};
  }

  Json chunk(size_t choice, const std::string& text) const {
    Json event = frame();
    event["choices"] =
        Json::array({Json{{"text", text}, {"index", choice}, {"logprobs", nullptr}, {"finish_reason", nullptr}}});
    return event;
  }

  Json logprobs(const std::vector<engine::Sampled>& tokens, size_t& offset) const {
    Json texts = Json::array(), chosen = Json::array(), top = Json::array(), offsets = Json::array();
    for (const engine::Sampled& sampled : tokens) {
      const std::string text = token_bytes(backend_.tokenizer(), sampled.token);
      texts.push_back(text);
      chosen.push_back(json_logprob(sampled.chosen ? sampled.chosen->logprob : 0));
      Json likeliest = Json::object();
      for (const auto& one : sampled.top) {
        likeliest[token_bytes(backend_.tokenizer(), one.token)] = json_logprob(one.logprob);
      }
      top.push_back(std::move(likeliest));
      offsets.push_back(offset);
      offset += text.size();
    }
    return {{"tokens", std::move(texts)},
            {"token_logprobs", std::move(chosen)},
            {"top_logprobs", std::move(top)},
            {"text_offset", std::move(offsets)}};
  }

  const int64_t created_ = unix_time();
  std::vector<size_t> offsets_;
};

}  // namespace

std::unique_ptr<Format> chat_format(const Ask& ask, const Backend& backend) {
  return std::make_unique<ChatFormat>(ask, backend);
}

std::unique_ptr<Format> completion_format(const Ask& ask, const Backend& backend) {
  return std::make_unique<CompletionFormat>(ask, backend);
}

}  // namespace zaya::server
