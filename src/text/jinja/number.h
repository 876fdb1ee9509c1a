// Python's reading and printing of numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace zaya::text::jinja {

// float(text): white space around, underscores between digits, inf and nan. Nothing when it is not a number.
std::optional<double> parse_float(std::string_view text);

// int(text, base), base 0 or 2 to 36. Nothing when it is not an integer or there is no such base; throws Error when it
// needs more than 64 bits.
std::optional<int64_t> parse_integer(std::string_view text, int64_t base);

// repr(float): the shortest digits that give the same float again.
std::string float_text(double value);

// round(value, digits), correctly rounded, half to even.
double round_float(double value, int64_t digits);

}  // namespace zaya::text::jinja
