// Counters and histograms in Prometheus' text form.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "engine/service.h"
#include "server/http.h"

namespace zaya::server {

// Times in seconds, from a millisecond to five minutes. Any thread may add.
class Histogram {
 public:
  static constexpr std::array<double, 17> kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                     1,     2.5,    5,     10,   30,    60,   120, 300};
  void add(double seconds);
  void write(std::string& out, const char* name, const char* help) const;
  double mean() const;  // 0 while empty

 private:
  std::array<std::atomic<int64_t>, kBounds.size() + 1> counts_{};
  std::atomic<int64_t> microseconds_{0};
};

struct Metrics {
  Histogram first_token;            // from the request's arrival
  Histogram between_tokens;         // of one choice
  Histogram whole_request;          // of requests that the engine answered
  std::atomic<int64_t> running{0};  // requests that are being answered

  void count(const std::string& route, int status);
  std::string text(const engine::ServiceStats& engine, const HttpStats& http) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> requests_;  // routes are from our own list, so this stays small
};

}  // namespace zaya::server
