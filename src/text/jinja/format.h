// Python's two ways of formatting strings.
#pragma once

#include <string>

#include "text/jinja/objects.h"
#include "text/jinja/value.h"

namespace zaya::text::jinja {

// format % arguments, where arguments is a tuple, a dict or a single value.
Value format_percent(const Value& format, const Value& arguments);

// format.format(…)
std::string format_braces(const Value& format, Arguments& arguments);

}  // namespace zaya::text::jinja
