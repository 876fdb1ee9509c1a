// Python's operators.
#pragma once

#include <cstdint>
#include <optional>

#include "text/jinja/ast.h"
#include "text/jinja/value.h"

namespace zaya::text::jinja {

Value apply(Binary::Operator op, const Value& left, const Value& right);
Value apply(Unary::Operator op, const Value& operand);
bool compare(Compare::Operator op, const Value& left, const Value& right);
// needle in haystack
bool contains(const Value& haystack, const Value& needle);

// `amount` times the text, bounded.
std::string repeat(std::string_view text, int64_t amount);

// The integer that stands for an index or a count; fails for what is no integer ("… object cannot be interpreted as an
// integer").
int64_t require_integer(const Value& value);

}  // namespace zaya::text::jinja
