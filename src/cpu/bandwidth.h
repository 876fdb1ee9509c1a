// The machine's read bandwidth, as a product with weights could use it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"
#include "cpu/pages.h"
#include "cpu/thread_team.h"

namespace zaya::cpu {

// Memory to measure with, kept between measurements, so that one can be taken between two others of something else.
class BandwidthProbe {
 public:
  // `bytes` should be several times the last cache. They are touched by the workers that will read them.
  // resource_exhausted when there is no such memory; invalid_argument when it is too little for the team.
  static Result<BandwidthProbe> make(ThreadTeam& team, size_t bytes = size_t{1} << 29);

  // Bytes per second that the whole team reads from memory: each worker sums its share, eight interleaved streams at
  // once or one, whichever comes faster (on Intel's Sapphire Rapids eight, by a half; on AMD's Zen 4 one, by a
  // tenth). The median of `passes` passes. The team is the one that the probe was made with.
  double measure(ThreadTeam& team, int passes = 3);

 private:
  Pages pages_;
  size_t stream_ = 0;  // words of one stream
};

}  // namespace zaya::cpu
