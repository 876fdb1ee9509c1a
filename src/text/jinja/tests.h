// The tests: x is name(…).
#pragma once

#include <string_view>

#include "text/jinja/ast.h"

namespace zaya::text::jinja {

// Null for unknown names.
TestFunction find_test(std::string_view name);
[[noreturn]] void refuse_test(std::string_view name, int line);

}  // namespace zaya::text::jinja
