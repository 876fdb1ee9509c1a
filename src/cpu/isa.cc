#include "cpu/isa.h"

#include <algorithm>
#include <cstdlib>

namespace zaya::cpu {

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::generic: return "generic";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
  }
  return "unknown";
}

Isa supported_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx2 && avx512) return Isa::avx512;
  if (avx2) return Isa::avx2;
#endif
  return Isa::generic;
}

Isa best_isa() {
  const Isa supported = supported_isa();
  const char* cap = std::getenv("ZAYA_ISA");
  if (cap == nullptr) return supported;
  for (Isa isa : {Isa::generic, Isa::avx2, Isa::avx512}) {
    if (std::string_view(cap) == isa_name(isa)) return std::min(isa, supported);
  }
  return supported;
}

}  // namespace zaya::cpu
