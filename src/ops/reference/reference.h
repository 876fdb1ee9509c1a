// The readable backend: FP32, one thread, plain loops. It is the definition that the others are tested against.
#pragma once

#include "ops/backend.h"

namespace zaya::ops {

class ReferenceBackend final : public Backend {
 public:
  std::string name() const override { return "reference"; }
  int threads() const override { return 1; }

  void embed(const Matrix& embedding, std::span<const int32_t> tokens, const float* scale, const float* bias,
             float* out) override;
  void rms_norm(const float* x, int64_t n, int64_t width, const float* weight, double eps, float* out) override;
  using Backend::project;
  void project(std::span<const Projection> projections, const float* x, int64_t n) override;
  void cca(const CcaShape& shape, const CcaWeights& weights, std::span<const Run> runs, const float* c0,
           const float* value_current, const float* value_delayed, const float* cos, const float* sin,
           float* q_out) override;
  void attend(const CcaShape& shape, std::span<const Run> runs, const float* q, float* out) override;
  void merge(const ResidualScales& scales, const float* branch, int64_t n, int64_t width, float* residual) override;
  void route(const RouterWeights& weights, const float* x, int64_t n, int64_t top_k, float* state, int32_t* choice,
             float* weight) override;
  void experts(std::span<const Expert> experts, const float* x, int64_t n, int64_t top_k, const int32_t* choice,
               const float* weight, float* out) override;
};

}  // namespace zaya::ops
