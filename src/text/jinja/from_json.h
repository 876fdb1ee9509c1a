// JSON to the values of a template.
#pragma once

#include "nlohmann/json.hpp"
#include "text/jinja/value.h"

namespace zaya::text::jinja {

// Throws Error for text that is not UTF-8, integers of more than 64 bits, and nesting beyond 500.
Value from_json(const nlohmann::ordered_json& json);

}  // namespace zaya::text::jinja
