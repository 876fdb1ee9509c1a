// A progress bar on the terminal for anything over a second; nothing when stderr is not a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace zaya::app {

class Progress {
 public:
  Progress(std::string label, int64_t total);
  ~Progress();  // removes the bar
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(int64_t done);

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_;
  int64_t total_;
  bool shown_ = false;
  bool terminal_;
  Clock::time_point start_, last_;
};

}  // namespace zaya::app
