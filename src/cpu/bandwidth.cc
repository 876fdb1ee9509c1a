#include "cpu/bandwidth.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "cpu/pages.h"

namespace zaya::cpu {

Result<double> read_bandwidth(ThreadTeam& team, size_t bytes, int repeats) {
  constexpr size_t kStreams = 8, kLine = 8;  // a line is eight words
  ZAYA_ASSIGN(const Pages pages, Pages::allocate(bytes));
  auto* words = reinterpret_cast<uint64_t*>(pages.data());
  const auto workers = static_cast<size_t>(team.size());
  const size_t stream = bytes / sizeof(uint64_t) / workers / kStreams / kLine * kLine;
  if (stream == 0) return Status(Code::invalid_argument, "too few bytes to measure with");
  std::vector<uint64_t> sums(workers * kLine);

  const auto pass = [&](int worker) {
    const uint64_t* first = words + static_cast<size_t>(worker) * stream * kStreams;
    typedef uint64_t Line __attribute__((vector_size(64)));
    Line sum[kStreams] = {};
    for (size_t i = 0; i < stream; i += kLine) {
      for (size_t s = 0; s < kStreams; ++s) sum[s] += *reinterpret_cast<const Line*>(first + s * stream + i);
    }
    for (const Line& line : sum) sums[static_cast<size_t>(worker) * kLine] += line[0] + line[7];
  };
  team.run([&](int worker) {
    std::fill_n(words + static_cast<size_t>(worker) * stream * kStreams, stream * kStreams, uint64_t{1});
  });
  std::vector<double> rates;
  for (int i = 0; i < std::max(1, repeats); ++i) {
    const auto start = std::chrono::steady_clock::now();
    team.run(pass);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    rates.push_back(static_cast<double>(stream * kStreams * workers * sizeof(uint64_t)) / elapsed.count());
  }
  // The sums are used, so that the reads are done.
  if (sums[0] == 0) return Status(Code::io_error, "memory did not keep what was written to it");
  std::sort(rates.begin(), rates.end());
  return rates[rates.size() / 2];
}

}  // namespace zaya::cpu
