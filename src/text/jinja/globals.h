// The functions every template can call: range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
#pragma once

#include <string_view>

#include "text/jinja/value.h"

namespace zaya::text::jinja {

// Missing when there is no such global.
Value find_global(std::string_view name);

}  // namespace zaya::text::jinja
