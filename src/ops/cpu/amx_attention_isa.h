// Attention on tiles: AmxKernels::pack_values and ::attend.
#pragma once

#include "ops/cpu/amx.h"

namespace zaya::ops::amx {

void pack_values(const float* values, int64_t count, int64_t dim, Bf16Tiles out, int64_t position);
void attend(const AttendTiles& work, float* scratch);

}  // namespace zaya::ops::amx
