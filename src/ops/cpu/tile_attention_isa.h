// TileKernels' attention, as each instruction set has it: pack_values and attend (tile_attention_isa.cc), scores and
// weighted_values (amx_attention_isa.cc, bf16_attention_isa.cc).
#pragma once

#include "ops/cpu/tiles.h"

namespace zaya::ops::ZAYA_ISA {

void pack_values(const float* values, int64_t count, int64_t dim, Bf16Tiles out, int64_t position);
void attend(const AttendTiles& work, float* scratch);
void scores(const float* queries, int64_t group, const KvPages& keys, int64_t dim, float* scores, int64_t stride,
            float* scratch);
void weighted_values(const float* weights, int64_t stride, int64_t group, const KvPages& values, int64_t dim,
                     float* out, float* scratch);

}  // namespace zaya::ops::ZAYA_ISA
