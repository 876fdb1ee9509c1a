#include "cpu/bandwidth.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace zaya::cpu {
namespace {
constexpr size_t kStreams = 8, kLine = 8;  // a line is eight words
}

Result<BandwidthProbe> BandwidthProbe::make(ThreadTeam& team, size_t bytes) {
  BandwidthProbe probe;
  const auto workers = static_cast<size_t>(team.size());
  probe.stream_ = bytes / sizeof(uint64_t) / workers / kStreams / kLine * kLine;
  if (probe.stream_ == 0) return Status(Code::invalid_argument, "too few bytes to measure with");
  ZAYA_ASSIGN(probe.pages_, Pages::allocate(bytes));
  auto* words = reinterpret_cast<uint64_t*>(probe.pages_.data());
  const size_t share = probe.stream_ * kStreams;
  team.run([&](int worker) { std::fill_n(words + static_cast<size_t>(worker) * share, share, uint64_t{1}); });
  return probe;
}

double BandwidthProbe::measure(ThreadTeam& team, int passes) {
  const auto* words = reinterpret_cast<const uint64_t*>(pages_.data());
  const auto workers = static_cast<size_t>(team.size());
  std::vector<uint64_t> sums(workers * kLine);
  const auto pass = [&](int worker) {
    const uint64_t* first = words + static_cast<size_t>(worker) * stream_ * kStreams;
    typedef uint64_t Line __attribute__((vector_size(64)));
    // Two sums for all streams: as many registers as every instruction set has. One for each stream spilled, and then
    // the probe measured its own stores.
    Line sum[2] = {};
    for (size_t i = 0; i < stream_; i += kLine) {
      for (size_t s = 0; s < kStreams; ++s) sum[s % 2] += *reinterpret_cast<const Line*>(first + s * stream_ + i);
    }
    for (const Line& line : sum) sums[static_cast<size_t>(worker) * kLine] += line[0] + line[7];
  };
  std::vector<double> rates;
  for (int i = 0; i < std::max(1, passes); ++i) {
    const auto start = std::chrono::steady_clock::now();
    team.run(pass);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    rates.push_back(static_cast<double>(stream_ * kStreams * workers * sizeof(uint64_t)) / elapsed.count());
  }
  std::sort(rates.begin(), rates.end());
  // The sums are used, so that the reads are done; each is at least one.
  return sums[0] == 0 ? 0 : rates[rates.size() / 2];
}

}  // namespace zaya::cpu
