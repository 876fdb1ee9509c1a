// JSON from clients: parsed within limits, and read field by field with errors that name the field.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "nlohmann/json.hpp"
#include "server/api_error.h"

namespace zaya::server {

// Ordered, as chat templates want it. An object is searched from its start, so its size is bounded below.
using Json = nlohmann::ordered_json;

// Bounds on what a client may send; far above any honest request.
inline constexpr int kMaxJsonDepth = 64;
inline constexpr int kMaxJsonMembers = 1024;  // of one object

// A request's body: valid UTF-8, one JSON object within the bounds above. 400 otherwise, with the place.
std::optional<ApiError> parse_body(std::string_view body, Json& object);

// The JSON text; invalid UTF-8 comes out as U+FFFD.
std::string dump(const Json& json);

// Reads the fields of one object. The first wrong one is remembered in `error`, which all readers of a request share;
// after that every call is a no-op. null counts as absent, as OpenAI has it. Fields that nobody reads are ignored.
class Reader {
 public:
  // `path`: of the object in the request, e.g. "messages[2]"; empty for the request itself.
  Reader(const Json& object, std::string path, std::optional<ApiError>& error);

  bool failed() const { return error_.has_value(); }
  // The field's value; null when absent (or the request has failed already).
  const Json* find(const char* key) const;
  const Json& json() const { return object_; }
  std::optional<ApiError>& error() const { return error_; }
  std::string path(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

  std::optional<bool> boolean(const char* key);
  std::optional<int64_t> integer(const char* key, int64_t low, int64_t high);
  std::optional<double> number(const char* key, double low, double high);
  std::optional<std::string> string(const char* key);
  const Json* array(const char* key);
  const Json* object(const char* key);

  // Fails when the field is absent.
  void require(const char* key);
  // Fails when the field is there and says more than null, false, "" or an empty list: something we cannot do.
  void refuse(const char* key, const char* why);
  void fail(const std::string& key, std::string message, std::string code = "invalid_value");

 private:
  const Json& object_;
  std::string path_;
  std::optional<ApiError>& error_;
};

const char* type_name(const Json& value);

}  // namespace zaya::server
