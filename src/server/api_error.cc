#include "server/api_error.h"

#include "server/json.h"

namespace zaya::server {

const char* ApiError::openai_type() const {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 429: return "rate_limit_error";
    default: return status < 500 ? "invalid_request_error" : "server_error";
  }
}

const char* ApiError::anthropic_type() const {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status < 500 ? "invalid_request_error" : "api_error";
  }
}

std::string ApiError::openai_body() const {
  Json error = {{"message", message}, {"type", openai_type()}, {"param", nullptr}, {"code", nullptr}};
  if (!param.empty()) error["param"] = param;
  if (!code.empty()) error["code"] = code;
  return dump({{"error", std::move(error)}});
}

std::string ApiError::anthropic_body() const {
  const std::string text = param.empty() ? message : param + ": " + message;
  return dump({{"type", "error"}, {"error", {{"type", anthropic_type()}, {"message", text}}}});
}

ApiError to_api_error(const Status& status, std::string param) {
  ApiError error{.message = status.to_string(), .param = std::move(param)};
  switch (status.code()) {
    case Code::invalid_argument:
    case Code::unsupported: error.code = "invalid_value"; break;
    case Code::out_of_range: error.code = "context_length_exceeded"; break;
    case Code::resource_exhausted:
      error.status = 429;
      error.code = "overloaded";
      error.param.clear();
      break;
    case Code::cancelled:
      error.status = 503;
      error.code = "cancelled";
      error.param.clear();
      break;
    default:
      error.status = 500;
      error.code = "internal_error";
      error.param.clear();
  }
  return error;
}

HttpResponse error_response(const ApiError& error, bool anthropic) {
  HttpResponse response{.status = error.status, .body = anthropic ? error.anthropic_body() : error.openai_body()};
  if (error.retry_after > 0) response.headers.emplace_back("Retry-After", std::to_string(error.retry_after));
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

}  // namespace zaya::server
