// A model served over HTTP: session, engine service, routes and sockets put together.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/service.h"
#include "libzaya/session.h"
#include "server/api.h"
#include "server/http.h"

namespace zaya::server {

struct ServerOptions {
  std::string model_name;  // empty = the name of the model's directory
  HttpOptions http;
  ApiOptions api;  // `loopback` is found from the address
  engine::ServiceOptions service;
};

class Server {
 public:
  // `log`: one line of JSON per request, from any thread.
  static Result<std::unique_ptr<Server>> start(Session session, ServerOptions options,
                                               std::function<void(const std::string&)> log);

  // As drain(0).
  ~Server();

  uint16_t port() const { return http_->port(); }

  // /ready says no; nothing new is accepted; what runs may end within `seconds` and is cancelled then.
  Status drain(double seconds);

 private:
  Server() = default;

  std::unique_ptr<engine::Service> service_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<HttpServer> http_;
  bool drained_ = false;
};

// Whether only this machine can reach the address.
bool is_loopback(const std::string& host);

}  // namespace zaya::server
