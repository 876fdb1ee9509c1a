#include "eval/energy.h"

#include <fstream>
#include <optional>
#include <string>

namespace zaya::eval {
namespace {

std::optional<uint64_t> read_number(const std::filesystem::path& path) {
  std::ifstream file(path);
  uint64_t value = 0;
  if (!(file >> value)) return std::nullopt;
  return value;
}

}  // namespace

EnergyMeter::EnergyMeter(const std::filesystem::path& root) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(root, error)) {
    // "intel-rapl:0" is a package (AMD's carry the same name); "intel-rapl:0:1" is a part of one.
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("intel-rapl:") || name.find(':') != name.rfind(':')) continue;
    const auto now = read_number(entry.path() / "energy_uj");
    if (!now.has_value()) continue;
    domains_.push_back(
        {entry.path() / "energy_uj", read_number(entry.path() / "max_energy_range_uj").value_or(0), *now, 0});
  }
}

double EnergyMeter::joules() {
  if (domains_.empty()) return -1;
  uint64_t sum = 0;
  for (Domain& domain : domains_) {
    if (const auto now = read_number(domain.file); now.has_value()) {
      domain.sum += *now >= domain.last ? *now - domain.last : *now + domain.range - domain.last;
      domain.last = *now;
    }
    sum += domain.sum;
  }
  return static_cast<double>(sum) * 1e-6;
}

}  // namespace zaya::eval
