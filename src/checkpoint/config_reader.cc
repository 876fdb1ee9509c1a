#include "checkpoint/config_reader.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace zaya::checkpoint {

using nlohmann::json;

std::string json_excerpt(const json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("a list of {}", value.size());
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 60) + "…";
  return text;
}

const json* ConfigReader::find(std::string_view key) const {
  const auto at = object_.find(key);
  return at == object_.end() || at->is_null() ? nullptr : &*at;
}

int64_t ConfigReader::checked_integer(const json& value, const std::string& name, int64_t low, int64_t high) {
  if (!value.is_number_integer()) {
    fail(Code::malformed, fmt::format("{} must be an integer, found {}", name, json_excerpt(value)));
    return low;
  }
  // is_number_unsigned first: values above INT64_MAX exist only there.
  const bool huge = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  const int64_t number = huge ? INT64_MAX : value.get<int64_t>();
  if (huge || number < low || number > high) {
    fail(Code::out_of_range,
         fmt::format("{} is {}; it must be between {} and {}", name, json_excerpt(value), low, high));
    return low;
  }
  return number;
}

int64_t ConfigReader::integer(std::initializer_list<std::string_view> keys, int64_t low, int64_t high,
                              std::optional<int64_t> fallback) {
  for (std::string_view key : keys) {
    if (const json* value = find(key)) return checked_integer(*value, std::string(key), low, high);
  }
  if (!fallback) {
    fail(Code::malformed, fmt::format("{} is missing", *keys.begin()));
    return low;
  }
  note(fmt::format("{} is not stated; {} is assumed", *keys.begin(), *fallback));
  return *fallback;
}

double ConfigReader::number(std::initializer_list<std::string_view> keys, double low, bool open_low, double high,
                            std::optional<double> fallback) {
  for (std::string_view key : keys) {
    const json* value = find(key);
    if (value == nullptr) continue;
    if (!value->is_number()) {
      fail(Code::malformed, fmt::format("{} must be a number, found {}", key, json_excerpt(*value)));
      return high;
    }
    const double number = value->get<double>();
    if (!std::isfinite(number) || number < low || (open_low && number <= low) || number > high) {
      fail(Code::out_of_range, fmt::format("{} is {}; it must be {} {} and at most {}", key, json_excerpt(*value),
                                           open_low ? "above" : "at least", low, high));
      return high;
    }
    return number;
  }
  if (!fallback) {
    fail(Code::malformed, fmt::format("{} is missing", *keys.begin()));
    return high;
  }
  note(fmt::format("{} is not stated; {} is assumed", *keys.begin(), *fallback));
  return *fallback;
}

bool ConfigReader::boolean(std::string_view key, bool fallback) {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    fail(Code::malformed, fmt::format("{} must be true or false, found {}", key, json_excerpt(*value)));
    return fallback;
  }
  return value->get<bool>();
}

void ConfigReader::require_boolean(std::string_view key, bool only, std::string_view why) {
  if (boolean(key, only) != only) {
    fail(Code::unsupported, fmt::format("{} is {}: {}", key, !only, why));
  }
}

void ConfigReader::require_string(std::string_view key, std::string_view only, std::string_view why) {
  const json* value = find(key);
  if (value == nullptr || (value->is_string() && value->get_ref<const std::string&>() == only)) return;
  fail(Code::unsupported, fmt::format("{} is {}: {} \"{}\"", key, json_excerpt(*value), why, only));
}

void ConfigReader::fail(Code code, std::string message, std::string hint) {
  if (status_.ok()) status_ = Status(code, label_ + ": " + std::move(message), std::move(hint));
}

void ConfigReader::note(std::string sentence) {
  if (notes_ != nullptr) notes_->push_back(label_ + ": " + std::move(sentence));
}

}  // namespace zaya::checkpoint
