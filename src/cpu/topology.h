// What the machine is made of, as the kernel says under /sys, and two plans made from it: which processor each worker
// of a team should run on, and on which node's memory the rows of a matrix should lie.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace zaya::cpu {

// One logical processor.
struct Processor {
  int id = 0;
  int node = 0;    // NUMA node
  int socket = 0;  // physical package
  int core = 0;    // the least processor of those that share its physical core (SMT siblings)
};

struct Cache {
  int level = 0;
  std::string kind;  // "Data", "Instruction" or "Unified"
  int64_t bytes = 0;
  int processors = 0;  // that share it
};

struct Topology {
  std::vector<Processor> processors;  // ascending by id; never empty
  std::vector<Cache> caches;          // those of the first processor

  int sockets() const;
  int nodes() const;
  int cores() const;  // physical ones
};

// The processors among `allowed` (empty: all that are online) under `root`, which has cpu/ and node/ as
// /sys/devices/system has. What cannot be read takes the simplest value: one node, one socket, each processor a core of
// its own.
Topology read_topology(const std::filesystem::path& root, const std::set<int>& allowed);

// This machine, the processors that this process may use. Read once.
const Topology& machine();

// "0-3,8" as {0, 1, 2, 3, 8}; malformed parts and ids beyond 65535 are left out.
std::set<int> parse_list(std::string_view text);

// "Intel(R) Xeon(R) Processor", from /proc/cpuinfo; "unknown processor" where it does not say.
std::string processor_model();

// The processor for each of `workers` workers. Workers are spread over the nodes in proportion to their cores, those of
// one node next to each other; each gets a physical core of its own while there are any, then its siblings are used.
// With more workers than processors the rest start over.
std::vector<const Processor*> plan_workers(const Topology& topology, int workers);

// Rows [begin, end) of a matrix, for one node.
struct RowRange {
  int node = 0;
  int64_t begin = 0, end = 0;
};

// Where the rows of a matrix should lie when `workers` read it together: each node gets a range in proportion to its
// workers, in multiples of `unit`; nodes in the order of their workers. Covers [0, rows) without gaps.
std::vector<RowRange> plan_rows(const std::vector<const Processor*>& workers, int64_t rows, int64_t unit);

}  // namespace zaya::cpu
