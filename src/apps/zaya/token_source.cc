#include "apps/zaya/token_source.h"

#include <fmt/format.h>

#include "reasoning/local_generator.h"

namespace zaya::app {

Result<std::unique_ptr<TokenSource>> open_source(const ModelOptions& model, const RemoteOptions& remote,
                                                 bool deterministic) {
  auto source = std::make_unique<TokenSource>();
  if (remote.given()) {
    ZAYA_ASSIGN(source->generator, open_remote(remote, model.model));
    return source;
  }
  ModelOptions opened = model;
  if (deterministic && opened.load.activations == "auto") opened.load.activations = "f32";
  ZAYA_ASSIGN(source->session, opened.open());
  if (!source->session.chat_template.has_value()) {
    return Status(Code::not_found, fmt::format("{} has no chat template", source->session.directory.string()),
                  "add chat_template.jinja to it");
  }
  source->model = std::filesystem::absolute(source->session.directory).lexically_normal().string();
  std::shared_ptr<engine::Engine> engine = std::move(source->session.engine);
  engine::ServiceOptions service;
  service.engine.mixed_step_seconds = 10;  // nobody waits for the next token: prompts go through in whole chunks
  ZAYA_ASSIGN(source->service, engine::Service::start(std::move(engine), std::move(service)));
  source->generator = std::make_unique<reasoning::LocalGenerator>(*source->service, *source->session.chat_template,
                                                                  source->session.directory.filename().string());
  return source;
}

}  // namespace zaya::app
