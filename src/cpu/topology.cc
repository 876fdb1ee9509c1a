#include "cpu/topology.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace zaya::cpu {
namespace {

namespace fs = std::filesystem;

constexpr int kMostIds = 1 << 16;

// The first line of a small file; empty when it cannot be read.
std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<int> integer(std::string_view text) {
  int value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0) return std::nullopt;
  return value;
}

// "32K", "105M"; 0 for anything else.
int64_t size_in_bytes(std::string_view text) {
  const std::optional<int> value = integer(text);
  if (!value.has_value()) return 0;
  const int64_t unit = text.ends_with('K') ? 1 << 10 : text.ends_with('M') ? 1 << 20 : 1;
  return *value * unit;
}

std::set<int> allowed_processors() {
  std::set<int> allowed;
#if defined(__linux__)
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) {
    for (int id = 0; id < CPU_SETSIZE; ++id) {
      if (CPU_ISSET(id, &mask)) allowed.insert(id);
    }
  }
#endif
  return allowed;
}

template <class Key>
int distinct(const std::vector<Processor>& processors, Key Processor::*key) {
  std::set<int> values;
  for (const Processor& p : processors) values.insert(p.*key);
  return static_cast<int>(values.size());
}

std::vector<Cache> read_caches(const fs::path& directory) {
  std::vector<Cache> caches;
  for (int i = 0; i < 16; ++i) {
    const fs::path index = directory / ("index" + std::to_string(i));
    const std::optional<int> level = integer(first_line(index / "level"));
    if (!level.has_value()) break;
    caches.push_back({*level, first_line(index / "type"), size_in_bytes(first_line(index / "size")),
                      static_cast<int>(parse_list(first_line(index / "shared_cpu_list")).size())});
  }
  return caches;
}

}  // namespace

int Topology::sockets() const { return distinct(processors, &Processor::socket); }
int Topology::nodes() const { return distinct(processors, &Processor::node); }
int Topology::cores() const { return distinct(processors, &Processor::core); }

std::set<int> parse_list(std::string_view text) {
  std::set<int> ids;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const size_t dash = part.find('-');
    const std::optional<int> first = integer(part.substr(0, dash));
    const std::optional<int> last = dash == part.npos ? first : integer(part.substr(dash + 1));
    if (!first.has_value() || !last.has_value()) continue;
    for (int id = *first; id <= std::min(*last, kMostIds - 1); ++id) ids.insert(id);
  }
  return ids;
}

Topology read_topology(const fs::path& root, const std::set<int>& allowed) {
  std::set<int> ids = parse_list(first_line(root / "cpu/online"));
  if (ids.empty()) ids = allowed;
  Topology topology;
  for (int id : ids) {
    if (!allowed.empty() && !allowed.contains(id)) continue;
    const fs::path place = root / "cpu" / ("cpu" + std::to_string(id)) / "topology";
    std::set<int> siblings = parse_list(first_line(place / "core_cpus_list"));
    if (siblings.empty()) siblings = parse_list(first_line(place / "thread_siblings_list"));
    topology.processors.push_back({.id = id,
                                   .socket = integer(first_line(place / "physical_package_id")).value_or(0),
                                   .core = siblings.contains(id) ? *siblings.begin() : id});
  }
  if (topology.processors.empty()) {
    const int count = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    for (int id = 0; id < count; ++id) topology.processors.push_back({.id = id, .core = id});
  }
  for (int node : parse_list(first_line(root / "node/online"))) {
    const std::set<int> members = parse_list(first_line(root / "node" / ("node" + std::to_string(node)) / "cpulist"));
    for (Processor& p : topology.processors) {
      if (members.contains(p.id)) p.node = node;
    }
  }
  const std::string first = "cpu" + std::to_string(topology.processors[0].id);
  topology.caches = read_caches(root / "cpu" / first / "cache");
  return topology;
}

const Topology& machine() {
  static const Topology topology = read_topology("/sys/devices/system", allowed_processors());
  return topology;
}

std::string processor_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != line.npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

std::vector<const Processor*> plan_workers(const Topology& topology, int workers) {
  // Per node its processors: one of each core first, then second siblings, and so on.
  struct Node {
    std::vector<const Processor*> order;
    int cores = 0;
    int workers = 0;
  };
  std::map<int, Node> nodes;
  std::map<int, int> seen;  // processors met, by core
  std::vector<std::pair<int, const Processor*>> by_rank;
  for (const Processor& p : topology.processors) by_rank.emplace_back(seen[p.core]++, &p);
  std::stable_sort(by_rank.begin(), by_rank.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [rank, p] : by_rank) {
    nodes[p->node].order.push_back(p);
    if (rank == 0) ++nodes[p->node].cores;
  }

  // One worker after the other goes to the node with the fewest workers for its cores: exact proportions, and a
  // remainder that no node gets twice of.
  for (int w = 0; w < workers; ++w) {
    const auto least = std::min_element(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) {
      return static_cast<int64_t>(a.second.workers) * b.second.cores <
             static_cast<int64_t>(b.second.workers) * a.second.cores;
    });
    ++least->second.workers;
  }
  std::vector<const Processor*> plan;
  for (const auto& [id, node] : nodes) {
    for (int w = 0; w < node.workers; ++w) plan.push_back(node.order[static_cast<size_t>(w) % node.order.size()]);
  }
  return plan;
}

std::vector<RowRange> plan_rows(const std::vector<const Processor*>& workers, int64_t rows, int64_t unit) {
  const auto count = static_cast<int64_t>(workers.size());
  const int64_t units = (rows + unit - 1) / unit;
  std::vector<RowRange> ranges;
  for (int64_t w = 0; w < count;) {
    const int node = workers[static_cast<size_t>(w)]->node;
    int64_t end = w;
    while (end < count && workers[static_cast<size_t>(end)]->node == node) ++end;
    ranges.push_back({node, std::min(rows, units * w / count * unit), std::min(rows, units * end / count * unit)});
    w = end;
  }
  return ranges;
}

}  // namespace zaya::cpu
