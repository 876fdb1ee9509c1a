// Finds stop strings in streamed text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace zaya::engine {

// Text comes out as soon as it cannot be the beginning of a stop string; the stop string itself and what follows never
// does. Empty stop strings are ignored.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);

  // The text that is settled; after a match: what stood before the stop string.
  std::string push(std::string_view text);
  // What was held back, when generation ended for another reason.
  std::string finish();

  bool matched() const { return !match_.empty(); }
  const std::string& match() const { return match_; }  // the stop string that was found

 private:
  std::vector<std::string> stops_;
  std::string held_;
  std::string match_;
};

}  // namespace zaya::engine
