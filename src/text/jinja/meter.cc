#include "text/jinja/meter.h"

#include "text/jinja/error.h"

namespace zaya::text::jinja {
namespace {
thread_local Meter* current_meter = nullptr;
}  // namespace

Meter* Meter::current() { return current_meter; }

MeterScope::MeterScope(Meter* meter) : previous_(current_meter) { current_meter = meter; }
MeterScope::~MeterScope() { current_meter = previous_; }

void Meter::refuse_steps() {
  throw Error{Code::resource_exhausted, "the template ran for more than " + std::to_string(limits_.steps) + " steps", 0,
              "it loops for too long, or the conversation is far too large"};
}

void Meter::refuse_bytes(size_t bytes) {
  live_bytes_ -= bytes;  // the value that was refused does not come to be
  fail_limit("the template's values take more than " + std::to_string(limits_.live_bytes) + " bytes");
}

void Meter::refuse_depth() {
  --depth_;  // the guard that was refused does not come to be
  fail_limit("the template's expressions, macros and filters run in each other more than " +
             std::to_string(limits_.depth) + " deep");
}

void check_text_size(uint64_t bytes) {
  const Meter* meter = Meter::current();
  const size_t limit = meter ? meter->limits().text_bytes : Limits{}.text_bytes;
  if (bytes > limit) fail_limit("a text of more than " + std::to_string(limit) + " bytes");
}

}  // namespace zaya::text::jinja
