// The filters: x | name(…).
#pragma once

#include <string_view>

#include "text/jinja/ast.h"

namespace zaya::text::jinja {

// Null for names that are unknown or that we lack.
FilterFunction find_filter(std::string_view name);
// Throws what using a filter without a function is: malformed when jinja2 has none either, else unsupported.
[[noreturn]] void refuse_filter(std::string_view name, int line);
// Whether jinja2 has the filter.
bool filter_exists(std::string_view name);

}  // namespace zaya::text::jinja
