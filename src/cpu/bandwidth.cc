#include "cpu/bandwidth.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <vector>

namespace zaya::cpu {
namespace {
constexpr size_t kStreams = 8, kLine = 8;  // a line is eight words

// The sum of `Streams` streams of `words` words each, which follow each other, read side by side. Eight sums, which the
// compiler turns into a few vectors. (Written with GCC's vectors of 64 bytes, without AVX-512, it was the processor
// that was measured: 42 GB/s of one stream where this reads 60.)
template <size_t Streams>
uint64_t sum(const uint64_t* first, size_t words) {
  uint64_t sums[kLine] = {};
  for (size_t i = 0; i < words; i += kLine) {
    for (size_t s = 0; s < Streams; ++s) {
      for (size_t j = 0; j < kLine; ++j) sums[j] += first[s * words + i + j];
    }
  }
  return std::accumulate(sums, sums + kLine, uint64_t{0});
}
}  // namespace

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
  const auto measure_streams = [&](const auto& sum_of_share) {
    std::vector<double> rates;
    for (int i = 0; i < std::max(1, passes); ++i) {
      const auto start = std::chrono::steady_clock::now();
      team.run([&](int worker) {
        const size_t at = static_cast<size_t>(worker);
        sums[at * kLine] += sum_of_share(words + at * stream_ * kStreams);
      });
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      rates.push_back(static_cast<double>(stream_ * kStreams * workers * sizeof(uint64_t)) / elapsed.count());
    }
    std::sort(rates.begin(), rates.end());
    return rates[rates.size() / 2];
  };
  const double several = measure_streams([&](const uint64_t* share) { return sum<kStreams>(share, stream_); });
  const double one = measure_streams([&](const uint64_t* share) { return sum<1>(share, stream_ * kStreams); });
  // The sums are used, so that the reads are done; each is at least one.
  return sums[0] == 0 ? 0 : std::max(several, one);
}

}  // namespace zaya::cpu
