// Reading what models write as answers. All of it takes any text, in time linear in its (bounded) length.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gym/gym.h"

namespace zaya::gym {

// Longer answers are wrong answers: no environment has one of a tenth of this.
constexpr size_t kMaxAnswerBytes = 4096;

std::string_view trimmed(std::string_view text);
std::string lower(std::string_view text);
// Without white space, quotes, dollar signs and \text{} around it, and without a full stop at its end.
std::string_view tidied(std::string_view text);

// "1234", "-12", "+7", "1,234"; white space around it. Nothing when it is something else or does not fit.
std::optional<int64_t> parse_integer(std::string_view text);
// Behind the last "=", if there is one: "x = 5" and "12 * 3 = 36".
std::string_view right_hand_side(std::string_view text);
// All unsigned integers (signed where `signs`: a "-" directly before a digit and not behind one) in the order in which
// they stand, at most `limit`; INT64_MAX stands for those that are too large.
std::vector<int64_t> integers_in(std::string_view text, bool signs, size_t limit = kMaxAnswerBytes);

// The verifier of environments whose answer is one integer.
bool same_integer(const Problem& problem, std::string_view answer);
// The verifier of environments whose answer is a text: equal up to case, white space and quotes.
bool same_text(const Problem& problem, std::string_view answer);

}  // namespace zaya::gym
