// The picture of a run in a terminal: a lane for each candidate, round by round.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "reasoning/solver.h"

namespace zaya::app {

// What a run's events add up to while it goes on.
class SolveProgress {
 public:
  void note(const reasoning::Event& event, double at);

  struct Lane {
    int64_t tokens = 0;
    bool started = false;
    double begun = 0;
    std::string last;  // the end of its text
  };
  const Lane* lane(int64_t id) const;
  int64_t running_tokens() const;  // of jobs that are not done

  // New tokens a second over the last few seconds.
  double rate(const reasoning::Run& run, double at);

 private:
  std::map<int64_t, Lane> lanes_;
  std::vector<std::pair<double, int64_t>> history_;  // time, tokens so far
};

// Draws over itself on a terminal of which it takes as many lines as it needs, and leaves the last picture standing.
class SolveBoard {
 public:
  void draw(const reasoning::Run& run, SolveProgress& progress, double at, bool force = false);

  // The picture as lines of at most `width` columns; `height`: lines at most.
  static std::vector<std::string> lines(const reasoning::Run& run, SolveProgress& progress, double at, int width,
                                        int height);

 private:
  int drawn_ = 0;  // lines on the screen
  double last_ = -1;
};

// Seconds that are left, from what the finished rounds took in tokens; negative = no idea yet.
double seconds_left(const reasoning::Run& run, const SolveProgress& progress, double rate);

}  // namespace zaya::app
