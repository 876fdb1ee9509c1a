// Reading the room's own files: a member of an object, or the empty value where it is missing or of another kind.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "nlohmann/json.hpp"

namespace zaya::eval {

using Json = nlohmann::ordered_json;

inline std::string text_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

inline std::string text_at(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

inline bool truth_at(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_boolean() && found->get<bool>();
}

// Between 0 and 2^40.
inline int64_t count_at(const Json& json, const char* key) {
  constexpr int64_t kMany = int64_t{1} << 40;
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_integer()) return 0;
  return found->is_number_unsigned() && found->get<uint64_t>() > static_cast<uint64_t>(kMany)
             ? kMany
             : std::clamp<int64_t>(found->get<int64_t>(), 0, kMany);
}

}  // namespace zaya::eval
