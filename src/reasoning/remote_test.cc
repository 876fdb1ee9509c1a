// The remote generator against small scripted servers in this process: they stream, stall, break off, refuse and die.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <thread>

#include "engine/test_tokenizer.h"
#include "reasoning/http.h"
#include "reasoning/remote_generator.h"
#include "reasoning/remote_text.h"
#include "reasoning/solver.h"

namespace zaya::reasoning {
namespace {

using testing::HasSubstr;

// One thread for each connection; each request is answered by `answer` and the connection closed.
class Server {
 public:
  // Sends bytes; false when the client has gone.
  using Send = std::function<bool(std::string_view)>;
  using Answer = std::function<void(const std::string& path, const std::string& body, const Send&)>;

  explicit Server(Answer answer) : answer_(std::move(answer)) {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(socket_, 64), 0);
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { accept_all(); });
  }

  ~Server() { kill(); }

  // As a killed process: nothing answers any more, and what was under way breaks off.
  void kill() {
    if (dead_.exchange(true)) return;
    accepting_.join();
    ::close(socket_);
    for (std::thread& thread : threads_) thread.join();
  }

  std::string url() const { return fmt::format("http://127.0.0.1:{}/v1", port_); }
  std::atomic<int> requests{0};
  bool dead() const { return dead_; }

 private:
  void accept_all() {
    while (!dead_) {
      pollfd waiting{.fd = socket_, .events = POLLIN, .revents = 0};
      if (::poll(&waiting, 1, 20) <= 0) continue;
      const int connection = ::accept(socket_, nullptr, nullptr);
      if (connection >= 0) threads_.emplace_back([this, connection] { serve(connection); });
    }
  }

  void serve(int connection) {
    std::string request;
    size_t head = std::string::npos, length = 0;
    while (!dead_ && (head == std::string::npos || request.size() < head + 4 + length)) {
      pollfd waiting{.fd = connection, .events = POLLIN, .revents = 0};
      if (::poll(&waiting, 1, 20) <= 0) continue;
      char bytes[4096];
      const ssize_t count = ::recv(connection, bytes, sizeof bytes, 0);
      if (count <= 0) break;
      request.append(bytes, static_cast<size_t>(count));
      head = request.find("\r\n\r\n");
      const size_t field = request.find("Content-Length: ");
      if (field != std::string::npos && field < head) length = std::stoul(request.substr(field + 16));
    }
    ++requests;
    if (!dead_ && head != std::string::npos) {
      const size_t path = request.find(' ') + 1;
      answer_(
          request.substr(path, request.find(' ', path) - path), request.substr(head + 4), [&](std::string_view bytes) {
            return !dead_ &&
                   ::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
          });
    }
    ::close(connection);
  }

  Answer answer_;
  int socket_ = -1;
  uint16_t port_ = 0;
  std::atomic<bool> dead_{false};
  std::thread accepting_;
  std::vector<std::thread> threads_;
};

constexpr const char* kStream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

std::string refusal(int status, const std::string& headers = "") {
  const std::string body = R"({"error":{"message":"scripted"}})";
  return fmt::format("HTTP/1.1 {} No\r\nContent-Length: {}\r\n{}Connection: close\r\n\r\n{}", status, body.size(),
                     headers, body);
}

std::string delta(const std::string& field, const std::string& text) {
  return fmt::format("data: {{\"choices\":[{{\"delta\":{{\"{}\":\"{}\"}}}}]}}\n\n", field, text);
}

std::string ending(int prompt, int completion, const std::string& reason = "stop") {
  return fmt::format(
      "data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"{}\"}}]}}\n\n"
      "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{},\"completion_tokens\":{}}}}}\n\ndata: [DONE]\n\n",
      reason, prompt, completion);
}

// A server that thinks twelve tokens and answers.
void think_and_answer(const std::string&, const std::string&, const Server::Send& send) {
  if (!send(kStream)) return;
  for (int i = 0; i < 12; ++i) send(delta("reasoning_content", "step "));
  send(delta("content", "The answer "));
  send(delta("content", "is 4."));
  send(ending(9, 14));
}

RemoteSettings quick(std::vector<std::string> endpoints) {
  RemoteSettings settings;
  settings.endpoints = std::move(endpoints);
  settings.model = "m";
  settings.rest_seconds = 0.02;
  settings.longest_rest_seconds = 0.2;
  return settings;
}

Job job_of(int64_t id, int64_t thinking = 100, int64_t answer = 50) {
  Job job;
  job.id = id;
  job.prompt.user = {{.text = "2 + 2?"}};
  job.thinking_budget = thinking;
  job.answer_budget = answer;
  return job;
}

// Runs jobs to their ends; each must end exactly once.
std::map<int64_t, Trace> finish(RemoteGenerator& generator, std::vector<Job> jobs,
                                const std::function<void(const Event&)>& watch = {}) {
  std::map<int64_t, Trace> traces;
  const size_t count = jobs.size();
  for (Job& job : jobs) EXPECT_TRUE(generator.submit(std::move(job)).ok());
  for (int i = 0; i < 6000 && traces.size() < count; ++i) {
    for (Event& event : generator.wait(0.05)) {
      if (watch) watch(event);
      if (event.kind != Event::Kind::done) continue;
      EXPECT_TRUE(traces.emplace(event.job, std::move(*event.trace)).second) << "job " << event.job << " ends twice";
    }
  }
  EXPECT_EQ(traces.size(), count);
  return traces;
}

TEST(Remote, UnderstandsReasoningChannelsAndTags) {
  Server channel(think_and_answer);
  Server tags([](const std::string&, const std::string&, const Server::Send& send) {
    send(kStream);
    send(delta("content", "<thi"));
    send(delta("content", "nk>step</th"));
    send(delta("content", "ink>The answer is 4."));
    send(ending(9, 8));
  });
  Server inside([](const std::string&, const std::string&, const Server::Send& send) {  // the template opened the tag
    send(kStream);
    send(delta("content", "step</think>The answer is 4."));
    send(ending(9, 8));
  });
  Server whole([](const std::string&, const std::string&, const Server::Send& send) {  // no stream
    const std::string body = R"({"choices":[{"message":{"reasoning_content":"step","content":"The answer is 4."},)"
                             R"("finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":8}})";
    send(fmt::format("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}", body.size(),
                     body));
  });
  for (Server* server : {&channel, &tags, &inside, &whole}) {
    auto generator = RemoteGenerator::create(quick({server->url()}));
    ASSERT_TRUE(generator.ok()) << generator.status().to_string();
    std::string shown;
    const auto traces = finish(**generator, {job_of(5)}, [&](const Event& event) { shown += event.text; });
    const Trace& trace = traces.at(5);
    EXPECT_EQ(trace.end, End::stop) << trace.failure;
    EXPECT_TRUE(trace.closed);
    EXPECT_EQ(trace.answer.text, "The answer is 4.");
    EXPECT_THAT(trace.reasoning.text, testing::StartsWith("step"));
    EXPECT_TRUE(trace.reasoning.estimated);
    EXPECT_EQ(trace.prompt_tokens, 9);
    EXPECT_EQ(trace.new_tokens, server == &channel ? 14 : 8) << "as the server counted";
    EXPECT_EQ(trace.wasted_tokens, 0);
  }
}

// Three endpoints: one dies in the middle of its answers, one is busy and broken at first, one works.
TEST(Remote, MovesTheWorkOfADeadEndpoint) {
  std::atomic<int> streaming{0};
  Server dying([&](const std::string&, const std::string&, const Server::Send& send) {
    send(kStream);
    ++streaming;
    for (int i = 0; i < 100000 && send(delta("reasoning_content", "void ")); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  std::atomic<int> asked{0};
  Server moody([&](const std::string& path, const std::string& body, const Server::Send& send) {
    switch (asked++ % 5) {
      case 0: send(refusal(429, "Retry-After: 0\r\n")); return;
      case 1: send(refusal(500)); return;
      case 2:
        send(kStream);
        send(delta("content", "brok"));  // and closes
        return;
      default: think_and_answer(path, body, send);
    }
  });
  Server steady(think_and_answer);
  RemoteSettings settings = quick({dying.url(), moody.url(), steady.url()});
  settings.attempts = 50;
  auto generator = RemoteGenerator::create(settings);
  ASSERT_TRUE(generator.ok());

  Settings run_settings;
  run_settings.population = 6;
  run_settings.aggregation_size = 2;
  run_settings.rounds = 2;
  run_settings.thinking_budget = 100000;
  run_settings.tail_length = 8;
  run_settings.early_stop = false;
  Result<reasoning::Run> run = reasoning::Run::create("2 + 2?", run_settings, *Prompts::named("boxed"), {});
  ASSERT_TRUE(run.ok());
  class Killer : public Observer {
   public:
    Killer(Server& server, std::atomic<int>& streaming) : server_(server), streaming_(streaming) {}
    void on_tick(const reasoning::Run&) override {
      if (streaming_ > 0 && ++ticks_ == 3) server_.kill();
    }
    Server& server_;
    std::atomic<int>& streaming_;
    int ticks_ = 0;
  } killer(dying, streaming);
  Result<RunResult> result = solve(*run, **generator, nullptr, &killer, {});
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  EXPECT_TRUE(dying.dead());
  EXPECT_EQ(result->stopped, Stopped::complete);
  EXPECT_EQ(result->answer, "4");
  EXPECT_EQ(result->new_tokens, 18 * 14) << "nothing counts twice";
  EXPECT_GT(result->wasted_tokens, 0) << "what broke off was computed for nothing";
  EXPECT_EQ((*generator)->finished_by_endpoint()[0], 0);
  for (const auto& round : run->rounds()) {
    for (const Candidate& candidate : round) {
      EXPECT_EQ(candidate.trace.end, End::stop) << candidate.trace.failure;
      EXPECT_EQ(candidate.trace.reasoning.text.find("void"), std::string::npos);
    }
  }
}

TEST(Remote, SpreadsWorkByWhatIsOutstanding) {
  const auto slowly = [](int milliseconds) {
    return [milliseconds](const std::string& path, const std::string& body, const Server::Send& send) {
      std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
      think_and_answer(path, body, send);
    };
  };
  Server fast(slowly(5)), slow(slowly(300));
  RemoteSettings settings = quick({fast.url(), slow.url()});
  settings.per_endpoint = 2;
  auto generator = RemoteGenerator::create(settings);
  ASSERT_TRUE(generator.ok());
  EXPECT_EQ((*generator)->capacity(), 4);
  std::vector<Job> jobs;
  for (int64_t i = 0; i < 24; ++i) jobs.push_back(job_of(i));
  finish(**generator, std::move(jobs));
  const auto finished = (*generator)->finished_by_endpoint();
  EXPECT_EQ(finished[0] + finished[1], 24);
  EXPECT_GT(finished[0], finished[1]);
  EXPECT_GT(finished[1], 0);
}

// At β the stream is cut, and the answer asked for by a question of its own.
TEST(Remote, HoldsBudgetsWithATokenizer) {
  std::mutex mutex;
  std::vector<std::string> bodies;
  Server endless([&](const std::string&, const std::string& body, const Server::Send& send) {
    {
      const std::lock_guard lock(mutex);
      bodies.push_back(body);
    }
    send(kStream);
    if (body.find("no more time") != std::string::npos) {
      send(delta("content", "four"));
      send(ending(30, 4));
      return;
    }
    while (send(delta("reasoning_content", "ab"))) {
    }
  });
  RemoteSettings settings = quick({endless.url()});
  settings.tokenizer = engine::test_tokenizer();  // a token a letter
  auto generator = RemoteGenerator::create(settings);
  ASSERT_TRUE(generator.ok());
  Job job = job_of(1, 33, 10);
  job.closing = [](const Segment& reasoning) {
    Prompt prompt;
    prompt.user = {reasoning, {.text = " no more time"}};
    return prompt;
  };
  Trace trace = finish(**generator, {job}).at(1);
  EXPECT_EQ(trace.reasoning.count, 33);
  EXPECT_EQ(trace.reasoning.tokens.size(), 33u);
  EXPECT_EQ(trace.reasoning.text.size(), 33u);
  EXPECT_FALSE(trace.closed);
  EXPECT_EQ(trace.answer.text, "four");
  EXPECT_EQ(trace.end, End::stop);
  EXPECT_EQ(trace.new_tokens, 33 + 4);
  ASSERT_EQ(bodies.size(), 2u);
  EXPECT_THAT(bodies[0], HasSubstr("\"max_tokens\":43"));
  EXPECT_THAT(bodies[1], HasSubstr("enable_thinking"));

  job.close = Close::stop;
  trace = finish(**generator, {job}).at(1);
  EXPECT_EQ(trace.reasoning.count, 33);
  EXPECT_EQ(trace.end, End::length);
  EXPECT_TRUE(trace.answer.text.empty());
  Job thinking_only = job_of(2, 7, 0);
  EXPECT_EQ(finish(**generator, {thinking_only}).at(2).reasoning.count, 7);
}

TEST(Remote, FailsWhatCannotSucceed) {
  Server refusing([](const std::string&, const std::string&, const Server::Send& send) { send(refusal(400)); });
  Server locked([](const std::string&, const std::string&, const Server::Send& send) { send(refusal(401)); });
  Server flooding([](const std::string&, const std::string&, const Server::Send& send) {
    send(kStream);
    const std::string line(1 << 16, 'x');
    while (send(line)) {
    }
  });
  Server garbled([](const std::string&, const std::string&, const Server::Send& send) {
    send(kStream);
    send("data: {nonsense\n\n");
  });
  for (Server* server : {&refusing, &locked, &flooding, &garbled}) {
    RemoteSettings settings = quick({server->url()});
    settings.attempts = 2;
    auto generator = RemoteGenerator::create(settings);
    ASSERT_TRUE(generator.ok());
    const Trace trace = finish(**generator, {job_of(1)}).at(1);
    EXPECT_EQ(trace.end, End::failed);
    EXPECT_THAT(trace.failure, HasSubstr("127.0.0.1"));
    EXPECT_LE(server->requests, 2);
  }
  RemoteSettings nobody = quick({"http://127.0.0.1:1/v1"});
  nobody.attempts = 2;
  EXPECT_EQ(finish(**RemoteGenerator::create(nobody), {job_of(1)}).at(1).end, End::failed);

  for (const char* url : {"", "ftp://x", "http://", "localhost:80", "http://a b"}) {
    EXPECT_EQ(RemoteGenerator::create(quick({url})).status().code(), Code::invalid_argument) << url;
  }
  RemoteSettings extra = quick({"http://127.0.0.1:1"});
  extra.extra = "[]";
  EXPECT_EQ(RemoteGenerator::create(extra).status().code(), Code::invalid_argument);
  EXPECT_EQ(RemoteGenerator::create(quick({})).status().code(), Code::invalid_argument);
}

TEST(Remote, CancelsAndKeepsSecretsOutOfJournals) {
  Server endless([&](const std::string&, const std::string&, const Server::Send& send) {
    send(kStream);
    while (send(delta("reasoning_content", "ab"))) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  });
  RemoteSettings settings = quick({endless.url()});
  settings.per_endpoint = 1;
  settings.key = "secret";
  settings.endpoints[0].insert(7, "user:secret@");
  auto generator = RemoteGenerator::create(settings);
  ASSERT_TRUE(generator.ok());
  EXPECT_EQ((*generator)->describe().find("secret"), std::string::npos);
  bool cancelled = false;
  const auto traces = finish(**generator, {job_of(1, 100000), job_of(2, 100000)}, [&](const Event& event) {
    if (event.kind != Event::Kind::text || cancelled) return;
    cancelled = true;
    (*generator)->cancel(2);  // still waiting
    (*generator)->cancel(1);
  });
  EXPECT_EQ(traces.at(1).end, End::cancelled);
  EXPECT_GT(traces.at(1).new_tokens, 0);
  EXPECT_EQ(traces.at(2).end, End::cancelled);
  EXPECT_EQ(traces.at(2).new_tokens, 0);
  Job resumed = job_of(3);
  resumed.prompt.continuation = {{.text = "x"}};
  EXPECT_EQ((*generator)->submit(resumed).code(), Code::unsupported);
}

TEST(EventStream, CutsEventsAnywhere) {
  const std::string stream =
      ": comment\r\ndata: one\r\n\r\nevent: x\ndata:two\ndata: three\n\n\n\ndata: [DONE]\n\ndata: torn";
  for (size_t step = 1; step < stream.size(); ++step) {
    EventStream events;
    std::vector<std::string> got;
    for (size_t i = 0; i < stream.size(); i += step) {
      EXPECT_TRUE(events
                      .push(std::string_view(stream).substr(i, step),
                            [&](std::string_view payload) { return got.emplace_back(payload), Status(); })
                      .ok());
    }
    EXPECT_THAT(got, testing::ElementsAre("one", "two\nthree", "[DONE]"));
  }
}

}  // namespace
}  // namespace zaya::reasoning
