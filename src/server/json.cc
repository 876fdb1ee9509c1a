#include "server/json.h"

#include <fmt/format.h>

#include <cmath>

#include "text/utf8.h"

namespace zaya::server {
namespace {

// Walks over the text without building anything: nesting and members of objects within the bounds. Whether it is JSON
// at all is the parser's business.
std::optional<std::string> shape_error(std::string_view text) {
  struct Level {
    bool object;
    int commas;
  };
  std::vector<Level> levels;
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '"':
        for (++i; i < text.size() && text[i] != '"'; ++i) {
          if (text[i] == '\\') ++i;
        }
        break;
      case '{':
      case '[':
        if (levels.size() == kMaxJsonDepth)
          return fmt::format("nested deeper than {} levels at byte {}", kMaxJsonDepth, i);
        levels.push_back({text[i] == '{', 0});
        break;
      case '}':
      case ']':
        if (!levels.empty()) levels.pop_back();
        break;
      case ',':
        if (!levels.empty() && levels.back().object && ++levels.back().commas >= kMaxJsonMembers) {
          return fmt::format("an object with more than {} members at byte {}", kMaxJsonMembers, i);
        }
        break;
      default: break;
    }
  }
  return std::nullopt;
}

ApiError body_error(std::string message) {
  return {.status = 400, .message = "the body is not what is expected: " + std::move(message), .code = "invalid_json"};
}

}  // namespace

std::optional<ApiError> parse_body(std::string_view body, Json& object) {
  if (!text::is_valid_utf8(body)) return body_error("it is not valid UTF-8");
  if (auto error = shape_error(body)) return body_error(*error);
  try {
    object = Json::parse(body);
  } catch (const Json::exception& error) {
    std::string what = error.what();
    if (const size_t end = what.find("] "); end != std::string::npos) what.erase(0, end + 2);
    return body_error(what.substr(0, 200));
  }
  if (!object.is_object()) return body_error(std::string("it must be a JSON object, not ") + type_name(object));
  return std::nullopt;
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

const char* type_name(const Json& value) {
  if (value.is_number_integer()) return "an integer";
  if (value.is_number()) return "a number";
  if (value.is_string()) return "a string";
  if (value.is_boolean()) return "a boolean";
  if (value.is_array()) return "an array";
  if (value.is_object()) return "an object";
  return "null";
}

Reader::Reader(const Json& object, std::string path, std::optional<ApiError>& error)
    : object_(object), path_(std::move(path)), error_(error) {
  if (!failed() && !object_.is_object()) {
    error_ = ApiError{.message = fmt::format("{} must be an object, not {}", path_, type_name(object_)),
                      .param = path_,
                      .code = "invalid_type"};
  }
}

const Json* Reader::find(const char* key) const {
  if (failed()) return nullptr;
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void Reader::fail(const std::string& key, std::string message, std::string code) {
  if (failed()) return;
  const std::string where = key.empty() ? path_ : path(key);
  error_ = ApiError{.message = where + " " + std::move(message), .param = where, .code = std::move(code)};
}

std::optional<bool> Reader::boolean(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_boolean()) return value->get<bool>();
  fail(key, fmt::format("must be true or false, not {}", type_name(*value)), "invalid_type");
  return std::nullopt;
}

std::optional<int64_t> Reader::integer(const char* key, int64_t low, int64_t high) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  std::optional<int64_t> number;
  if (value->is_number_unsigned()) {
    const uint64_t given = value->get<uint64_t>();
    if (given <= static_cast<uint64_t>(INT64_MAX)) number = static_cast<int64_t>(given);
  } else if (value->is_number_integer()) {
    number = value->get<int64_t>();
  } else if (value->is_number_float()) {
    const double given = value->get<double>();
    if (given == std::trunc(given) && std::abs(given) < 9e15) {
      number = static_cast<int64_t>(given);
    } else if (std::isfinite(given) && given != std::trunc(given)) {
      fail(key, "must be an integer", "invalid_type");
    }
  } else {
    fail(key, fmt::format("must be an integer, not {}", type_name(*value)), "invalid_type");
    return std::nullopt;
  }
  if (failed() || (number && *number >= low && *number <= high)) return number;
  fail(key, low == INT64_MIN || high == INT64_MAX
                ? fmt::format("is {}, which is out of bounds", dump(*value))
                : fmt::format("is {}; it must be between {} and {}", dump(*value), low, high));
  return std::nullopt;
}

std::optional<double> Reader::number(const char* key, double low, double high) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    fail(key, fmt::format("must be a number, not {}", type_name(*value)), "invalid_type");
    return std::nullopt;
  }
  const double number = value->get<double>();
  if (number >= low && number <= high) return number;
  fail(key, fmt::format("is {}; it must be between {} and {}", dump(*value), low, high));
  return std::nullopt;
}

std::optional<std::string> Reader::string(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  fail(key, fmt::format("must be a string, not {}", type_name(*value)), "invalid_type");
  return std::nullopt;
}

const Json* Reader::array(const char* key) {
  const Json* value = find(key);
  if (value == nullptr || value->is_array()) return value;
  fail(key, fmt::format("must be an array, not {}", type_name(*value)), "invalid_type");
  return nullptr;
}

const Json* Reader::object(const char* key) {
  const Json* value = find(key);
  if (value == nullptr || value->is_object()) return value;
  fail(key, fmt::format("must be an object, not {}", type_name(*value)), "invalid_type");
  return nullptr;
}

void Reader::require(const char* key) {
  if (!failed() && find(key) == nullptr) fail(key, "is missing", "missing_required_parameter");
}

void Reader::refuse(const char* key, const char* why) {
  const Json* value = find(key);
  if (value == nullptr || *value == false || *value == "" || (value->is_structured() && value->empty())) return;
  fail(key, fmt::format("is not supported: {}", why), "unsupported_parameter");
}

}  // namespace zaya::server
