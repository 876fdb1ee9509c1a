#include "ops/select_experts.h"

#include <algorithm>
#include <cmath>

namespace zaya::ops {

void select_experts(std::span<float> logits, const float* balancing_bias, int64_t top_k, int32_t* choice,
                    float* weight) {
  const float greatest = *std::max_element(logits.begin(), logits.end());
  float total = 0;
  for (float& value : logits) total += value = std::exp(value - greatest);
  for (float& value : logits) value /= total;

  for (int64_t k = 0; k < top_k; ++k) {
    int32_t best = -1;
    float best_score = 0;
    for (size_t c = 0; c < logits.size(); ++c) {
      if (std::find(choice, choice + k, static_cast<int32_t>(c)) != choice + k) continue;
      const float score = logits[c] + balancing_bias[c];
      if (best < 0 || score > best_score) {
        best = static_cast<int32_t>(c);
        best_score = score;
      }
    }
    choice[k] = best;
    weight[k] = logits[static_cast<size_t>(best)];
  }
}

}  // namespace zaya::ops
