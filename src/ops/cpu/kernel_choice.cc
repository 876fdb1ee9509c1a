// Says which kernel multiply() takes (cpu_backend.cc): for people, by way of `zaya doctor`.
#include <algorithm>

#include "ops/cpu/coarse_kernels.h"
#include "ops/cpu/cpu_backend.h"

namespace zaya::ops {

std::string CpuBackend::kernel_for(const Matrix& w, int64_t n) const {
  if (on_int8_tiles(w, n)) return int8_tiles_->name;
  if (on_bf16_tiles(w, n)) return tiles_->name;
  if (on_codes(w, n)) return codes_->name + std::string(bits_ == CodeBits::eight ? " int8" : " 15-bit");
  const std::string vectors = vectors_name(isa_);
  if (!is_packed(w.type)) return vectors + " as stored";
  return vectors + (n == 1 ? " one row" : " rows together");
}

std::string CpuBackend::kernel_for_head(const Head& head, int64_t n) const {
  return head.coarse.data != nullptr ? std::string(coarse_kernels(isa_, n).name) : kernel_for(head.exact, n);
}

}  // namespace zaya::ops
