// One conversion of a value to text: what "%-5.2f" and "{:<5.2f}" have in common.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "text/jinja/value.h"

namespace zaya::text::jinja {

// Wider than anybody writes; keeps a format from filling the memory.
inline constexpr int64_t kMaxWidth = 1'000'000;

struct Spec {
  bool left = false, plus = false, blank = false, zero = false, alternate = false;
  int64_t width = 0;
  std::optional<int64_t> precision;
  char conversion = 's';
};

// sign, prefix and digits, padded.
std::string pad_number(const Spec& spec, bool negative, const std::string& prefix, std::string digits);

// The value by the conversion of printf that `spec` names. `markup`: what is printed gets escaped.
std::string convert(const Spec& spec, const Value& value, bool markup);

}  // namespace zaya::text::jinja
