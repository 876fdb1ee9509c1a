// The machine's read bandwidth, as a product with weights could use it.
#pragma once

#include <cstddef>

#include "base/status.h"
#include "cpu/thread_team.h"

namespace zaya::cpu {

// Bytes per second that the whole team reads from memory: each worker sums its share of `bytes`, eight interleaved
// streams at once (one stream per thread reads about a third less). The median of `repeats` passes over memory that was
// touched before. resource_exhausted when there is no such memory.
Result<double> read_bandwidth(ThreadTeam& team, size_t bytes = size_t{1} << 30, int repeats = 5);

}  // namespace zaya::cpu
