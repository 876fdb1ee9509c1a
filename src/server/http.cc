// Boost.Asio moves the bytes, Boost.Beast parses requests; both are known to this file only.
#include "server/http.h"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <atomic>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_set>

namespace zaya::server {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using Strand = asio::strand<asio::io_context::executor_type>;
using Socket = asio::basic_stream_socket<tcp, Strand>;

// How long, and for how much, a refused request's rest is read and thrown away: closing at once would reset the
// connection, and the client might lose the answer that says why.
constexpr std::chrono::milliseconds kLinger{2'000};
constexpr size_t kLingerBytes = size_t{64} << 20;
// Bytes of a next request that are kept while one is being answered.
constexpr size_t kPipelined = size_t{64} << 10;

struct Counters {
  std::atomic<int64_t> connections{0}, accepted{0}, refused{0}, timeouts{0}, malformed{0}, gone{0}, body_memory{0};
};

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  return fmt::format("{:%a, %d %b %Y %H:%M:%S GMT}", utc);
}

// `message` needs no escaping.
std::string error_body(int status, std::string_view message) {
  return fmt::format(R"({{"error":{{"message":"{}","type":"{}","param":null,"code":null}}}})", message,
                     status < 500 ? "invalid_request_error" : "server_error");
}

class Connection;

// One request's Responder. The connection answers many; calls of an exchange that is over are recognised by its number.
class Exchange : public Responder {
 public:
  Exchange(std::shared_ptr<Connection> connection, Strand strand, uint64_t number)
      : connection_(std::move(connection)), strand_(std::move(strand)), number_(number) {}
  ~Exchange() override;

  void send(HttpResponse response) override;
  void begin(HttpResponse head, std::string heartbeat) override;
  void write(std::string chunk) override;
  void end() override;
  void post(std::function<void()> task) override;
  bool writable() const override;
  void watch(std::function<void()> on_writable, std::function<void()> on_gone) override;

 private:
  std::shared_ptr<Connection> connection_;
  Strand strand_;
  uint64_t number_;
};

class Server;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server& server, Socket socket, std::string peer);
  ~Connection();

  void start();
  void close_when_idle();  // on the strand: drain
  void close(bool by_client);

  // For Exchange; on the strand.
  void send(uint64_t number, HttpResponse response);
  void begin(uint64_t number, HttpResponse head, std::string heartbeat);
  void write(uint64_t number, std::string_view chunk);
  void end(uint64_t number);
  void abandon(uint64_t number);
  void watch(uint64_t number, std::function<void()> on_writable, std::function<void()> on_gone);
  bool writable(uint64_t number) const;

  const Strand& strand() const { return strand_; }

 private:
  enum class State { idle, head, body, handling, streaming, lingering, closed };
  using Parser = http::request_parser<http::string_body>;

  bool answering() const { return state_ == State::handling || state_ == State::streaming; }
  bool is_open(uint64_t number) const { return number == number_ && answering(); }
  void read();
  void on_read(error_code error, size_t bytes);
  void parse();
  bool head_done();
  void body_done();
  void refuse(int status, std::string_view message);
  void finish_exchange();
  std::string head(const HttpResponse& response, bool chunked);
  void queue(std::string_view bytes);
  void flush();
  void on_written(error_code error, size_t bytes);
  void set_deadline(std::chrono::milliseconds from_now);
  void arm_timer();
  void on_timer();

  Server& server_;
  Strand strand_;
  Socket socket_;
  asio::steady_timer timer_;
  const std::string peer_;

  State state_ = State::idle;
  bool reading_ = false, writing_ = false, closing_ = false, timer_armed_ = false, close_after_ = false;
  Clock::time_point deadline_{}, write_deadline_{}, next_heartbeat_{};

  std::array<char, 16 << 10> chunk_{};  // what one read brings
  std::string input_;                   // read and not parsed yet
  size_t lingered_ = 0;
  std::optional<Parser> parser_;
  std::shared_ptr<void> budget_;
  uint64_t number_ = 0;  // of the exchange that may answer

  bool head_only_ = false, keep_alive_ = false, chunked_ = false;
  std::string heartbeat_;
  std::string outgoing_, sending_;
  size_t sent_ = 0;  // of sending_
  bool was_full_ = false;
  std::function<void()> on_writable_, on_gone_;
};

class Server : public HttpServer {
 public:
  Server(HttpOptions options, Handler handler)
      : options_(std::move(options)),
        handler_(std::move(handler)),
        acceptor_(io_),
        retry_(io_),
        pool_(static_cast<size_t>(std::max(1, options_.workers))) {}

  ~Server() override {
    draining_ = true;
    asio::post(io_, [this] { stop_accepting(); });
    close_all();
    pool_.join();  // handlers that still run may use their connections: these live until the context dies
    // No stop(): with all sockets closed the thread runs out of work, and what was posted to connections is done by
    // then.
    work_.reset();
    if (thread_.joinable()) thread_.join();
  }

  Status listen() {
    error_code error;
    const asio::ip::address address =
        asio::ip::make_address(options_.host == "localhost" ? "127.0.0.1" : options_.host, error);
    const auto refused = [&](const char* what) {
      return Status(Code::io_error,
                    fmt::format("cannot {} {}:{}: {}", what, options_.host, options_.port, error.message()),
                    "choose another --host (an address) or --port");
    };
    if (error) return refused("use the address");
    const tcp::endpoint endpoint(address, options_.port);
    if (acceptor_.open(endpoint.protocol(), error)) return refused("open a socket for");
    if (acceptor_.set_option(tcp::acceptor::reuse_address(true), error)) return refused("set up");
    if (acceptor_.bind(endpoint, error)) return refused("listen on");
    if (acceptor_.listen(asio::socket_base::max_listen_connections, error)) return refused("listen on");
    port_ = acceptor_.local_endpoint(error).port();
    work_.emplace(io_.get_executor());
    accept();
    thread_ = std::thread([this] {
      while (!io_.stopped()) {
        try {
          io_.run();
        } catch (const std::exception&) {  // out of memory in one connection's task; the others go on
        }
      }
    });
    return Status();
  }

  uint16_t port() const override { return port_; }

  HttpStats stats() const override {
    return {.connections = counters_.connections,
            .accepted = counters_.accepted,
            .refused = counters_.refused,
            .timeouts = counters_.timeouts,
            .malformed = counters_.malformed,
            .gone = counters_.gone,
            .body_memory_in_use = counters_.body_memory};
  }

  bool drain(std::chrono::milliseconds deadline) override {
    draining_ = true;
    asio::post(io_, [this] { stop_accepting(); });
    for_each([](Connection& connection) { connection.close_when_idle(); });
    std::unique_lock lock(mutex_);
    const bool all = changed_.wait_for(lock, deadline, [&] { return open_.empty(); });
    lock.unlock();
    if (!all) close_all();
    return all;
  }

  const HttpOptions& options() const { return options_; }
  Counters& counters() { return counters_; }
  bool draining() const { return draining_; }

  void handle(HttpRequest request, std::shared_ptr<Responder> responder) {
    asio::post(pool_, [this, request = std::move(request), responder = std::move(responder)]() mutable {
      try {
        handler_(std::move(request), std::move(responder));
      } catch (const std::exception&) {  // out of memory: letting go of the responder answers with a 500
      }
    });
  }

  // A share of the memory for bodies; null when there is not so much left.
  std::shared_ptr<void> reserve(int64_t bytes) {
    if (counters_.body_memory.fetch_add(bytes) + bytes > options_.body_memory_bytes) {
      counters_.body_memory -= bytes;
      return nullptr;
    }
    return std::shared_ptr<void>(this, [counters = &counters_, bytes](void*) { counters->body_memory -= bytes; });
  }

  void add(Connection* connection) {
    const std::lock_guard lock(mutex_);
    open_.insert(connection);
    ++counters_.connections;
  }
  void remove(Connection* connection) {
    {
      const std::lock_guard lock(mutex_);
      open_.erase(connection);
      --counters_.connections;
    }
    changed_.notify_all();
  }

 private:
  void accept() {
    acceptor_.async_accept(asio::make_strand(io_), [this](error_code error, Socket socket) {
      if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
      if (error) {  // out of descriptors, most likely: wait for some to come back
        retry_.expires_after(std::chrono::milliseconds(100));
        retry_.async_wait([this](error_code aborted) {
          if (!aborted) accept();
        });
        return;
      }
      ++counters_.accepted;
      take(std::move(socket));
      accept();
    });
  }

  void take(Socket socket) {
    error_code error;
    if (counters_.connections >= options_.max_connections) {
      ++counters_.refused;
      const std::string body = error_body(503, "too many connections");
      const std::string answer = fmt::format(
          "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\nRetry-After: "
          "1\r\nConnection: close\r\n\r\n{}",
          body.size(), body);
      socket.non_blocking(true, error);
      socket.write_some(asio::buffer(answer), error);
      socket.shutdown(tcp::socket::shutdown_send, error);
      return;
    }
    socket.set_option(tcp::no_delay(true), error);
    const tcp::endpoint peer = socket.remote_endpoint(error);
    if (error) return;
    const auto connection = std::make_shared<Connection>(*this, std::move(socket), peer.address().to_string());
    asio::dispatch(connection->strand(), [connection] { connection->start(); });
  }

  void stop_accepting() {
    error_code ignored;
    acceptor_.close(ignored);
    retry_.cancel();
  }

  void close_all() {
    for_each([](Connection& connection) { connection.close(false); });
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(5), [&] { return open_.empty(); });
  }

  void for_each(const std::function<void(Connection&)>& act) {
    const std::lock_guard lock(mutex_);
    for (Connection* connection : open_) {
      if (const auto alive = connection->weak_from_this().lock()) {
        asio::post(alive->strand(), [alive, act] { act(*alive); });
      }
    }
  }

  const HttpOptions options_;
  const Handler handler_;
  Counters counters_;
  std::atomic<bool> draining_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_set<Connection*> open_;  // not closed yet; each removes itself
  asio::io_context io_;
  tcp::acceptor acceptor_;
  asio::steady_timer retry_;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work_;
  asio::thread_pool pool_;
  std::thread thread_;
  uint16_t port_ = 0;
};

// ---- Exchange

Exchange::~Exchange() {
  asio::post(strand_, [connection = std::move(connection_), number = number_] { connection->abandon(number); });
}
void Exchange::send(HttpResponse response) {
  asio::dispatch(strand_, [c = connection_, n = number_, response = std::move(response)]() mutable {
    c->send(n, std::move(response));
  });
}
void Exchange::begin(HttpResponse head, std::string heartbeat) {
  asio::dispatch(strand_,
                 [c = connection_, n = number_, head = std::move(head), heartbeat = std::move(heartbeat)]() mutable {
                   c->begin(n, std::move(head), std::move(heartbeat));
                 });
}
void Exchange::write(std::string chunk) {
  asio::dispatch(strand_, [c = connection_, n = number_, chunk = std::move(chunk)] { c->write(n, chunk); });
}
void Exchange::end() {
  asio::dispatch(strand_, [c = connection_, n = number_] { c->end(n); });
}
void Exchange::post(std::function<void()> task) { asio::post(strand_, std::move(task)); }
bool Exchange::writable() const { return connection_->writable(number_); }
void Exchange::watch(std::function<void()> on_writable, std::function<void()> on_gone) {
  connection_->watch(number_, std::move(on_writable), std::move(on_gone));
}

// ---- Connection: reading

Connection::Connection(Server& server, Socket socket, std::string peer)
    : server_(server),
      strand_(socket.get_executor()),
      socket_(std::move(socket)),
      timer_(strand_),
      peer_(std::move(peer)) {
  server_.add(this);
}

Connection::~Connection() {
  if (state_ != State::closed) server_.remove(this);
}

void Connection::start() {
  if (server_.draining()) return close(false);
  set_deadline(server_.options().idle_deadline);
  arm_timer();
  read();
}

void Connection::read() {
  if (reading_ || state_ == State::closed) return;
  reading_ = true;
  socket_.async_read_some(asio::buffer(chunk_),
                          [self = shared_from_this()](error_code error, size_t bytes) { self->on_read(error, bytes); });
}

void Connection::on_read(error_code error, size_t bytes) {
  reading_ = false;
  if (state_ == State::closed) return;
  if (error) return close(true);
  if (state_ == State::lingering) {
    lingered_ += bytes;
    if (lingered_ > kLingerBytes) return close(false);
    return read();
  }
  input_.append(chunk_.data(), bytes);
  if (answering()) {  // a read is always pending, since only that tells that a client has gone
    if (input_.size() > kPipelined) return close(false);
    return read();
  }
  parse();
  if (state_ != State::closed) read();
}

void Connection::parse() {
  const HttpOptions& options = server_.options();
  if (state_ == State::idle) {
    if (input_.empty()) return;
    state_ = State::head;
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(options.max_head_bytes));
    parser_->body_limit(static_cast<uint64_t>(options.max_body_bytes));
    set_deadline(options.head_deadline);
  }
  while (state_ == State::head || state_ == State::body) {
    error_code error;
    const size_t used = parser_->put(asio::buffer(input_), error);
    input_.erase(0, used);
    if (error == http::error::need_more) error = {};
    if (error == http::error::body_limit) {
      return refuse(413, fmt::format("the body is larger than {} bytes", options.max_body_bytes));
    }
    if (error == http::error::header_limit) {
      return refuse(431, fmt::format("the head is larger than {} bytes", options.max_head_bytes));
    }
    if (error) return refuse(400, "this is no HTTP request");
    if (state_ == State::head && parser_->is_header_done()) {
      if (!head_done()) return;
      continue;
    }
    if (state_ == State::body && parser_->is_done()) return body_done();
    if (used == 0 || input_.empty()) return;
  }
}

bool Connection::head_done() {
  const HttpOptions& options = server_.options();
  const auto length = parser_->content_length();
  if (length && *length > static_cast<uint64_t>(options.max_body_bytes)) {
    refuse(413, fmt::format("the body is larger than {} bytes", options.max_body_bytes));
    return false;
  }
  const int64_t wanted = length ? static_cast<int64_t>(*length) : parser_->chunked() ? options.max_body_bytes : 0;
  budget_ = server_.reserve(wanted);
  if (!budget_) {
    refuse(503, "too many large requests at once");
    return false;
  }
  state_ = State::body;
  set_deadline(options.body_deadline);
  parser_->eager(true);
  const auto expect = parser_->get().find(http::field::expect);
  if (expect != parser_->get().end() && expect->value() == "100-continue" && wanted > 0) {
    queue("HTTP/1.1 100 Continue\r\n\r\n");
    flush();
  }
  if (parser_->is_done()) {
    body_done();
    return false;
  }
  return true;
}

void Connection::body_done() {
  auto message = parser_->release();
  keep_alive_ = message.keep_alive();
  chunked_ = message.version() >= 11;
  parser_.reset();

  HttpRequest request;
  request.method = std::string(message.method_string());
  const std::string_view target(message.target().data(), message.target().size());
  const size_t question = target.find('?');
  request.path = std::string(target.substr(0, question));
  if (question != std::string_view::npos) request.query = std::string(target.substr(question + 1));
  for (const auto& field : message) {
    std::string name(field.name_string());
    for (char& c : name) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    request.headers.emplace_back(std::move(name), std::string(field.value()));
  }
  request.body = std::move(message.body());
  request.peer = peer_;
  request.budget = std::move(budget_);
  budget_ = nullptr;

  head_only_ = request.method == "HEAD";
  state_ = State::handling;
  ++number_;
  server_.handle(std::move(request), std::make_shared<Exchange>(shared_from_this(), strand_, number_));
}

// An answer to what never became a request; the rest of it is not read as another one.
void Connection::refuse(int status, std::string_view message) {
  ++server_.counters().malformed;
  parser_.reset();
  budget_ = nullptr;
  keep_alive_ = false;
  head_only_ = false;
  state_ = State::handling;
  ++number_;
  send(number_, {.status = status, .body = error_body(status, message)});
}

// ---- Connection: answering

std::string Connection::head(const HttpResponse& response, bool chunked) {
  std::string text =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", response.status, reason_phrase(response.status), http_date());
  if (!response.content_type.empty()) text += "Content-Type: " + response.content_type + "\r\n";
  for (const auto& [name, value] : response.headers) text += name + ": " + value + "\r\n";
  if (chunked) text += "Transfer-Encoding: chunked\r\n";
  text += keep_alive_ && !close_after_ && !server_.draining() ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
  return text;
}

void Connection::send(uint64_t number, HttpResponse response) {
  if (!is_open(number) || state_ != State::handling) return;
  if (server_.draining()) keep_alive_ = false;
  std::string text = head(response, false);
  if (response.status != 204 && response.status != 304) {
    text += fmt::format("Content-Length: {}\r\n", response.body.size());
  }
  text += "\r\n";
  queue(text);
  if (!head_only_ && response.status != 204 && response.status != 304) queue(response.body);
  finish_exchange();
}

void Connection::begin(uint64_t number, HttpResponse response, std::string heartbeat) {
  if (!is_open(number) || state_ != State::handling) return;
  if (!chunked_ || server_.draining()) keep_alive_ = false;
  state_ = State::streaming;
  heartbeat_ = std::move(heartbeat);
  next_heartbeat_ = Clock::now() + server_.options().heartbeat;
  queue(head(response, chunked_) + "\r\n");
  flush();
}

void Connection::write(uint64_t number, std::string_view bytes) {
  if (!is_open(number) || state_ != State::streaming || bytes.empty() || head_only_) return;
  next_heartbeat_ = Clock::now() + server_.options().heartbeat;
  if (chunked_) {
    queue(fmt::format("{:x}\r\n", bytes.size()));
    queue(bytes);
    queue("\r\n");
  } else {
    queue(bytes);
  }
  flush();
  // Noted here, not when a write ends: that one may take all there is, and whoever was told to wait would wait for
  // ever.
  if (!writable(number)) was_full_ = true;
}

void Connection::end(uint64_t number) {
  if (!is_open(number) || state_ != State::streaming) return;
  if (chunked_ && !head_only_) queue("0\r\n\r\n");
  finish_exchange();
}

void Connection::abandon(uint64_t number) {
  if (!is_open(number)) return;
  if (state_ == State::streaming) return close(false);  // a stream cut short must not look complete
  send(number, {.status = 500, .body = error_body(500, "the request was not answered")});
}

void Connection::watch(uint64_t number, std::function<void()> on_writable, std::function<void()> on_gone) {
  if (!is_open(number)) {
    if (on_gone) on_gone();
    return;
  }
  on_writable_ = std::move(on_writable);
  on_gone_ = std::move(on_gone);
}

bool Connection::writable(uint64_t number) const {
  return !is_open(number) ||
         outgoing_.size() + sending_.size() - sent_ < static_cast<size_t>(server_.options().high_water_bytes);
}

void Connection::finish_exchange() {
  ++number_;
  on_writable_ = nullptr;
  on_gone_ = nullptr;
  heartbeat_.clear();
  was_full_ = false;
  if (keep_alive_ && !close_after_) {
    state_ = State::idle;
    set_deadline(server_.options().idle_deadline);
    flush();
    // What came meanwhile; posted, so that pipelined requests do not nest.
    if (!input_.empty()) {
      asio::post(strand_, [self = shared_from_this()] {
        if (self->state_ == State::idle) self->parse();
      });
    }
  } else {
    state_ = State::lingering;
    set_deadline(server_.options().write_deadline);
    closing_ = true;
    input_.clear();
    flush();
  }
}

void Connection::queue(std::string_view bytes) { outgoing_.append(bytes); }

void Connection::flush() {
  if (writing_ || state_ == State::closed) return;
  if (sent_ == sending_.size()) {
    sending_.clear();
    sent_ = 0;
    std::swap(sending_, outgoing_);
  }
  if (sending_.empty()) {
    if (state_ == State::idle) set_deadline(server_.options().idle_deadline);
    if (closing_) {  // all is out: say so, then wait for the client to close
      closing_ = false;
      error_code ignored;
      socket_.shutdown(tcp::socket::shutdown_send, ignored);
      set_deadline(kLinger);
    }
    return;
  }
  writing_ = true;
  write_deadline_ = Clock::now() + server_.options().write_deadline;
  socket_.async_write_some(
      asio::buffer(sending_.data() + sent_, sending_.size() - sent_),
      [self = shared_from_this()](error_code error, size_t bytes) { self->on_written(error, bytes); });
}

void Connection::on_written(error_code error, size_t bytes) {
  writing_ = false;
  if (state_ == State::closed) return;
  if (error) return close(true);
  sent_ += bytes;
  flush();
  if (state_ != State::streaming) return;
  if (was_full_ && writable(number_)) {
    was_full_ = false;
    if (const auto call = on_writable_) call();
  }
}

// ---- Connection: deadlines and the end

// Deadlines move with every request, so the timer is not set anew for each: it wakes up, sees that there is time left,
// and sleeps on.
void Connection::set_deadline(std::chrono::milliseconds from_now) {
  deadline_ = Clock::now() + from_now;
  if (timer_armed_ && timer_.expiry() > deadline_) timer_.cancel();
}

void Connection::arm_timer() {
  if (state_ == State::closed) return;
  Clock::time_point next = answering() ? Clock::now() + server_.options().heartbeat : deadline_;
  if (state_ == State::streaming && !heartbeat_.empty()) next = std::min(next, next_heartbeat_);
  if (writing_) next = std::min(next, write_deadline_);
  timer_armed_ = true;
  timer_.expires_at(next);
  timer_.async_wait([self = shared_from_this()](error_code) {
    self->timer_armed_ = false;
    self->on_timer();
  });
}

void Connection::on_timer() {
  if (state_ == State::closed) return;
  const Clock::time_point now = Clock::now();
  const bool asking = state_ == State::head || state_ == State::body;
  const bool overdue = now >= deadline_ && (asking || (!answering() && !writing_));
  if ((writing_ && now >= write_deadline_) || overdue) {
    if (asking && overdue) {
      ++server_.counters().timeouts;
      refuse(408, "the request took too long to arrive");
    } else {
      if (writing_) ++server_.counters().timeouts;
      return close(answering());
    }
  } else if (state_ == State::streaming && !heartbeat_.empty() && now >= next_heartbeat_) {
    if (writable(number_)) {
      write(number_, std::string(heartbeat_));
    } else {
      next_heartbeat_ = now + server_.options().heartbeat;
    }
  }
  arm_timer();
}

void Connection::close_when_idle() {
  close_after_ = true;
  if (state_ == State::idle && !writing_ && input_.empty()) close(false);
  // A half-sent request is as good as none.
  if (state_ == State::head || state_ == State::body) close(false);
}

void Connection::close(bool by_client) {
  if (state_ == State::closed) return;
  const bool unfinished = answering();
  if (unfinished && by_client) ++server_.counters().gone;
  state_ = State::closed;
  ++number_;
  error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
  timer_.cancel();
  outgoing_.clear();
  outgoing_.shrink_to_fit();
  parser_.reset();
  budget_ = nullptr;
  on_writable_ = nullptr;
  if (const auto gone = std::exchange(on_gone_, nullptr); gone && unfinished) gone();
  server_.remove(this);
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpOptions options, Handler handler) {
  auto server = std::make_unique<Server>(std::move(options), std::move(handler));
  ZAYA_RETURN_IF_ERROR(server->listen());
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace zaya::server
