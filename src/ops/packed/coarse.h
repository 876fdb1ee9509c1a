// A 4-bit copy of an 8-bit matrix, for the first stage of the LM head (Backend::head). Both tables reach ±127, so the
// copy keeps the scales and the row factors and only takes the nearest of the 16 values for each code: no search.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/packed/layout.h"

namespace zaya::ops {

// What a product with the copy may change beside the copy's own errors: its activations are rounded to 8 bits, and on
// tiles its weights once more. As a part of the product's size, 31 dB down, the most that docs/performance.md has for
// any kind of weights and activations.
inline constexpr float kCoarseNoise = 0.03f;

// One block of 16 rows: `q8` is block_bytes(q8, cols), `q4` receives block_bytes(q4, cols). error[16]: the length
// √Σ((q8 − q4)² + (kCoarseNoise · q4)²) of what each row of the copy errs by, without the row's factor.
void coarsen_block(const std::byte* q8, int64_t cols, std::byte* q4, float* error);

}  // namespace zaya::ops
