// API keys, and how much the holder of each may ask for at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace zaya::server {

// 0 = no limit beyond the server's own.
struct KeyLimits {
  int64_t requests = 0;    // being answered at the same time
  int64_t runs = 0;        // of these, runs of Markovian RSA
  int64_t run_tokens = 0;  // new tokens of one run
};

struct ApiKey {
  std::string key;
  KeyLimits limits;
};

// "KEY requests=4 runs=1 run-tokens=100000", the limits in any order, each at most once. invalid_argument otherwise;
// the message does not hold the key.
Result<ApiKey> parse_key(std::string_view line);

// What a key's holder has under way. From any thread.
class KeyUse {
 public:
  // Null when one of the limits is reached; else a place, which is free again when the last copy of it goes. The use
  // must outlive it.
  std::shared_ptr<void> enter(const KeyLimits& limits, bool run);

 private:
  std::atomic<int64_t> requests_{0}, runs_{0};
};

}  // namespace zaya::server
