#include "ops/cpu/kernels.h"

#include "ops/cpu/amx.h"
#include "ops/cpu/amx_int8.h"
#include "ops/cpu/codes.h"

namespace zaya::ops {

namespace generic {
extern const Kernels kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kernels;
extern const CodeKernels codes;
}  // namespace avx2
namespace avxvnni {
extern const CodeKernels codes;
}
namespace avx512 {
extern const Kernels kernels;
}
namespace vnni {
extern const CodeKernels kernels;
}
namespace amx {
extern const AmxKernels kernels;
}
namespace amx_int8 {
extern const AmxInt8Kernels kernels;
}
#endif

const Kernels& kernels_for(cpu::Isa isa) {
#if defined(__x86_64__)
  if (isa >= cpu::Isa::avx512) return avx512::kernels;
  if (isa >= cpu::Isa::avx2) return avx2::kernels;
#endif
  (void)isa;
  return generic::kernels;
}

const char* vectors_name(cpu::Isa isa) {
  if (isa >= cpu::Isa::avx512) return cpu::isa_name(cpu::Isa::avx512);
  return cpu::isa_name(isa == cpu::Isa::avxvnni ? cpu::Isa::avx2 : isa);
}

const AmxKernels* amx_kernels(cpu::Isa isa) {
#if defined(__x86_64__)
  if (isa == cpu::Isa::amx) return &amx::kernels;
#endif
  (void)isa;
  return nullptr;
}

const AmxInt8Kernels* amx_int8_kernels(cpu::Isa isa) {
#if defined(__x86_64__)
  if (isa == cpu::Isa::amx) return &amx_int8::kernels;
#endif
  (void)isa;
  return nullptr;
}

const CodeKernels* code_kernels(cpu::Isa isa) {
#if defined(__x86_64__)
  if (cpu::has_vnni(isa)) return &vnni::kernels;
  if (isa == cpu::Isa::avxvnni && cpu::is_supported(isa)) return &avxvnni::codes;
  if (isa == cpu::Isa::avx2 || isa == cpu::Isa::avxvnni) return &avx2::codes;
#endif
  (void)isa;
  return nullptr;
}

}  // namespace zaya::ops
