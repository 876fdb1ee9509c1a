// Energy as the processor counts it: the RAPL package domains under /sys/class/powercap, which need not be there (in
// virtual machines) nor readable (by anyone but root).
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace zaya::eval {

class EnergyMeter {
 public:
  explicit EnergyMeter(const std::filesystem::path& root = "/sys/class/powercap");

  // Whether there is a counter to read.
  bool available() const { return !domains_.empty(); }

  // Joules since construction, of all packages: of the whole machine, whoever spends them. Counters wrap after minutes
  // to hours, so this must be called now and then. Negative when nothing is available.
  double joules();

 private:
  struct Domain {
    std::filesystem::path file;
    uint64_t range, last, sum;  // µJ
  };
  std::vector<Domain> domains_;
};

}  // namespace zaya::eval
