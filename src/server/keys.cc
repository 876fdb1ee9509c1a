#include "server/keys.h"

#include <fmt/format.h>

#include <charconv>

namespace zaya::server {
namespace {

// The next word, which is taken off `text`; empty at its end.
std::string_view next_word(std::string_view& text) {
  constexpr const char* kSpace = " \t\r";
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  const std::string_view word = text.substr(0, text.find_first_of(kSpace));
  text.remove_prefix(word.size());
  return word;
}

bool count_in(std::atomic<int64_t>& count, int64_t most) {
  if (count.fetch_add(1) < most || most == 0) return true;
  --count;
  return false;
}

}  // namespace

Result<ApiKey> parse_key(std::string_view line) {
  ApiKey key{.key = std::string(next_word(line)), .limits = {}};
  if (key.key.empty()) return Status(Code::invalid_argument, "an API key is empty", "give one with characters");
  for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
    const size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    int64_t* field = name == "requests"     ? &key.limits.requests
                     : name == "runs"       ? &key.limits.runs
                     : name == "run-tokens" ? &key.limits.run_tokens
                                            : nullptr;
    const char* end = word.data() + word.size();
    int64_t value = 0;
    if (field != nullptr && equals != std::string_view::npos) {
      const auto [stopped, failure] = std::from_chars(word.data() + equals + 1, end, value);
      if (failure != std::errc() || stopped != end) value = 0;
    }
    if (value < 1 || *field != 0) {
      return Status(Code::invalid_argument, fmt::format("an API key is followed by \"{}\"", word.substr(0, 64)),
                    "KEY requests=N runs=N run-tokens=N, each at most once, N at least 1");
    }
    *field = value;
  }
  return key;
}

std::shared_ptr<void> KeyUse::enter(const KeyLimits& limits, bool run) {
  if (!count_in(requests_, limits.requests)) return nullptr;
  if (run && !count_in(runs_, limits.runs)) {
    --requests_;
    return nullptr;
  }
  return {this, [this, run](void*) {
            if (run) --runs_;
            --requests_;
          }};
}

}  // namespace zaya::server
