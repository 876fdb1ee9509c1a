// The APIs without sockets: with a scripted engine where the words matter, with the embedded model where the path does.
#include "server/api.h"

#include <gmock/gmock.h>

#include <sstream>
#include <thread>

#include "server/test_support.h"

namespace zaya::server {
namespace {

using testing::HasSubstr;

std::shared_ptr<const Session> nano() {
  static const auto session = [] {
    Result<Session> opened = Session::open(std::filesystem::path(ZAYA_SOURCE_DIR) / "models/nano", {.threads = 1});
    EXPECT_TRUE(opened.ok()) << opened.status().to_string();
    return std::make_shared<const Session>(std::move(opened).value());
  }();
  return session;
}

Json parsed(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  EXPECT_FALSE(json.is_discarded()) << text;
  return json;
}

struct SseEvent {
  std::string name;
  Json data;  // null for [DONE]
};

std::vector<SseEvent> events(const std::string& stream) {
  std::vector<SseEvent> list;
  std::istringstream lines(stream);
  std::string name;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("event: ")) name = line.substr(7);
    if (!line.starts_with("data: ")) continue;
    const std::string data = line.substr(6);
    list.push_back({std::exchange(name, ""), data == "[DONE]" ? Json() : parsed(data)});
  }
  return list;
}

const char* kTools = R"("tools": [{"type": "function", "function": {"name": "weather", "description": "d", "parameters":
  {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}])";
const char* kCall =
    "I should look.\n</think>\n\nOne moment.\n<zyphra_tool_call><function=weather><parameter=city>\nOslo\n</parameter>"
    "<parameter=days>\n2\n</parameter></function></zyphra_tool_call>";

class Scripted : public testing::Test {
 protected:
  Json post(const std::string& path, const std::string& body, int status = 200) {
    const auto responder = ask(api, "POST", path, body);
    EXPECT_EQ(responder->response.status, status) << responder->response.body;
    return parsed(responder->response.body);
  }
  std::vector<SseEvent> stream(const std::string& path, const std::string& body) {
    const auto responder = ask(api, "POST", path, body);
    EXPECT_TRUE(responder->streamed) << responder->response.body;
    return events(responder->response.body);
  }

  Script script{.text = "Let me see.\n</think>\n\nThe answer is 4."};
  std::vector<std::string> lines;
  Api api{script.backend(nano()), {}, [this](const std::string& line) { lines.push_back(line); }};
};

TEST_F(Scripted, ChatWholeKeepsReasoningApart) {
  const Json answer =
      post("/v1/chat/completions", R"({"model": "x", "messages": [{"role": "user", "content": "2+2?"}]})");
  const Json& choice = answer["choices"][0];
  EXPECT_EQ(answer["object"], "chat.completion");
  EXPECT_EQ(choice["message"]["reasoning_content"], "Let me see.\n");
  EXPECT_EQ(choice["message"]["content"],
            "\n\nThe answer is 4.");  // the engine drops these breaks, the script does not
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_EQ(answer["usage"]["prompt_tokens"], script.requests[0].prompt.size());
  EXPECT_GT(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 2);
  const Json line = parsed(lines.at(0));
  EXPECT_EQ(line["status"], 200);
  EXPECT_EQ(line["finish"], "stop");
  EXPECT_THAT(lines[0], testing::Not(HasSubstr("2+2")));
}

TEST_F(Scripted, ChatStreamIsTheWholeAnswerInPieces) {
  const auto list =
      stream("/v1/chat/completions", R"({"stream": true, "stream_options": {"include_usage": true}, "n": 2,
      "seed": 9, "logprobs": true, "top_logprobs": 2, "messages": [{"role": "user", "content": "2+2?"}]})");
  std::string reasoning[2], content[2], finish[2];
  size_t logprobs = 0;
  for (const SseEvent& event : list) {
    if (event.data.is_null() || event.data["choices"].empty()) continue;
    const Json& choice = event.data["choices"][0];
    const size_t i = choice["index"];
    reasoning[i] += choice["delta"].value("reasoning_content", "");
    content[i] += choice["delta"].value("content", "");
    if (choice["finish_reason"].is_string()) finish[i] = choice["finish_reason"];
    if (choice["logprobs"].is_object()) {
      for (const Json& token : choice["logprobs"]["content"]) {
        ++logprobs;
        EXPECT_EQ(token["top_logprobs"].size(), 2u);
      }
    }
  }
  for (size_t i : {0, 1}) {
    EXPECT_EQ(reasoning[i], "Let me see.\n");
    EXPECT_EQ(content[i], "\n\nThe answer is 4.");
    EXPECT_EQ(finish[i], "stop");
  }
  EXPECT_GT(logprobs, 8u);
  EXPECT_EQ(script.requests[0].sampling.seed, 9u);
  EXPECT_EQ(script.requests[1].sampling.seed, 10u);
  ASSERT_GE(list.size(), 3u);
  EXPECT_TRUE(list.back().data.is_null());
  EXPECT_GT(list[list.size() - 2].data["usage"]["completion_tokens"], 10);
}

TEST_F(Scripted, ToolCallsInOpenAisShape) {
  script.text = kCall;
  const std::string request = std::string(R"({"messages": [{"role": "user", "content": "Weather?"}], )") + kTools;
  const Json message = post("/v1/chat/completions", request + "}")["choices"][0]["message"];
  EXPECT_EQ(message["content"], "\n\nOne moment.");
  EXPECT_EQ(message["tool_calls"][0]["function"]["name"], "weather");
  EXPECT_EQ(parsed(message["tool_calls"][0]["function"]["arguments"]), parsed(R"({"city": "Oslo", "days": 2})"));

  std::string arguments, id, finish;
  for (const SseEvent& event : stream("/v1/chat/completions", request + R"(, "stream": true})")) {
    if (event.data.is_null()) continue;
    const Json& choice = event.data["choices"][0];
    if (choice["finish_reason"].is_string()) finish = choice["finish_reason"];
    if (!choice["delta"].contains("tool_calls")) continue;
    const Json& call = choice["delta"]["tool_calls"][0];
    EXPECT_EQ(call["index"], 0);
    if (call.contains("id")) id = call["id"];
    arguments += call["function"]["arguments"].get<std::string>();
  }
  EXPECT_EQ(parsed(arguments), parsed(R"({"city": "Oslo", "days": 2})"));
  EXPECT_TRUE(id.starts_with("call_"));
  EXPECT_EQ(finish, "tool_calls");
  // A call that is cut off is no call that a client should make.
  script.text = std::string(kCall).substr(0, 120);
  script.finish = engine::Finish::length;
  EXPECT_EQ(post("/v1/chat/completions", request + "}")["choices"][0]["finish_reason"], "length");
}

TEST_F(Scripted, ARequiredCallIsBegunForTheModel) {
  script.text = "<parameter=city>\nRome\n</parameter></function>";
  const Json answer = post("/v1/chat/completions", std::string(R"({"messages": [{"role": "user", "content": "?"}], )") +
                                                       kTools + R"(, "parallel_tool_calls": false, "tool_choice":
      {"type": "function", "function": {"name": "weather"}}})");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "tool_calls");
  EXPECT_EQ(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], R"({"city": "Rome"})");
  EXPECT_FALSE(script.requests[0].thinking.starts_inside);
  EXPECT_THAT(script.requests[0].stop_strings, testing::ElementsAre("</zyphra_tool_call>"));
}

TEST_F(Scripted, SettingsReachTheEngine) {
  post("/v1/chat/completions", R"({"messages": [{"role": "developer", "content": [{"type": "text", "text": "a"},
      {"type": "text", "text": "b"}]}, {"role": "user", "content": "c"}], "temperature": 0.5, "top_p": 0.9, "top_k": -1,
      "min_p": 0.1, "presence_penalty": 1, "frequency_penalty": -1, "repetition_penalty": 1.1, "logit_bias": {"7": -100},
      "stop": ["x", "y"], "max_tokens": 5, "max_completion_tokens": 6, "reasoning_effort": "low", "seed": -1,
      "an_unknown_field": {"is": "ignored"}, "user": null})");
  const engine::Request& request = script.requests.at(0);
  EXPECT_EQ(request.sampling.temperature, 0.5);
  EXPECT_EQ(request.sampling.top_k, 0);
  EXPECT_EQ(request.sampling.min_p, 0.1);
  EXPECT_EQ(request.sampling.frequency_penalty, -1);
  EXPECT_EQ(request.sampling.logit_bias.at(0), std::pair(7, -100.0f));
  EXPECT_EQ(request.max_tokens, 6);
  EXPECT_EQ(request.thinking.budget, 1024);
  EXPECT_THAT(request.stop_strings, testing::ElementsAre("x", "y"));
  EXPECT_THAT(nano()->engine->tokenizer().decode(request.prompt), HasSubstr("system\na\nb"));

  for (const char* off : {R"("reasoning_effort": "none")", R"("chat_template_kwargs": {"enable_thinking": false})"}) {
    post("/v1/chat/completions", std::string(R"({"messages": [{"role": "user", "content": "c"}], )") + off + "}");
    EXPECT_FALSE(script.requests.back().thinking.starts_inside);
  }
}

TEST_F(Scripted, WrongFieldsAreNamed) {
  const auto field = [&](const std::string& path, const std::string& fields) {
    const auto responder = ask(api, "POST", path, "{" + fields + "}");
    EXPECT_EQ(responder->response.status, 400) << fields << responder->response.body;
    const Json error = parsed(responder->response.body)["error"];
    return error["param"].is_string() ? error["param"].get<std::string>() : error["message"].get<std::string>();
  };
  const std::string ok = R"("messages": [{"role": "user", "content": "x"}], )";
  const std::pair<const char*, const char*> cases[] = {
      {R"("temperature": "hot")", "temperature"},
      {R"("temperature": -1)", "temperature"},
      {R"("temperature": 1e400)", ""},
      {R"("top_p": 0)", "top_p"},
      {R"("n": 0)", "n"},
      {R"("n": 100000)", "n"},
      {R"("n": 1.5)", "n"},
      {R"("max_tokens": -5)", "max_tokens"},
      {R"("max_tokens": 1e30)", "max_tokens"},
      {R"("seed": 99999999999999999999)", "seed"},
      {R"("stop": 7)", "stop"},
      {R"("logit_bias": {"x": 1})", "logit_bias"},
      {R"("logit_bias": {"7": 1e9})", "logit_bias"},
      {R"("logit_bias": {"99999": 1})", "logit_bias"},
      {R"("top_logprobs": 3)", "top_logprobs"},
      {R"("stream": "yes")", "stream"},
      {R"("stream_options": [])", "stream_options"},
      {R"("reasoning_effort": "ultra")", "reasoning_effort"},
      {R"("markovian_rsa": {"rounds": 2})", "markovian_rsa"},
      {R"("thinking_budget": -2)", "thinking_budget"},
      {R"("response_format": {"type": "json_object"})", "response_format.type"},
      {R"("tools": [{"type": "function", "function": {"name": "a b"}}])", "tools[0].function.name"},
      {R"("tool_choice": "required")", "tool_choice"},
      {R"("chat_template_kwargs": {"tools": []})", "chat_template_kwargs.tools"},
      {R"("messages": [])", "messages"},
      {R"("messages": [{"role": "robot", "content": "x"}])", "messages[0].role"},
      {R"("messages": [{"role": "user"}])", "messages[0].content"},
      {R"("messages": ["x"])", "messages[0]"},
      {R"("messages": [{"role": "user", "content": [{"type": "image_url"}]}])", "messages[0].content[0].type"},
      {R"("messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}])",
       "messages[0].tool_calls[0].function.arguments"}};
  for (const auto& [fields, param] : cases) {
    // A later field of the same name wins.
    const std::string found = field("/v1/chat/completions", ok + fields);
    if (*param != '\0') {
      EXPECT_EQ(found, param) << fields;
    }
  }
  EXPECT_EQ(field("/v1/chat/completions", ""), "messages");
  EXPECT_EQ(field("/v1/completions", R"("prompt": [1, 99999])"), "prompt");
  EXPECT_EQ(field("/v1/completions", R"("prompt": {})"), "prompt");
  EXPECT_EQ(field("/v1/responses", R"("input": [{"type": "image"}])"), "input[0].type");
  EXPECT_EQ(field("/v1/responses", R"("input": "x", "previous_response_id": "resp_1")"), "previous_response_id");
  EXPECT_EQ(field("/detokenize", R"("tokens": [-1])"), "tokens");
  EXPECT_THAT(field("/v1/chat/completions", std::string(100'000, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(field("/v1/chat/completions", "\"a\": \"\xFF\""), HasSubstr("UTF-8"));
  std::string many = "\"a0\": 0";
  for (int i = 1; i < 5000; ++i) many += ", \"a" + std::to_string(i) + "\": 0";
  EXPECT_THAT(field("/v1/chat/completions", many), HasSubstr("more than 1024 members"));
  EXPECT_TRUE(script.requests.size() <= 1) << "a wrong request reached the engine";
}

TEST_F(Scripted, Responses) {
  script.text = kCall;
  const std::string body = R"({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
      {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "r"}], "summary": []},
      {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{\"city\": \"A\"}"},
      {"type": "function_call_output", "call_id": "c1", "output": "rain"}], "instructions": "Be short.",
      "tools": [{"type": "function", "name": "weather", "parameters": {"properties": {"days": {"type": "integer"}}}}])";
  const Json answer = post("/v1/responses", body + "}");
  EXPECT_EQ(answer["status"], "completed");
  ASSERT_EQ(answer["output"].size(), 3u);
  EXPECT_EQ(answer["output"][0]["content"][0]["text"], "I should look.\n");
  EXPECT_EQ(answer["output"][1]["content"][0]["text"], "\n\nOne moment.");
  EXPECT_EQ(answer["output"][2]["name"], "weather");
  EXPECT_EQ(parsed(answer["output"][2]["arguments"]), parsed(R"({"city": "Oslo", "days": 2})"));

  std::string text, arguments;
  int64_t number = 0;
  Json last;
  for (const SseEvent& event : stream("/v1/responses", body + R"(, "stream": true})")) {
    EXPECT_EQ(event.data["sequence_number"], number++);
    EXPECT_EQ(event.data["type"], event.name);
    if (event.name == "response.output_text.delta") text += event.data["delta"].get<std::string>();
    if (event.name == "response.function_call_arguments.delta") arguments += event.data["delta"].get<std::string>();
    last = event.data;
  }
  EXPECT_EQ(text, "\n\nOne moment.");
  EXPECT_EQ(parsed(arguments), parsed(R"({"city": "Oslo", "days": 2})"));
  EXPECT_EQ(last["type"], "response.completed");
  EXPECT_EQ(last["response"]["output"].size(), 3u);
}

TEST_F(Scripted, Messages) {
  script.text = kCall;
  const std::string body = R"({"max_tokens": 99, "system": [{"type": "text", "text": "S"}], "stop_sequences": ["Z"],
      "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [{"type": "thinking", "thinking": "t",
      "signature": ""}, {"type": "tool_use", "id": "u1", "name": "weather", "input": {"city": "B"}}]}, {"role": "user",
      "content": [{"type": "tool_result", "tool_use_id": "u1", "content": [{"type": "text", "text": "sun"}]}]}],
      "tools": [{"name": "weather", "input_schema": {"type": "object", "properties": {"days": {"type": "integer"}}}}])";
  // Thinking shows only when it is asked for.
  const Json quiet = post("/v1/messages", body + "}");
  EXPECT_EQ(quiet["content"][0]["type"], "text");
  EXPECT_EQ(quiet["stop_reason"], "tool_use");
  const Json answer = post("/v1/messages", body + R"(, "thinking": {"type": "enabled", "budget_tokens": 2000}})");
  EXPECT_EQ(script.requests.back().thinking.budget, 2000);
  ASSERT_EQ(answer["content"].size(), 3u);
  EXPECT_EQ(answer["content"][0]["thinking"], "I should look.\n");
  EXPECT_EQ(answer["content"][2]["input"], parsed(R"({"city": "Oslo", "days": 2})"));

  std::vector<std::string> names;
  std::string input;
  for (const SseEvent& event :
       stream("/v1/messages", body + R"(, "stream": true, "thinking": {"type": "adaptive"}})")) {
    if (names.empty() || names.back() != event.name) names.push_back(event.name);
    if (event.name == "content_block_delta") input += event.data["delta"].value("partial_json", "");
  }
  EXPECT_EQ(parsed(input), parsed(R"({"city": "Oslo", "days": 2})"));
  const std::vector<std::string> block = {"content_block_start", "content_block_delta", "content_block_stop"};
  std::vector<std::string> expected = {"message_start"};
  for (int i = 0; i < 3; ++i) expected.insert(expected.end(), block.begin(), block.end());
  expected.insert(expected.end(), {"message_delta", "message_stop"});
  EXPECT_EQ(names, expected);

  const Json error = post("/v1/messages", R"({"messages": [{"role": "user", "content": "x"}]})", 400);
  EXPECT_EQ(error["type"], "error");
  EXPECT_THAT(error["error"]["message"].get<std::string>(), HasSubstr("max_tokens"));
  EXPECT_EQ(post("/v1/messages/count_tokens", R"({"messages": [{"role": "user", "content": "x"}]})")["input_tokens"],
            post("/tokenize", R"({"messages": [{"role": "user", "content": "x"}]})")["count"]);
}

TEST_F(Scripted, FailuresMidwayAndBefore) {
  script.finish = engine::Finish::failed;
  const Json error = post("/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x"}]})", 500);
  EXPECT_EQ(error["error"]["type"], "server_error");
  const auto list =
      stream("/v1/chat/completions", R"({"stream": true, "messages": [{"role": "user", "content": "x"}]})");
  EXPECT_TRUE(list.back().data.contains("error"));
}

TEST_F(Scripted, PlainRoutes) {
  EXPECT_EQ(parsed(ask(api, "GET", "/v1/models", "")->response.body)["data"][0]["id"], "script");
  EXPECT_EQ(ask(api, "GET", "/v1/models/other", "")->response.status, 404);
  EXPECT_EQ(ask(api, "GET", "/v1/chat/completions", "")->response.status, 405);
  EXPECT_EQ(ask(api, "GET", "/nothing", "")->response.status, 404);
  const Json tokens = post("/tokenize", R"({"content": "12 + 3"})");
  EXPECT_EQ(post("/detokenize", dump({{"tokens", tokens["tokens"]}}))["content"], "12 + 3");
  EXPECT_THAT(post("/apply-template", R"({"messages": [{"role": "user", "content": "hey"}]})")["prompt"],
              HasSubstr("<|im_start|>user\nhey<|im_end|>\n<|im_start|>assistant\n<think>"));
  const auto health = ask(api, "GET", "/health", "", {{"x-request-id", "my-id"}});
  EXPECT_THAT(health->response.headers, testing::Contains(testing::Pair("X-Request-Id", "my-id")));
  const std::string metrics = ask(api, "GET", "/metrics", "")->response.body;
  EXPECT_THAT(metrics, HasSubstr("zaya_requests_total{route=\"/tokenize\",status=\"200\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("zaya_time_to_first_token_seconds_bucket{le=\"+Inf\"} 0\n"));
  EXPECT_EQ(ask(api, "GET", "/ready", "")->response.status, 200);
  api.set_draining();
  EXPECT_EQ(ask(api, "GET", "/ready", "")->response.status, 503);
  post("/v1/chat/completions", R"({"messages": [{"role": "user", "content": "x"}]})", 503);
}

TEST_F(Scripted, KeysAndOrigins) {
  Api guarded(script.backend(nano()),
              {.keys = {{"first", {}}, {"second", {}}}, .allow_origins = {"https://chat.example.org"}}, {});
  const auto status = [&](const char* path, Headers headers) {
    return ask(guarded, "GET", path, "", std::move(headers))->response.status;
  };
  EXPECT_EQ(status("/health", {}), 200);
  EXPECT_EQ(status("/v1/models", {}), 401);
  EXPECT_EQ(status("/nothing", {}), 401);
  EXPECT_EQ(status("/v1/models", {{"authorization", "Bearer wrong"}}), 401);
  EXPECT_EQ(status("/v1/models", {{"authorization", "Bearer "}}), 401);
  EXPECT_EQ(status("/v1/models", {{"authorization", "Bearer second"}}), 200);
  EXPECT_EQ(status("/v1/models", {{"x-api-key", "first"}}), 200);

  // Pages of other sites, and names that were made to point here.
  const auto origin = [&](Api& target, const char* from, const char* host) {
    return ask(target, "GET", "/v1/models", "", {{"origin", from}, {"host", host}, {"x-api-key", "first"}})->response;
  };
  EXPECT_EQ(origin(api, "http://127.0.0.1:8080", "127.0.0.1:8080").status, 200);
  EXPECT_EQ(origin(api, "https://evil.example", "127.0.0.1:8080").status, 403);
  EXPECT_EQ(origin(api, "http://evil.example:8080", "evil.example:8080").status, 403);
  EXPECT_EQ(origin(api, "null", "127.0.0.1:8080").status, 403);
  const HttpResponse allowed = origin(guarded, "https://chat.example.org", "127.0.0.1:8080");
  EXPECT_EQ(allowed.status, 200);
  EXPECT_THAT(allowed.headers,
              testing::Contains(testing::Pair("Access-Control-Allow-Origin", "https://chat.example.org")));
  EXPECT_TRUE(constant_time_equal("abc", "abc"));
  EXPECT_FALSE(constant_time_equal("abc", "abcabc"));
  EXPECT_FALSE(constant_time_equal("abc", ""));
}

// ---- With the embedded model and the engine's own thread.

class Served : public testing::Test {
 protected:
  void start(engine::ServiceOptions options = {}) {
    Result<Session> session = Session::open(std::filesystem::path(ZAYA_SOURCE_DIR) / "models/nano", {.threads = 1});
    ASSERT_TRUE(session.ok()) << session.status().to_string();
    auto started = engine::Service::start(session->engine, std::move(options));
    ASSERT_TRUE(started.ok()) << started.status().to_string();
    service = std::move(*started);
    Backend backend;
    backend.session = std::make_shared<const Session>(std::move(*session));
    backend.model_name = "nano";
    backend.stats = [this] { return service->stats(); };
    backend.submit = [this](engine::Request request, engine::EventSink event,
                            engine::DoneSink done) -> Result<Backend::Cancel> {
      if (places-- == 0) return Status(Code::resource_exhausted, "the queue is full");
      ZAYA_ASSIGN(const auto ticket, service->submit(std::move(request), std::move(event), std::move(done)));
      return Backend::Cancel([ticket] { ticket->cancel(); });
    };
    api = std::make_unique<Api>(std::move(backend), ApiOptions(), std::function<void(const std::string&)>());
  }
  std::shared_ptr<FakeResponder> begin(const std::string& body) {
    const auto responder = std::make_shared<FakeResponder>();
    HttpRequest request;
    request.method = "POST";
    request.path = "/v1/chat/completions";
    request.body = body;
    api->handle(std::move(request), responder);
    return responder;
  }
  ~Served() override {
    if (service) (void)service->drain(0);
  }

  int places = -1;  // submits before one is refused; none is when negative
  std::unique_ptr<Api> api;
  std::unique_ptr<engine::Service> service;
};

const char* kQuestion = R"("messages": [{"role": "user", "content": "What is 47 * 86?"}], "temperature": 0)";

TEST_F(Served, AnswersWholeAndStreamed) {
  start();
  const auto whole = ask(*api, "POST", "/v1/chat/completions", std::string("{") + kQuestion + "}");
  const Json message = parsed(whole->response.body)["choices"][0]["message"];
  EXPECT_THAT(message["content"], HasSubstr("4042"));
  const auto streamed = ask(*api, "POST", "/v1/chat/completions", std::string("{\"stream\": true, ") + kQuestion + "}");
  std::string content, reasoning;
  for (const SseEvent& event : events(streamed->response.body)) {
    if (event.data.is_null()) continue;
    content += event.data["choices"][0]["delta"].value("content", "");
    reasoning += event.data["choices"][0]["delta"].value("reasoning_content", "");
  }
  EXPECT_EQ(content, message["content"]);
  EXPECT_EQ(reasoning, message["reasoning_content"]);

  // Raw text keeps its tags.
  const auto raw = ask(*api, "POST", "/v1/completions",
                       R"({"prompt": "<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n)"
                       R"(<|im_start|>assistant\n<think>\n", "temperature": 0,
                                                        "max_tokens": 200})");
  EXPECT_THAT(parsed(raw->response.body)["choices"][0]["text"], HasSubstr("</think>"));

  const std::string longest = std::string(30'000, '7');
  const auto refused =
      ask(*api, "POST", "/v1/chat/completions", R"({"messages": [{"role": "user", "content": ")" + longest + "\"}]}");
  EXPECT_EQ(parsed(refused->response.body)["error"]["code"], "context_length_exceeded");
}

TEST_F(Served, ASlowReaderGetsTheSameTextInFewerPieces) {
  start();
  const std::string body = std::string("{\"stream\": true, ") + kQuestion + "}";
  const auto quick = ask(*api, "POST", "/v1/chat/completions", body);
  const auto slow = begin(body);
  slow->set_writable(false);
  while (service->stats().finished < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  slow->set_writable(true);
  slow->wait();
  slow->forget();
  const auto text = [](const FakeResponder& responder) {
    std::string all;
    for (const SseEvent& event : events(responder.response.body)) {
      if (event.data.is_object()) all += event.data["choices"][0]["delta"].value("content", "");
    }
    return all;
  };
  EXPECT_EQ(text(*slow), text(*quick));
  EXPECT_LT(slow->writes, quick->writes);
}

TEST_F(Served, AClientThatVanishesFreesItsPlace) {
  start();
  const auto gone = begin(std::string("{\"stream\": true, \"ignore\": 1, \"n\": 3, ") + kQuestion + "}");
  gone->wait_for_writes(2);
  gone->go_away();
  while (service->stats().running + service->stats().queued > 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const engine::ServiceStats stats = service->stats();
  EXPECT_EQ(stats.cancelled + stats.finished, 3);
  EXPECT_FALSE(gone->ended());
  EXPECT_EQ(api->metrics().running, 0);
  gone->forget();
}

TEST_F(Served, AFullQueueIs429WithRetryAfter) {
  start();
  places = 2;
  const auto responder = ask(*api, "POST", "/v1/chat/completions", std::string("{\"n\": 16, ") + kQuestion + "}");
  ASSERT_EQ(responder->response.status, 429) << responder->response.body;
  EXPECT_THAT(responder->response.headers, testing::Contains(testing::Key("Retry-After")));
  while (service->stats().running + service->stats().queued > 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(ask(*api, "POST", "/v1/chat/completions", std::string("{") + kQuestion + "}")->response.status, 200);
}

}  // namespace
}  // namespace zaya::server
