// HTTP/1.1 for many slow streams: an interface of our own, so that nothing else in the room knows which library reads
// the bytes (http.cc) and everything else can be tested without sockets.
//
// What is bounded, and by what: connections in number, heads in size and time, bodies in size, time and, over all
// connections, in memory, the outgoing side by back-pressure (Responder::writable) and by a deadline on a client that
// does not read. A request is handled on a worker thread, so a long prompt does not hold up the streams.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace zaya::server {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;
  std::string path;   // the target up to '?'
  std::string query;  // behind it
  Headers headers;    // names in lower case, in the order of the head
  std::string body;
  std::string peer;              // the client's address, without its port
  std::shared_ptr<void> budget;  // the body's share of the memory for bodies; given back with the last copy

  // The first header of this lower-case name; empty when there is none.
  std::string_view header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  Headers headers;  // beside Content-Type, Content-Length, Connection and Date
  std::string body;
};

// Answers one request: send() once, or begin(), any number of write() and end(). Any thread may call; the calls take
// effect in order when they come from one thread or from within post(). Once the client has gone all of them do
// nothing. Letting go of the last reference without an answer sends a 500.
class Responder {
 public:
  virtual ~Responder() = default;

  virtual void send(HttpResponse response) = 0;

  // A response of unknown length. `heartbeat`, if not empty, is written whenever nothing else was for a while: it keeps
  // proxies from giving up, and finds clients that vanished without a word.
  virtual void begin(HttpResponse head, std::string heartbeat) = 0;
  virtual void write(std::string chunk) = 0;
  virtual void end() = 0;

  // Runs `task` on the connection's thread, one at a time and in order; never before post() returns when called from
  // another thread. The only way to use the two below.
  virtual void post(std::function<void()> task) = 0;
  // Whether the outgoing buffer is below its mark. If it is not, a caller keeps what it has (and may merge it) until
  // on_writable is called.
  virtual bool writable() const = 0;
  // `on_writable`: the buffer has fallen below its mark again. `on_gone`: the client went away, or was given up, before
  // end(); at most once, and at once if that has happened already.
  virtual void watch(std::function<void()> on_writable, std::function<void()> on_gone) = 0;
};

using Handler = std::function<void(HttpRequest, std::shared_ptr<Responder>)>;

struct HttpOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;  // 0 = any free one
  int workers = 2;       // threads that handle requests
  int64_t max_connections = 4096;
  int64_t max_head_bytes = 16 << 10;
  int64_t max_body_bytes = 4 << 20;
  int64_t body_memory_bytes = 256 << 20;             // of all bodies that are being read or handled
  int64_t high_water_bytes = 64 << 10;               // outgoing bytes of one connection above which writable() is false
  std::chrono::milliseconds head_deadline{10'000};   // from a head's first byte to its last
  std::chrono::milliseconds body_deadline{60'000};   // the same for the body
  std::chrono::milliseconds idle_deadline{75'000};   // an open connection without a request
  std::chrono::milliseconds write_deadline{60'000};  // without the client taking a single byte
  std::chrono::milliseconds heartbeat{15'000};
};

struct HttpStats {
  int64_t connections = 0;         // open now
  int64_t accepted = 0;            // since the start
  int64_t refused = 0;             // beyond max_connections
  int64_t timeouts = 0;            // closed by a deadline
  int64_t malformed = 0;           // closed for what they sent
  int64_t gone = 0;                // clients that left before their answer's end
  int64_t body_memory_in_use = 0;  // bytes
};

class HttpServer {
 public:
  // Listens and serves on threads of its own. io_error: the address cannot be had.
  static Result<std::unique_ptr<HttpServer>> start(HttpOptions options, Handler handler);

  // Closes what is still open. Responders that a handler kept must be gone by then.
  virtual ~HttpServer() = default;
  virtual uint16_t port() const = 0;
  virtual HttpStats stats() const = 0;
  // Accepts nothing more, closes idle connections, lets running answers end, and closes what is left at the deadline.
  // Returns whether all of them ended by themselves.
  virtual bool drain(std::chrono::milliseconds deadline) = 0;
};

// "Not Found" of 404.
const char* reason_phrase(int status);

}  // namespace zaya::server
