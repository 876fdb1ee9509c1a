// Instruction sets that kernels are built for, and the best one this machine runs.
#pragma once

#include <string_view>

namespace zaya::cpu {

// Ordered: a greater value includes the smaller ones. `generic` is what the compiler targets by default (x86-64: SSE2;
// any other architecture: its baseline).
// `amx` is AVX-512 with AVX512_BF16 and AMX's tiles of BF16 and of bytes.
enum class Isa { generic, avx2, avx512, amx };

const char* isa_name(Isa isa);

// What the processor and the operating system support, lowered to the environment variable ZAYA_ISA (generic, avx2,
// avx512 or amx) when that is set; unknown values are ignored.
Isa best_isa();

// What is supported, whatever ZAYA_ISA says.
Isa supported_isa();

// Whether `isa` comes with AVX512_VNNI here: four 8-bit products in one instruction.
bool has_vnni(Isa isa);

}  // namespace zaya::cpu
