// Markovian RSA through the API, without sockets: a scripted generator under a real run.
#include "server/run_answer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <sstream>

#include "reasoning/journal.h"
#include "reasoning/scripted_generator.h"
#include "server/test_support.h"

namespace zaya::server {
namespace {

using testing::HasSubstr;

// Generates until it is cancelled.
class EndlessGenerator : public reasoning::ScriptedGenerator {
 public:
  explicit EndlessGenerator(std::atomic<int>& alive) : alive_(alive) { ++alive_; }
  ~EndlessGenerator() override { --alive_; }

  std::vector<reasoning::Event> wait(double seconds) override {
    if (!cancelled.empty()) return ScriptedGenerator::wait(seconds);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return {{.job = submitted.front().id, .text = "x", .new_tokens = 1}};
  }

 private:
  std::atomic<int>& alive_;
};

class SmallGenerator : public reasoning::ScriptedGenerator {
 public:
  int64_t context() const override { return 2048; }
};

class Runs : public testing::Test {
 protected:
  void SetUp() override {
    Result<Session> opened = Session::open(std::filesystem::path(ZAYA_SOURCE_DIR) / "models/nano", {.threads = 1});
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    Backend backend = script.backend(std::make_shared<const Session>(std::move(opened).value()));
    backend.make_generator = [this]() -> std::unique_ptr<reasoning::Generator> {
      if (endless) return std::make_unique<EndlessGenerator>(alive);
      auto made = std::make_unique<SmallGenerator>();
      made->script = [this](const reasoning::Job& job) {
        return reasoning::ScriptedGenerator::Script{fmt::format("thought {}", job.id), says, fails};
      };
      return made;
    };
    ApiOptions options;
    options.runs = {.max_runs = 1, .max_candidates = 20, .max_new_tokens = 50'000, .max_parallel = 3};
    api = std::make_unique<Api>(std::move(backend), options, [this](const std::string& line) {
      const std::lock_guard lock(mutex);
      lines.push_back(line);
    });
  }

  static std::string body(const std::string& fields, const std::string& run) {
    return R"({"messages": [{"role": "user", "content": "2 + 2?"}], )" + fields + R"("markovian_rsa": )" + run + "}";
  }
  Json post(const std::string& body, int status = 200) {
    const auto responder = ask(*api, "POST", "/v1/chat/completions", body);
    EXPECT_EQ(responder->response.status, status) << responder->response.body;
    return Json::parse(responder->response.body, nullptr, false);
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

  // Until everything is logged: a client has its answer a moment before.
  void wait_for_end() {
    const auto ended = [&] {
      const std::lock_guard lock(mutex);
      return !lines.empty() && api->metrics().running == 0;
    };
    while (!ended()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }

  Script script;
  std::string says = "\\boxed{4}";
  bool fails = false, endless = false;
  std::atomic<int> alive{0};
  std::mutex mutex;
  std::vector<std::string> lines;
  std::unique_ptr<Api> api;
};

// Early stop is off, so that all candidates of all rounds are made.
const char* kSmall = R"({"preset": "tiny", "N": 4, "C": 2, "T": 1, "seed": 3, "early_stop": false})";

TEST_F(Runs, WholeIsOneCompletionWithUsageByRound) {
  const Json answer = post(body("", kSmall));
  EXPECT_EQ(answer["object"], "chat.completion");
  ASSERT_EQ(answer["choices"].size(), 1u);
  const Json& choice = answer["choices"][0];
  EXPECT_EQ(choice["message"]["content"], "\\boxed{4}");
  EXPECT_THAT(choice["message"]["reasoning_content"].get<std::string>(), HasSubstr("thought"));
  EXPECT_EQ(choice["finish_reason"], "stop");
  const Json& usage = answer["usage"];
  const Json& rounds = usage["markovian_rsa"]["rounds"];
  ASSERT_EQ(rounds.size(), 2u);
  for (const char* field : {"prompt_tokens", "completion_tokens"}) {
    EXPECT_EQ(rounds[0][field].get<int64_t>() + rounds[1][field].get<int64_t>(), usage[field].get<int64_t>()) << field;
    EXPECT_GT(rounds[0][field], 0) << field;
  }
  EXPECT_EQ(rounds[1]["candidates"], 4);
  EXPECT_GT(rounds[1]["prompt_tokens"], rounds[0]["prompt_tokens"]);  // it reads tails
  EXPECT_EQ(usage["markovian_rsa"]["stopped"], "complete");
  EXPECT_EQ(answer["markovian_rsa"]["event"], "result");
  EXPECT_EQ(answer["markovian_rsa"]["answer"], "4");
  wait_for_end();
  const std::lock_guard lock(mutex);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(Json::parse(lines[0])["new_tokens"], usage["completion_tokens"]);
}

TEST_F(Runs, TheStreamHoldsTheJournalAndThenTheAnswer) {
  const auto responder = ask(*api, "POST", "/v1/chat/completions",
                             body(R"("stream": true, "stream_options": {"include_usage": true}, )", kSmall));
  ASSERT_TRUE(responder->streamed) << responder->response.body;
  std::istringstream stream(responder->response.body);
  std::string journal, content, reasoning, finish;
  Json usage;
  bool done = false;
  for (std::string line; std::getline(stream, line);) {
    if (line.empty()) continue;
    ASSERT_TRUE(line.starts_with("data: ")) << line;
    ASSERT_FALSE(done);
    if ((done = line == "data: [DONE]")) continue;
    const Json chunk = Json::parse(line.substr(6));
    ASSERT_EQ(chunk["object"], "chat.completion.chunk");
    if (chunk.contains("markovian_rsa")) {
      EXPECT_EQ(chunk["choices"], Json::array());
      EXPECT_EQ(content, "");
      if (chunk["markovian_rsa"]["event"] != "progress") journal += dump(chunk["markovian_rsa"]) + "\n";
    } else if (chunk.contains("usage")) {
      usage = chunk["usage"];
    } else {
      const Json& choice = chunk["choices"][0];
      content += choice["delta"].value("content", "");
      reasoning += choice["delta"].value("reasoning_content", "");
      if (choice["finish_reason"].is_string()) finish = choice["finish_reason"].get<std::string>();
    }
  }
  EXPECT_TRUE(done);
  EXPECT_EQ(content, "\\boxed{4}");
  EXPECT_THAT(reasoning, HasSubstr("thought"));
  EXPECT_EQ(finish, "stop");
  EXPECT_EQ(usage["markovian_rsa"]["rounds"].size(), 2u);
  // What came is a journal like any other.
  const auto saved = reasoning::parse_journal(journal);
  ASSERT_TRUE(saved.ok()) << saved.status().to_string();
  EXPECT_TRUE(saved->complete);
  EXPECT_EQ(saved->traces.size(), 8u);
  EXPECT_EQ(saved->problem, "2 + 2?");
  EXPECT_EQ(saved->settings.population, 4);
}

TEST_F(Runs, WhatCannotBeDoneIsRefusedByName) {
  const struct {
    std::string body, param;
  } cases[] = {
      {body("", "5"), "markovian_rsa"},
      {body("", R"({"N": 0})"), "markovian_rsa.N"},
      {body("", R"({"N": "many"})"), "markovian_rsa.N"},
      {body("", R"({"preset": "tiny", "N": 2, "C": 3})"), "markovian_rsa.C"},
      {body("", R"({"preset": "tiny", "carry": "resume"})"), "markovian_rsa.C"},
      {body("", R"({"T": 1000})"), "markovian_rsa.T"},
      {body("", R"({"preset": "tiny", "T": 2})"), "markovian_rsa.N"},  // 24 candidates, and 20 are allowed
      {body("", R"({"beta": -1})"), "markovian_rsa.beta"},
      {body("", R"({"tau": 1.5})"), "markovian_rsa.tau"},
      {body("", R"({"final_budget": 0})"), "markovian_rsa.final_budget"},
      {body("", R"({"seed": "x"})"), "markovian_rsa.seed"},
      {body("", R"({"preset": "huge"})"), "markovian_rsa.preset"},
      {body("", R"({"method": "magic"})"), "markovian_rsa.method"},
      {body("", R"({"method": "best-of"})"), "markovian_rsa.method"},
      {body("", R"({"choice": "verifier"})"), "markovian_rsa.choice"},
      {body("", R"({"widths": [1, "a"]})"), "markovian_rsa.widths"},
      {body("", R"({"preset": "tiny", "widths": [4, 4]})"), "markovian_rsa.widths"},
      {body("", R"({"max_new_tokens": 50001})"), "markovian_rsa.max_new_tokens"},
      {body("", R"({"max_seconds": -1})"), "markovian_rsa.max_seconds"},
      {body("", R"({"prompts": "/etc/passwd"})"), "markovian_rsa.prompts"},
      {body("", R"({"population": 4})"), "markovian_rsa.population"},
      {body(R"("n": 2, )", kSmall), "n"},
      {body(R"("stop": "x", )", kSmall), "stop"},
      {body(R"("presence_penalty": 1, )", kSmall), "presence_penalty"},
      {body(R"("reasoning_effort": "none", )", kSmall), "markovian_rsa"},
      {R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], "markovian_rsa": {}})",
       "messages[0]"},
      {R"({"messages": [{"role": "user", "content": "u"}, {"role": "user", "content": "u"}], "markovian_rsa": {}})",
       "messages[1]"},
      {R"({"messages": [{"role": "user", "content": " "}], "markovian_rsa": {}})", "messages[0].content"},
      {R"({"markovian_rsa": {}})", "messages"},
      // The room itself refuses what does not fit the model, before the stream begins.
      {body(R"("stream": true, )", R"({"preset": "small", "N": 4, "T": 1})"), "markovian_rsa"},
  };
  for (const auto& one : cases) EXPECT_EQ(post(one.body, 400)["error"]["param"], one.param) << one.body;
  wait_for_end();
}

TEST_F(Runs, AsAResponse) {
  const std::string end = std::string(R"("input": "2 + 2?", "markovian_rsa": )") + kSmall + "}";
  const auto whole = Json::parse(ask(*api, "POST", "/v1/responses", "{" + end)->response.body);
  EXPECT_EQ(whole["object"], "response");
  EXPECT_EQ(whole["status"], "completed");
  ASSERT_EQ(whole["output"].size(), 2u) << whole;
  EXPECT_EQ(whole["output"][0]["type"], "reasoning");
  EXPECT_EQ(whole["output"][1]["content"][0]["text"], "\\boxed{4}");
  EXPECT_EQ(whole["usage"]["markovian_rsa"]["rounds"].size(), 2u);
  EXPECT_EQ(whole["markovian_rsa"]["answer"], "4");

  const auto streamed = ask(*api, "POST", "/v1/responses", R"({"stream": true, )" + end);
  std::istringstream stream(streamed->response.body);
  std::string journal, text;
  int64_t number = 0;
  Json event;
  for (std::string name, data, blank; std::getline(stream, name);) {
    ASSERT_TRUE(std::getline(stream, data) && std::getline(stream, blank) && blank.empty());
    ASSERT_TRUE(name.starts_with("event: ") && data.starts_with("data: ")) << name;
    event = Json::parse(data.substr(6));
    EXPECT_EQ(event["type"], name.substr(7));
    EXPECT_EQ(event["sequence_number"], number++);
    if (event["type"] == "response.output_text.delta") text += event["delta"].get<std::string>();
    if (event["type"] != "response.markovian_rsa.line" || event["markovian_rsa"]["event"] == "progress") continue;
    EXPECT_EQ(text, "");
    journal += dump(event["markovian_rsa"]) + "\n";
  }
  EXPECT_EQ(event["type"], "response.completed");
  EXPECT_EQ(event["response"]["usage"]["markovian_rsa"]["stopped"], "complete");
  EXPECT_EQ(text, "\\boxed{4}");
  const auto saved = reasoning::parse_journal(journal);
  ASSERT_TRUE(saved.ok()) << saved.status().to_string();
  EXPECT_EQ(saved->traces.size(), 8u);

  // What a run cannot be asked for is refused as ever.
  EXPECT_EQ(ask(*api, "POST", "/v1/responses", R"({"instructions": "be brief", )" + end)->response.status, 400);
  EXPECT_EQ(ask(*api, "POST", "/v1/responses", R"({"previous_response_id": "x", )" + end)->response.status, 400);
  wait_for_end();
}

TEST_F(Runs, KeysHaveLimitsOfTheirOwn) {
  ApiOptions options;
  options.runs.max_runs = 8;
  options.keys = {{"small", {.requests = 2, .runs = 1, .run_tokens = 500}}, {"large", {}}};
  Api limited(api->backend(), options, {});
  script.text = "x</think>y";
  const auto status = [&](const char* key, const std::string& body) {
    const Headers headers = {{"authorization", std::string("Bearer ") + key}};
    return ask(limited, "POST", "/v1/chat/completions", body, headers)->response.status;
  };
  const std::string plain = R"({"messages": [{"role": "user", "content": "x"}]})";
  for (int i = 0; i < 3; ++i) EXPECT_EQ(status("small", plain), 200);  // one after the other, as many as they like
  EXPECT_EQ(status("small", body("", R"({"preset": "tiny", "max_new_tokens": 501})")), 400);
  EXPECT_EQ(status("large", body("", R"({"preset": "tiny", "max_new_tokens": 501})")), 200);

  endless = true;
  const auto running = std::make_shared<FakeResponder>();
  HttpRequest request;
  request.method = "POST";
  request.path = "/v1/chat/completions";
  request.headers = {{"x-api-key", "small"}};
  request.body = body(R"("stream": true, )", kSmall);
  limited.handle(std::move(request), running);
  running->wait_for_writes(3);
  EXPECT_EQ(status("small", body("", kSmall)), 429);  // a second run
  EXPECT_EQ(status("small", plain), 200);             // a second request
  running->go_away();
  while (limited.metrics().running > 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  running->forget();
  endless = false;
  EXPECT_EQ(status("small", body("", kSmall)), 200);
}

TEST(Keys, AreReadWithTheirLimits) {
  const ApiKey key = *parse_key("  sk-1\truns=2 requests=7 run-tokens=90000\r");
  EXPECT_EQ(key.key, "sk-1");
  EXPECT_EQ(key.limits.requests, 7);
  EXPECT_EQ(key.limits.runs, 2);
  EXPECT_EQ(key.limits.run_tokens, 90000);
  EXPECT_EQ(parse_key("sk=1")->key, "sk=1");
  for (const char* wrong : {"", "  ", "k runs", "k runs=", "k runs=0", "k runs=-1", "k runs=1x", "k runs=1 runs=2",
                            "k walks=1", "k requests=99999999999999999999"}) {
    EXPECT_FALSE(parse_key(wrong).ok()) << wrong;
  }
  KeyUse use;
  auto first = use.enter({.requests = 2, .runs = 1}, true);
  EXPECT_EQ(use.enter({.requests = 2, .runs = 1}, true), nullptr);
  const auto second = use.enter({.requests = 2, .runs = 1}, false);
  EXPECT_NE(second, nullptr);
  EXPECT_EQ(use.enter({.requests = 2}, false), nullptr);
  first.reset();
  EXPECT_NE(use.enter({.requests = 2, .runs = 1}, true), nullptr);
}

TEST_F(Runs, PlainFieldsStandForTheRunsOwn) {
  const auto settings = [&](const std::string& fields, const std::string& run) {
    RunAsk asked;
    std::optional<ApiError> error;
    const RunLimits limits;
    parse_run(Json::parse(body(fields, run)), {api->backend(), AskLimits()}, limits, asked, error);
    EXPECT_FALSE(error.has_value()) << error->message;
    return asked.settings;
  };
  const std::string plain =
      R"("temperature": 0.5, "top_p": 0.9, "seed": 9, "max_completion_tokens": 700, "thinking_budget": 99, )";
  const auto outer = settings(plain, "{}");
  EXPECT_EQ(outer.population, 8);  // tiny: all that this model has room for
  EXPECT_EQ(outer.thinking_budget, 99);
  EXPECT_EQ(outer.sampling.temperature, 0.5);
  EXPECT_EQ(outer.sampling.top_p, 0.9);
  EXPECT_EQ(outer.seed, 9u);
  EXPECT_EQ(outer.max_new_tokens, 700);
  const auto inner =
      settings(plain, R"({"temperature": 1, "seed": 4, "beta": 50, "max_new_tokens": 800, "method": "vote"})");
  EXPECT_EQ(inner.thinking_budget, 50);
  EXPECT_EQ(inner.sampling.temperature, 1);
  EXPECT_EQ(inner.seed, 4u);
  EXPECT_EQ(inner.max_new_tokens, 800);
  EXPECT_EQ(inner.rounds, 0);
  // A limit that a run cannot reach does not make it go round by round.
  EXPECT_EQ(settings("", "{}").max_new_tokens, -1);
  EXPECT_EQ(settings("", R"({"preset": "extra-high"})").max_new_tokens, RunLimits().max_new_tokens);
}

TEST_F(Runs, ARunOfFailuresIsAnError) {
  fails = true;
  EXPECT_EQ(post(body("", kSmall), 500)["error"]["type"], "server_error");
  const auto responder = ask(*api, "POST", "/v1/chat/completions", body(R"("stream": true, )", kSmall));
  EXPECT_THAT(responder->response.body, HasSubstr("\"error\""));
  EXPECT_THAT(responder->response.body, testing::Not(HasSubstr("[DONE]")));
}

TEST_F(Runs, AClientThatVanishesEndsItsRunAndFreesItsPlace) {
  endless = true;
  const auto gone = begin(body(R"("stream": true, )", kSmall));
  gone->wait_for_writes(3);
  // The only place is taken.
  const auto refused = ask(*api, "POST", "/v1/chat/completions", body("", kSmall));
  EXPECT_EQ(refused->response.status, 429) << refused->response.body;
  EXPECT_THAT(refused->response.headers, testing::Contains(testing::Key("Retry-After")));
  gone->go_away();
  while (alive > 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_FALSE(gone->ended());
  EXPECT_EQ(api->metrics().running, 0);
  gone->forget();
  endless = false;
  int status = 429;  // the generator is gone a moment before the thread is
  while (status == 429) status = ask(*api, "POST", "/v1/chat/completions", body("", kSmall))->response.status;
  EXPECT_EQ(status, 200);
}

TEST_F(Runs, TheServersEndEndsRuns) {
  endless = true;
  const auto responder = begin(body("", kSmall));
  while (alive == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  api->end_runs();
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(responder->response.status, 503) << responder->response.body;
  responder->forget();
}

TEST_F(Runs, ModelsSayWhetherRunsAreOffered) {
  const auto flag = [](Api& one) {
    return Json::parse(ask(one, "GET", "/v1/models", "")->response.body)["data"][0]["markovian_rsa"];
  };
  EXPECT_EQ(flag(*api), true);
  ApiOptions none;
  none.runs.max_runs = 0;
  Api without(api->backend(), none, {});
  EXPECT_EQ(flag(without), false);
  const auto refused = ask(without, "POST", "/v1/chat/completions", body("", kSmall));
  EXPECT_EQ(refused->response.status, 400);
  EXPECT_THAT(refused->response.body, HasSubstr("markovian_rsa"));
}

}  // namespace
}  // namespace zaya::server
