// Small JSON files (config.json, the shard index) parsed strictly: no duplicate keys, bounded depth, no exceptions.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

#include "base/status.h"

namespace zaya::checkpoint {

// Nested objects and arrays allowed; published files need four.
inline constexpr int max_json_depth = 32;

// Parses `text`, which must be one JSON object; `label` names it in errors.
Result<nlohmann::json> parse_json_object(std::string_view text, const std::string& label);

}  // namespace zaya::checkpoint
