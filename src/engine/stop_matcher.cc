#include "engine/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace zaya::engine {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

std::string StopMatcher::push(std::string_view text) {
  if (matched()) return {};
  held_ += text;

  size_t at = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t found = held_.find(stop);
    if (found < at) {
      at = found;
      match_ = stop;
    }
  }
  if (at != std::string::npos) return std::exchange(held_, {}).substr(0, at);

  // Keep the longest suffix that a stop string starts with.
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > keep; --length) {
      if (held_.ends_with(std::string_view(stop).substr(0, length))) {
        keep = length;
        break;
      }
    }
  }
  std::string settled = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return settled;
}

std::string StopMatcher::finish() { return std::exchange(held_, {}); }

}  // namespace zaya::engine
