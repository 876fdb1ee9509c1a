// Instruction sets that kernels are built for, and the best one this machine runs.
#pragma once

#include <string_view>

namespace zaya::cpu {

// Ordered: a greater value includes the smaller ones, only that not every processor with AVX-512 has AVX-VNNI: Intel's
// server processors from Sapphire Rapids on do, laptops from Alder Lake on without AVX-512, AMD from Zen 5 on.
// `generic` is what the compiler targets by default (x86-64: SSE2; any other architecture: its baseline).
// `avxvnni` is AVX2 with AVX-VNNI: four 8-bit products in one instruction, on vectors of 256 bits.
// `avx512bf16` is AVX-512 with AVX512_BF16 and AVX512_VNNI: AMD from Zen 4 on, Intel's servers from Sapphire Rapids on.
// `amx` is that with AMX's tiles of BF16 and of bytes.
enum class Isa { generic, avx2, avxvnni, avx512, avx512bf16, amx };
inline constexpr Isa kIsas[] = {Isa::generic, Isa::avx2, Isa::avxvnni, Isa::avx512, Isa::avx512bf16, Isa::amx};

const char* isa_name(Isa isa);

// What the processor and the operating system support, lowered to the environment variable ZAYA_ISA (generic, avx2,
// avxvnni, avx512, avx512bf16 or amx) when that is set; unknown values are ignored.
Isa best_isa();

// What is supported, whatever ZAYA_ISA says; and whether `isa` is.
Isa supported_isa();
bool is_supported(Isa isa);

// Whether `isa` comes with AVX512_VNNI here: avxvnni's products on vectors of 512 bits.
bool has_vnni(Isa isa);

// How many streams a thread should read memory as: one on AMD's processors (Zen 4 decodes 7 % faster from one, unasked
// for, than from eight), eight elsewhere (Sapphire Rapids reads them half as fast again as one).
int memory_streams();

}  // namespace zaya::cpu
