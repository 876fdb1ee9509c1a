#include "ops/cpu/coarse_kernels.h"

#include <algorithm>

namespace zaya::ops {
namespace {

// Without vectors by name, one token at a time: a superblock's weights as bytes, then sums that the compiler may make
// vectors of.
void logits(const CoarseProduct& p, int64_t) {
  const int64_t supers = superblocks_of(p.cols);
  const std::byte* block = p.blocks;
  for (int64_t row = 0; row < p.rows; row += kBlockRows, block += coarse_block_bytes(p.cols)) {
    int32_t sums[kBlockRows] = {};
    for (int64_t s = 0; s < supers; ++s) {
      int8_t weights[kBlockRows][kBlockCols];
      for (int64_t r = 0; r < kBlockRows; ++r) {
        for (int64_t c = 0; c < kBlockCols; ++c) {
          weights[r][c] = static_cast<int8_t>(table3(coarse_code(block + s * kCoarseSuperblock, r, c)));
        }
      }
      for (int64_t r = 0; r < kBlockRows; ++r) {
        int32_t sum = 0;
        for (int64_t c = 0; c < kBlockCols; ++c) sum += weights[r][c] * p.x.codes[s * kBlockCols + c];
        sums[r] += sum;
      }
    }
    for (int64_t r = row; r < std::min(p.rows, row + kBlockRows); ++r) {
      p.out[r] =
          static_cast<float>(sums[r - row]) * p.x.scale[0] * p.row_scale[r] + (p.bias == nullptr ? 0.0f : p.bias[r]);
    }
  }
}

constexpr CoarseKernels kGeneric = {"generic, 3-bit copy", 1, 1, logits};

}  // namespace

#if defined(__x86_64__)
namespace avx2 {
extern const CoarseKernels coarse;
}
namespace avxvnni {
extern const CoarseKernels coarse;
}
namespace vnni {
extern const CoarseKernels coarse;
}
namespace amx {
extern const CoarseKernels coarse;
}
#endif

const CoarseKernels& coarse_kernels(cpu::Isa isa, int64_t n) {
#if defined(__x86_64__)
  constexpr int64_t kFewestOnTiles = 8;
  if (isa == cpu::Isa::amx && n >= kFewestOnTiles) return amx::coarse;
  if (cpu::has_vnni(isa)) return vnni::coarse;
  if (isa >= cpu::Isa::avxvnni && cpu::is_supported(cpu::Isa::avxvnni)) return avxvnni::coarse;
  if (isa >= cpu::Isa::avx2) return avx2::coarse;
#endif
  (void)isa, (void)n;
  return kGeneric;
}

}  // namespace zaya::ops
