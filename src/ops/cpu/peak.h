// Loops that do nothing but arithmetic, to measure what a machine could do at best.
#pragma once

#include <string>
#include <vector>

#include "cpu/isa.h"
#include "cpu/thread_team.h"

namespace zaya::ops {

struct Peak {
  std::string name;     // "fp32 vectors (avx512)", "int8 tiles (amx)"
  double op_per_s = 0;  // the whole team; a multiply-add is two operations
};

// FP32 multiply-adds, and 8-bit vectors and tiles if `isa` has them: each the median of `runs` runs of some 20 ms.
std::vector<Peak> arithmetic_peaks(cpu::ThreadTeam& team, cpu::Isa isa, int runs = 7);

}  // namespace zaya::ops
