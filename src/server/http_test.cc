// Real sockets. Deadlines in the options are short; what the tests wait for has no deadline of its own.
#include "server/http.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace zaya::server {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

class Client {
 public:
  explicit Client(uint16_t port, int receive_buffer = 0) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~Client() { close(); }
  void close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }
  void send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      text.remove_prefix(static_cast<size_t>(sent));
    }
  }
  // Until the text holds `end`, or the server closes.
  std::string read_until(std::string_view end) {
    while (end.empty() || text_.find(end) == std::string::npos) {
      char buffer[4096];
      const ssize_t bytes = ::recv(socket_, buffer, sizeof buffer, 0);
      if (bytes <= 0) return std::exchange(text_, "");
      text_.append(buffer, static_cast<size_t>(bytes));
    }
    const size_t length = text_.find(end) + end.size();
    std::string found = text_.substr(0, length);
    text_.erase(0, length);
    return found;
  }
  std::string read_all() { return read_until(""); }

 private:
  int socket_;
  std::string text_;
};

class Http : public testing::Test {
 protected:
  // Answers "METHOD path body"; the test may take over with `on_stream` for paths that start with /stream.
  void start(HttpOptions options = {}) {
    options.port = 0;
    auto started = HttpServer::start(options, [this](HttpRequest request, std::shared_ptr<Responder> responder) {
      ++handled;
      if (request.path == "/drop") return;
      if (request.path.starts_with("/stream")) {
        streams->push(responder);
        return;
      }
      responder->send({.content_type = "text/plain", .body = request.method + " " + request.path + " " + request.body});
    });
    ASSERT_TRUE(started.ok()) << started.status().to_string();
    server = std::move(*started);
  }
  void wait_for(const std::function<bool(const HttpStats&)>& condition) {
    while (!condition(server->stats())) std::this_thread::sleep_for(milliseconds(2));
  }

  struct Queue {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::shared_ptr<Responder>> list;
    void push(std::shared_ptr<Responder> responder) {
      const std::lock_guard lock(mutex);
      list.push_back(std::move(responder));
      changed.notify_all();
    }
    std::shared_ptr<Responder> pop() {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return !list.empty(); });
      auto responder = list.back();
      list.pop_back();
      return responder;
    }
  };

  std::shared_ptr<Queue> streams = std::make_shared<Queue>();
  std::atomic<int> handled{0};
  std::unique_ptr<HttpServer> server;
};

TEST_F(Http, KeepsAliveAndAnswersPipelinedRequestsInOrder) {
  start();
  Client client(server->port());
  client.send(
      "GET /a?q=1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz"
      "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
  const std::string first = client.read_until("GET /a ");
  EXPECT_THAT(first, HasSubstr("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(first, HasSubstr("Connection: keep-alive\r\n"));
  EXPECT_THAT(client.read_until("xyz"), HasSubstr("POST /b xyz"));
  EXPECT_THAT(client.read_until("hello"), HasSubstr("POST /c hello"));
  // Byte by byte, and the last one.
  for (const char c : std::string("HEAD /d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) client.send({&c, 1});
  const std::string last = client.read_all();
  EXPECT_THAT(last, HasSubstr("Connection: close"));
  EXPECT_TRUE(last.ends_with("\r\n\r\n")) << last;
  wait_for([](const HttpStats& s) { return s.connections == 0; });
}

TEST_F(Http, RefusesWhatIsTooLargeOrNoHttp) {
  start({.max_head_bytes = 1000, .max_body_bytes = 100, .body_memory_bytes = 100});
  const auto answer = [&](const std::string& text) {
    Client client(server->port());
    client.send(text);
    return client.read_all();
  };
  EXPECT_THAT(answer("nonsense\r\n\r\n"), HasSubstr("400 Bad Request"));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), HasSubstr(" 400 "));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), HasSubstr(" 400 "));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nX: " + std::string(5000, 'x') + "\r\n\r\n"), HasSubstr(" 431 "));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"), HasSubstr(" 413 "));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string("ff\r\n") +
                     std::string(255, 'x') + "\r\n0\r\n\r\n"),
              HasSubstr(" 413 "));
  EXPECT_EQ(handled, 0);
  // The refusal arrives although the client goes on sending.
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n" + std::string(5'000'000, 'x')),
              HasSubstr(" 413 "));

  // One body's share of the memory is taken while another wants more than is left.
  Client one(server->port());
  one.send("POST / HTTP/1.1\r\nContent-Length: 80\r\n\r\nx");
  wait_for([](const HttpStats& s) { return s.body_memory_in_use == 80; });
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nContent-Length: 50\r\n\r\n"), HasSubstr(" 503 "));
  one.close();
  wait_for([](const HttpStats& s) { return s.body_memory_in_use == 0; });
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 50\r\n\r\n" + std::string(50, 'y')),
              HasSubstr("yyy"));
}

TEST_F(Http, SlowClientsRunIntoDeadlines) {
  start({.head_deadline = milliseconds(100), .body_deadline = milliseconds(100), .idle_deadline = milliseconds(300)});
  Client head(server->port()), body(server->port()), idle(server->port()), expecting(server->port());
  head.send("GET / HTTP/1.1\r\nX-Sl");
  body.send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nab");
  expecting.send("POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(expecting.read_until("\r\n\r\n"), HasSubstr("100 Continue"));
  EXPECT_THAT(head.read_all(), HasSubstr(" 408 "));
  EXPECT_THAT(body.read_all(), HasSubstr(" 408 "));
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_EQ(handled, 0);
}

TEST_F(Http, ConnectionsAreBounded) {
  start({.max_connections = 2});
  Client one(server->port()), two(server->port());
  wait_for([](const HttpStats& s) { return s.connections == 2; });
  Client three(server->port());
  EXPECT_THAT(three.read_all(), HasSubstr("503 Service Unavailable"));
  one.close();
  wait_for([](const HttpStats& s) { return s.connections == 1; });
  Client four(server->port());
  four.send("GET /again HTTP/1.1\r\n\r\n");
  EXPECT_THAT(four.read_until("/again"), HasSubstr(" 200 "));
}

TEST_F(Http, StreamsWithHeartbeatsAndSurvivesHandlersThatDropTheirRequest) {
  start({.heartbeat = milliseconds(50)});
  Client client(server->port());
  client.send("GET /drop HTTP/1.1\r\n\r\nGET /stream HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.read_until("}}"), HasSubstr("500 Internal"));
  const auto responder = streams->pop();
  responder->begin({.content_type = "text/event-stream"}, ": beat\n\n");
  responder->write("data: 1\n\n");
  EXPECT_THAT(client.read_until(": beat"), HasSubstr("9\r\ndata: 1\n\n\r\n"));
  responder->end();
  client.read_until("0\r\n\r\n");
  responder->write("late");  // the exchange is over: nothing may reach the next one
  responder->send({.body = "late"});
  client.send("GET /next HTTP/1.1\r\n\r\n");
  const std::string next = client.read_until("GET /next ");
  EXPECT_THAT(next, testing::Not(HasSubstr("late")));
  // A client of HTTP/1.0 knows no chunks: the end is the connection's end.
  Client old(server->port());
  old.send("GET /stream HTTP/1.0\r\n\r\n");
  const auto plain = streams->pop();
  plain->begin({}, "");
  plain->write("whole");
  plain->end();
  EXPECT_TRUE(old.read_all().ends_with("\r\n\r\nwhole"));
}

TEST_F(Http, BackPressureIsToldAndOver) {
  start({.high_water_bytes = 10'000});
  Client client(server->port(), 4096);
  client.send("GET /stream HTTP/1.1\r\n\r\n");
  const auto responder = streams->pop();
  responder->begin({}, "");
  std::atomic<bool> full{false}, drained{false};
  std::atomic<int> written{0};
  bool blocked = false, waited = false;  // full is what is full a while later too
  const std::string block(5000, 'b');
  responder->post([&] { responder->watch([&] { drained = true; }, nullptr); });
  for (int i = 0; i < 100'000 && !full; ++i) {  // the kernel takes some megabytes before we hold anything
    std::atomic<bool> asked{false};
    responder->post([&] {
      if (responder->writable()) {
        responder->write(block);
        ++written;
      } else if (waited) {
        full = true;
        drained = false;  // of earlier times, when the kernel took more
      } else {
        blocked = true;
      }
      asked = true;
    });
    while (!asked) std::this_thread::yield();
    waited = blocked;
    if (std::exchange(blocked, false)) std::this_thread::sleep_for(milliseconds(50));
  }
  EXPECT_TRUE(full);
  EXPECT_FALSE(drained);
  std::thread reader([&] {
    for (int i = 0; i < written; ++i) client.read_until(block);
  });
  while (!drained) std::this_thread::sleep_for(milliseconds(2));
  reader.join();
  responder->end();
  client.read_until("0\r\n\r\n");
}

TEST_F(Http, AClientThatLeavesOrDoesNotReadIsGone) {
  start({.high_water_bytes = 1000, .write_deadline = milliseconds(200), .heartbeat = milliseconds(50)});
  const auto watched = [&](std::atomic<bool>& gone) {
    const auto responder = streams->pop();
    responder->post([responder, &gone] {
      responder->watch([] {}, [&gone] { gone = true; });
      responder->begin({}, "");
    });
    return responder;
  };
  std::atomic<bool> left{false}, deaf{false};
  Client leaver(server->port());
  leaver.send("GET /stream HTTP/1.1\r\n\r\n");
  const auto first = watched(left);
  leaver.read_until("\r\n\r\n");
  leaver.close();
  while (!left) std::this_thread::sleep_for(milliseconds(2));

  Client sleeper(server->port(), 4096);
  sleeper.send("GET /stream HTTP/1.1\r\n\r\n");
  const auto second = watched(deaf);
  second->write(std::string(20'000'000, 's'));
  while (!deaf) std::this_thread::sleep_for(milliseconds(2));
  wait_for([](const HttpStats& s) { return s.connections == 0; });
  EXPECT_EQ(server->stats().gone, 2);
}

TEST_F(Http, DrainLetsAnswersEnd) {
  start();
  Client idle(server->port()), busy(server->port());
  busy.send("GET /stream HTTP/1.1\r\n\r\n");
  auto responder = streams->pop();
  responder->begin({}, "");
  std::atomic<bool> clean{false};
  std::thread drain([&] { clean = server->drain(std::chrono::hours(1)); });
  EXPECT_EQ(idle.read_all(), "");
  responder->write("last words");
  responder->end();
  EXPECT_THAT(busy.read_all(), HasSubstr("last words"));
  busy.close();
  drain.join();
  EXPECT_TRUE(clean);

  responder.reset();  // before its server goes, which start() replaces

  // What does not end is cut off, and can be told from an end.
  start();
  Client cut(server->port());
  cut.send("GET /stream HTTP/1.1\r\n\r\n");
  responder = streams->pop();
  responder->begin({}, "");
  EXPECT_FALSE(server->drain(milliseconds(50)));
  EXPECT_THAT(cut.read_all(), testing::Not(HasSubstr("0\r\n\r\n")));
}

TEST(HttpStart, AnAddressThatIsTakenOrNone) {
  const auto first = HttpServer::start({.port = 0}, [](HttpRequest, std::shared_ptr<Responder>) {});
  ASSERT_TRUE(first.ok());
  for (const HttpOptions& options : {HttpOptions{.port = (*first)->port()}, HttpOptions{.host = "not an address"}}) {
    const auto second = HttpServer::start(options, [](HttpRequest, std::shared_ptr<Responder>) {});
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.status().code(), Code::io_error);
    EXPECT_FALSE(second.status().hint().empty());
  }
}

}  // namespace
}  // namespace zaya::server
