// A request's body and a model's answer, both arbitrary, through every API: parsed, checked, "generated" by a scripted
// engine, and written whole or as a stream. What comes out must be JSON, whatever went in. The input is the route, the
// size of the answer's pieces, the body, and behind the last byte 0xFF, which no valid body holds, the answer.
//
// Runs from the root of the repository (the embedded model's tokenizer and template are used).
#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/test_support.h"
#include "text/utf8.h"

namespace {

using namespace zaya::server;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_stream(const std::string& stream) {
  require(stream.ends_with("\n\n"));
  for (size_t start = 0; start < stream.size();) {
    const size_t end = stream.find('\n', start);
    const std::string line = stream.substr(start, end - start);
    start = end + 1;
    require(line.empty() || line.starts_with("data: ") || line.starts_with("event: "));
    if (line.starts_with("data: ") && line != "data: [DONE]") require(Json::accept(line.substr(6)));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto session = [] {
    auto opened = zaya::Session::open("models/nano", {.threads = 1});
    require(opened.ok());
    return std::make_shared<const zaya::Session>(std::move(opened).value());
  }();
  if (size < 2) return 0;
  static constexpr const char* kPaths[] = {
      "/v1/chat/completions",      "/v1/completions", "/v1/responses", "/v1/messages",
      "/v1/messages/count_tokens", "/tokenize",       "/detokenize",   "/apply-template"};
  const std::string rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const size_t border = rest.rfind('\xFF');
  Script script;
  script.bytes_per_token = 1 + data[1] % 16;
  script.finish = data[1] & 16 ? zaya::engine::Finish::length : zaya::engine::Finish::stop;
  if (border != std::string::npos) {
    // The engine's text is always valid UTF-8.
    script.text = zaya::text::replace_invalid_utf8(std::string_view(rest).substr(border + 1));
    script.bytes_per_token = std::max<size_t>(script.bytes_per_token, script.text.size() / 64 + 1);
  }
  Api api(script.backend(session), {}, [](const std::string& line) { require(Json::accept(line)); });
  const auto responder = ask(api, "POST", kPaths[data[0] % std::size(kPaths)], rest.substr(0, border));
  require(responder->ended());
  if (responder->streamed) {
    check_stream(responder->response.body);
  } else {
    require(Json::accept(responder->response.body));
    const int status = responder->response.status;
    require(status == 200 || status == 400);
  }
  return 0;
}
