// Loops that do nothing but arithmetic, to measure what a machine could do at best.
#pragma once

#include <string>

#include "cpu/isa.h"
#include "cpu/thread_team.h"

namespace zaya::ops {

struct Peak {
  std::string name;       // "fp32 fma (avx512)", "bf16 tiles (amx)"
  double flop_per_s = 0;  // the whole team
};

// FP32 multiply-adds, and BF16 tiles if `isa` has them; medians of several short runs.
Peak vector_peak(cpu::ThreadTeam& team, cpu::Isa isa);
Peak tile_peak(cpu::ThreadTeam& team, cpu::Isa isa);  // flop_per_s 0 without tiles

}  // namespace zaya::ops
