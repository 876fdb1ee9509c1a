#include "zaya/zaya.h"

#include "libzaya/session.h"

namespace zaya {

struct Model::Impl {
  Session session;

  Result<Reply> generate(Result<engine::Request> request, const PieceSink& sink) {
    if (!request.ok()) return request.status();
    ZAYA_ASSIGN(const engine::Outcome outcome,
                session.engine->generate(std::move(request).value(), [&](const engine::Event& event) {
                  if (!sink) return;
                  for (const auto& piece : event.pieces) sink({piece.reasoning, piece.text});
                }));
    return to_reply(outcome);
  }
};

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

Result<Model> Model::load(const std::filesystem::path& directory, const LoadOptions& options) {
  ZAYA_ASSIGN(Session session, Session::open(directory, options));
  return Model(std::make_unique<Impl>(Impl{std::move(session)}));
}

Result<Reply> Model::chat(const std::vector<Message>& messages, const GenerateOptions& options, const PieceSink& sink) {
  text::Json list = text::Json::array();
  for (const Message& message : messages) list.push_back({{"role", message.role}, {"content", message.content}});
  return impl_->generate(impl_->session.chat_request({{"messages", std::move(list)}}, options), sink);
}

Result<Reply> Model::complete(std::string_view text, const GenerateOptions& options, const PieceSink& sink) {
  return impl_->generate(impl_->session.completion_request(text, options), sink);
}

std::vector<int32_t> Model::tokenize(std::string_view text) const {
  return impl_->session.engine->tokenizer().encode(text);
}

std::string Model::detokenize(const std::vector<int32_t>& tokens) const {
  return impl_->session.engine->tokenizer().decode(tokens);
}

}  // namespace zaya
