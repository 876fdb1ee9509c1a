// Who among the prompts in progress gets how much of a step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace zaya::engine {

// A prompt that still has tokens to compute.
struct PrefillClaim {
  int64_t remaining = 0;    // tokens, at least 1
  int64_t passed_over = 0;  // steps in a row in which it got nothing
  int64_t last_served = 0;  // the step in which it got something last; smaller = longer ago
};

// A prompt that was passed over this often is first in line.
inline constexpr int64_t kMostPassedOver = 4;

// Shares `budget` tokens out; the result has one number per claim, 0 = nothing in this step. In this order:
//   1. who was passed over kMostPassedOver times, longest first: nobody starves;
//   2. prompts that can be finished within a quarter of the budget, shortest first: a short question does not wait
//      behind somebody's book;
//   3. the others in turn, the one that was served longest ago first.
// In each step at most one of the first kind is served before the short ones, so that a crowd of long prompts cannot
// starve those.
std::vector<int64_t> share_prefill(std::span<const PrefillClaim> claims, int64_t budget);

}  // namespace zaya::engine
