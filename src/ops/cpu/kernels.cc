#include "ops/cpu/kernels.h"

namespace zaya::ops {

extern const Kernels kernels_generic;
#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#endif

const Kernels& kernels_for(cpu::Isa isa) {
#if defined(__x86_64__)
  if (isa == cpu::Isa::avx512) return kernels_avx512;
  if (isa == cpu::Isa::avx2) return kernels_avx2;
#endif
  (void)isa;
  return kernels_generic;
}

}  // namespace zaya::ops
