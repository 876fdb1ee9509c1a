#include "ops/cpu/peak.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "ops/cpu/codes.h"
#include "ops/cpu/int8_tiles.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/tiles.h"

namespace zaya::ops {
namespace {

// Operations per second of the team, each worker doing `work`, which returns the operations it did.
double measure(cpu::ThreadTeam& team, int runs, const std::function<double()>& work) {
  std::vector<double> rates;
  std::vector<double> done(static_cast<size_t>(team.size()));
  for (int i = 0; i < std::max(1, runs); ++i) {
    const auto start = std::chrono::steady_clock::now();
    team.run([&](int worker) { done[static_cast<size_t>(worker)] = work(); });
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    double sum = 0;
    for (double d : done) sum += d;
    rates.push_back(sum / elapsed.count());
  }
  std::sort(rates.begin(), rates.end());
  return rates[rates.size() / 2];
}

}  // namespace

std::vector<Peak> arithmetic_peaks(cpu::ThreadTeam& team, cpu::Isa isa, int runs) {
  const Kernels& kernels = kernels_for(isa);
  constexpr int64_t kVectorRounds = 4'000'000, kTileRounds = 400'000;  // some 20 ms each
  std::vector<Peak> peaks{{std::string("fp32 vectors (") + vectors_name(isa) + ")",
                           measure(team, runs, [&] { return kernels.busy(kVectorRounds); })}};
  if (const CodeKernels* codes = code_kernels(isa)) {
    peaks.push_back({codes->peak, measure(team, runs, [&] { return codes->busy(kVectorRounds); })});
  }
  if (const TileKernels* tiles = tile_kernels(isa)) {
    peaks.push_back({tiles->peak, measure(team, runs, [&] { return tiles->busy(kTileRounds); })});
  }
  const Int8TileKernels* bytes = int8_tile_kernels(isa);
  if (bytes != nullptr && bytes->peak != nullptr) {
    peaks.push_back({bytes->peak, measure(team, runs, [&] { return bytes->busy(kTileRounds); })});
  }
  return peaks;
}

}  // namespace zaya::ops
