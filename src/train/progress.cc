#include "train/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace zaya::train {

ProgressLine::ProgressLine(int64_t done, int64_t total)
    : first_(done),
      total_(std::max<int64_t>(1, total)),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(Clock::now()) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::clear() {
  if (shown_) fmt::print(stderr, "\r\x1b[K");
  shown_ = false;
}

void ProgressLine::update(const std::string& label, int64_t done, const std::string& facts) {
  if (!terminal_) return;
  constexpr int kWidth = 24;
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const int filled = static_cast<int>(kWidth * std::min(done, total_) / total_);
  std::string bar;
  for (int i = 0; i < kWidth; ++i) bar += i < filled ? "█" : "░";
  const double left =
      done > first_ ? elapsed / static_cast<double>(done - first_) * static_cast<double>(total_ - done) : 0;
  fmt::print(stderr, "\r{} {} {}/{} · {} · {:.0f} min left\x1b[K", label, bar, done, total_, facts, left / 60);
  std::fflush(stderr);
  shown_ = true;
}

void ProgressLine::print(const std::string& line) {
  clear();
  fmt::print(stderr, "{}\n", line);
}

}  // namespace zaya::train
