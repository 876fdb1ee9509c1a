// The line on a terminal that says how far a run is. Nothing when stderr is none.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace zaya::train {

class ProgressLine {
 public:
  ProgressLine(int64_t done, int64_t total);
  ~ProgressLine();  // removes the line
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void update(const std::string& label, int64_t done, const std::string& facts);
  // A line that stays, above the progress line.
  void print(const std::string& line);

 private:
  using Clock = std::chrono::steady_clock;
  void clear();

  int64_t first_, total_;
  bool terminal_, shown_ = false;
  Clock::time_point start_;
};

}  // namespace zaya::train
