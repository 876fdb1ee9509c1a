#include "reasoning/generator.h"

namespace zaya::reasoning {

std::string Prompt::text() const {
  std::string all;
  for (const Segment& segment : user) all += segment.text;
  return all;
}

const char* name_of(End end) {
  switch (end) {
    case End::stop: return "stop";
    case End::length: return "length";
    case End::cancelled: return "cancelled";
    case End::failed: return "failed";
  }
  return "unknown";
}

}  // namespace zaya::reasoning
