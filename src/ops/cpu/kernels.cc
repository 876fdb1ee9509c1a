#include "ops/cpu/kernels.h"

#include "ops/cpu/codes.h"
#include "ops/cpu/int8_tiles.h"
#include "ops/cpu/tiles.h"

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
namespace vnni_tiles {
extern const Int8TileKernels kernels;
}
namespace avx512bf16 {
extern const TileKernels kernels;
}
namespace amx {
extern const TileKernels kernels;
}
namespace amx_int8 {
extern const Int8TileKernels kernels;
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

const TileKernels* tile_kernels(cpu::Isa isa) {
#if defined(__x86_64__)
  if (isa == cpu::Isa::amx) return &amx::kernels;
  if (isa == cpu::Isa::avx512bf16) return &avx512bf16::kernels;
#endif
  (void)isa;
  return nullptr;
}

const Int8TileKernels* int8_tile_kernels(cpu::Isa isa) {
#if defined(__x86_64__)
  if (isa == cpu::Isa::amx) return &amx_int8::kernels;
  if (cpu::has_vnni(isa)) return &vnni_tiles::kernels;
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
