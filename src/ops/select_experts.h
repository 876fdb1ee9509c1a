// The router's last step for one token, shared by the backends: it is tiny and must agree everywhere.
#pragma once

#include <cstdint>
#include <span>

namespace zaya::ops {

// Softmax over the logits in FP32, then the `top_k` classes with the greatest probability + balancing bias, best first
// (ties to the lower class). weight[k] is the unbiased probability of choice[k], not renormalised. Overwrites logits
// with the probabilities.
void select_experts(std::span<float> logits, const float* balancing_bias, int64_t top_k, int32_t* choice,
                    float* weight);

}  // namespace zaya::ops
