#include "server/server.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "reasoning/local_generator.h"
#include "server/format.h"

namespace zaya::server {

bool is_loopback(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

Result<std::unique_ptr<Server>> Server::start(Session session, ServerOptions options,
                                              std::function<void(const std::string&)> log) {
  std::unique_ptr<Server> server(new Server);
  ZAYA_ASSIGN(server->service_, engine::Service::start(session.engine, options.service));
  engine::Service* service = server->service_.get();

  Backend backend;
  backend.model_name = options.model_name;
  if (backend.model_name.empty()) {
    const std::filesystem::path directory = session.directory.lexically_normal();
    backend.model_name = (directory.has_filename() ? directory : directory.parent_path()).filename().string();
  }
  backend.created = unix_time();
  backend.session = std::make_shared<const Session>(std::move(session));
  backend.submit = [service](engine::Request request, engine::EventSink on_event,
                             engine::DoneSink on_done) -> Result<Backend::Cancel> {
    ZAYA_ASSIGN(const std::shared_ptr<engine::Ticket> ticket,
                service->submit(std::move(request), std::move(on_event), std::move(on_done)));
    return Backend::Cancel([ticket] { ticket->cancel(); });
  };
  backend.stats = [service] { return service->stats(); };
  if (backend.session->chat_template) {
    backend.make_generator = [service, held = backend.session, name = backend.model_name] {
      return std::make_unique<reasoning::LocalGenerator>(*service, *held->chat_template, name);
    };
  }

  options.api.loopback = is_loopback(options.http.host);
  server->api_ = std::make_unique<Api>(std::move(backend), std::move(options.api), std::move(log));
  Api* api = server->api_.get();
  ZAYA_ASSIGN(server->http_, HttpServer::start(std::move(options.http),
                                               [api](HttpRequest request, std::shared_ptr<Responder> responder) {
                                                 api->handle(std::move(request), std::move(responder));
                                               }));
  HttpServer* http = server->http_.get();
  api->set_http_stats([http] { return http->stats(); });
  return server;
}

Status Server::drain(double seconds) {
  if (drained_) return Status();
  drained_ = true;
  using Clock = std::chrono::steady_clock;
  const auto deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  api_->set_draining();
  const auto left = [&] {
    return std::max(std::chrono::milliseconds(0),
                    std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()));
  };
  (void)http_->drain(left());
  api_->end_runs();
  // Whose client is gone by now is cancelled, so that nothing is left for the engine to wait for.
  return service_->drain(static_cast<double>(left().count()) / 1e3);
}

Server::~Server() {
  if (http_ == nullptr) return;  // it never started
  (void)drain(0);
  // The engine's thread has ended: nobody calls into connections any more.
  http_.reset();
}

}  // namespace zaya::server
