#include "cpu/isa.h"

#include <algorithm>
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace zaya::cpu {
namespace {

#if defined(__x86_64__)
// A bit of what the processor says of itself in leaf 7, subleaf 1, eax.
bool leaf7_1(unsigned bit) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> bit & 1) != 0;
}
#endif

// AMX's tiles of BF16 and of bytes, and the kernel's leave to use the tiles, which a process asks for
// once.
bool amx_tiles() {
#if defined(ZAYA_EMULATE)
  return true;
#elif defined(__x86_64__) && defined(__linux__)
  static const bool usable = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
    constexpr unsigned kAmx = 1u << 22 | 1u << 24 | 1u << 25;  // BF16, tiles, int8
    if ((d & kAmx) != kAmx) return false;
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // arch_prctl's ARCH_REQ_XCOMP_PERM
    return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return usable;
#else
  return false;
#endif
}

// VEX-encoded products of bytes.
bool avx_vnni() {
#if defined(ZAYA_EMULATE)
  return true;
#elif defined(__x86_64__)
  static const bool usable = leaf7_1(4);
  return usable;
#else
  return false;
#endif
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::generic: return "generic";
    case Isa::avx2: return "avx2";
    case Isa::avxvnni: return "avxvnni";
    case Isa::avx512: return "avx512";
    case Isa::avx512bf16: return "avx512bf16";
    case Isa::amx: return "amx";
  }
  return "unknown";
}

Isa supported_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx2 && avx512) {
    static const bool bf16 = leaf7_1(5) && __builtin_cpu_supports("avx512vnni");
    if (!bf16) return Isa::avx512;
    return amx_tiles() ? Isa::amx : Isa::avx512bf16;
  }
  if (avx2) return avx_vnni() ? Isa::avxvnni : Isa::avx2;
#endif
  return Isa::generic;
}

bool is_supported(Isa isa) { return isa <= supported_isa() && (isa != Isa::avxvnni || avx_vnni()); }

Isa best_isa() {
  const Isa supported = supported_isa();
  const char* cap = std::getenv("ZAYA_ISA");
  if (cap == nullptr) return supported;
  for (Isa isa : kIsas) {
    if (std::string_view(cap) != isa_name(isa)) continue;
    if (isa == Isa::avxvnni && !is_supported(isa)) isa = Isa::avx2;
    return std::min(isa, supported);
  }
  return supported;
}

bool has_vnni(Isa isa) {
#if defined(__x86_64__)
  return isa >= Isa::avx512 && supported_isa() >= Isa::avx512 && __builtin_cpu_supports("avx512vnni");
#else
  (void)isa;
  return false;
#endif
}

int memory_streams() {
#if defined(__x86_64__) && !defined(ZAYA_EMULATE)
  __builtin_cpu_init();
  static const int streams = __builtin_cpu_is("amd") ? 1 : 8;
  return streams;
#else
  return 8;
#endif
}

}  // namespace zaya::cpu
