#include "ops/cpu/peak.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "ops/cpu/amx.h"
#include "ops/cpu/kernels.h"

namespace zaya::ops {
namespace {

// Operations per second of the team, each worker doing `work`, which returns the operations it did.
double measure(cpu::ThreadTeam& team, const std::function<double()>& work) {
  constexpr int kRuns = 7;
  std::vector<double> rates;
  std::vector<double> done(static_cast<size_t>(team.size()));
  for (int i = 0; i < kRuns; ++i) {
    const auto start = std::chrono::steady_clock::now();
    team.run([&](int worker) { done[static_cast<size_t>(worker)] = work(); });
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    double sum = 0;
    for (double d : done) sum += d;
    rates.push_back(sum / elapsed.count());
  }
  std::sort(rates.begin(), rates.end());
  return rates[kRuns / 2];
}

}  // namespace

Peak vector_peak(cpu::ThreadTeam& team, cpu::Isa isa) {
  const Kernels& kernels = kernels_for(isa);
  constexpr int64_t kIterations = 4'000'000;  // some 20 ms
  return {.name = std::string("fp32 vectors (") + cpu::isa_name(std::min(isa, cpu::Isa::avx512)) + ")",
          .flop_per_s = measure(team, [&] { return kernels.busy(kIterations); })};
}

Peak tile_peak(cpu::ThreadTeam& team, cpu::Isa isa) {
  Peak peak{.name = "bf16 tiles (amx)"};
  constexpr int64_t kIterations = 400'000;
  if (const AmxKernels* amx = amx_kernels(isa)) {
    peak.flop_per_s = measure(team, [&] { return amx->busy(kIterations); });
  }
  return peak;
}

}  // namespace zaya::ops
