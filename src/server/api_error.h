// What went wrong with a request, in the words of the API that it came by.
#pragma once

#include <string>

#include "base/status.h"
#include "server/http.h"

namespace zaya::server {

struct ApiError {
  int status = 400;
  std::string message;
  std::string param;    // the field, e.g. "messages[0].role"; empty = none in particular
  std::string code;     // stable, for programs; may be empty
  int retry_after = 0;  // seconds; 0 = not said

  // OpenAI's "type" and Anthropic's.
  const char* openai_type() const;
  const char* anthropic_type() const;

  std::string openai_body() const;     // {"error": {"message", "type", "param", "code"}}
  std::string anthropic_body() const;  // {"type": "error", "error": {"type", "message"}}
};

// A failure from the rooms below, seen by a client. `param`: the field that most likely caused it.
ApiError to_api_error(const Status& status, std::string param);

HttpResponse error_response(const ApiError& error, bool anthropic);

}  // namespace zaya::server
