// What one render may cost. Templates come from model repositories and conversations from strangers: neither may hold a
// thread for ever nor fill the memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace zaya::text::jinja {

struct Limits {
  // Nodes run, items visited, and 1 for every 64 bytes of text worked on. A conversation of 1,000 messages in a
  // template of 100 nodes per message takes about 1e5; all of these last two or three seconds.
  uint64_t steps = 50'000'000;
  size_t output_bytes = size_t{64} << 20;  // the rendered text
  size_t text_bytes = size_t{64} << 20;    // any one string
  size_t live_bytes = size_t{512} << 20;   // all values alive at once, approximately
  int call_depth = 100;                    // macros in macros
  int depth = 2'000;                       // evaluations in evaluations: bounds the thread's stack (1 to 2 MB)
};

// Counts what the thread's current render uses. Values charge themselves (value.h); whatever loops over a value's
// content charges steps. Outside of a render (constants made while parsing) nothing is counted.
class Meter {
 public:
  explicit Meter(const Limits& limits) : limits_(limits) {}
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;

  static Meter* current();

  const Limits& limits() const { return limits_; }

  // Each throws Error (resource_exhausted) once its limit is passed.
  void spend(uint64_t steps) {
    steps_ += steps;
    if (steps_ > limits_.steps) refuse_steps();
  }
  void hold(size_t bytes) {
    live_bytes_ += bytes;
    if (live_bytes_ > limits_.live_bytes) refuse_bytes(bytes);
  }
  void release(size_t bytes) { live_bytes_ -= bytes; }
  void go_deeper() {
    if (++depth_ > limits_.depth) refuse_depth();
  }
  void come_back() { --depth_; }

 private:
  friend class MeterScope;
  [[noreturn]] void refuse_steps();
  [[noreturn]] void refuse_bytes(size_t bytes);
  [[noreturn]] void refuse_depth();

  Limits limits_;
  uint64_t steps_ = 0;
  size_t live_bytes_ = 0;
  int depth_ = 0;
};

// Makes `meter` the thread's current one for its lifetime.
class MeterScope {
 public:
  explicit MeterScope(Meter* meter);
  ~MeterScope();
  MeterScope(const MeterScope&) = delete;
  MeterScope& operator=(const MeterScope&) = delete;

 private:
  Meter* previous_;
};

// Charges the current meter, if there is one.
inline void spend(uint64_t steps) {
  if (Meter* meter = Meter::current()) meter->spend(steps);
}
// Stands in whatever may recurse while a template runs.
class DepthGuard {
 public:
  DepthGuard() : meter_(Meter::current()) {
    if (meter_) meter_->go_deeper();
  }
  ~DepthGuard() {
    if (meter_) meter_->come_back();
  }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  Meter* meter_;
};

// The price of working through `bytes` of text.
inline void spend_text(size_t bytes) { spend(1 + bytes / 64); }

// Throws when a string of `bytes` would be longer than a string may be; call before building it.
void check_text_size(uint64_t bytes);

}  // namespace zaya::text::jinja
