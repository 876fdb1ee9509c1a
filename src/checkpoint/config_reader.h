// Typed, bounded access to the keys of a config.json (private to config*.cc).
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace zaya::checkpoint {

// Every getter checks type and range. The first failure is kept and returned by status(); getters after it still
// return something in range, so that a parser reads straight on and asks once at the end.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& object, std::string label, std::vector<std::string>* notes)
      : object_(object), label_(std::move(label)), notes_(notes) {}

  // The key's value, or nullptr when it is absent or null.
  const nlohmann::json* find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }

  // An integer between `low` and `high`, from the first of `keys` that is stated; `fallback` (with a note) or, without
  // one, a failure when none is.
  int64_t integer(std::initializer_list<std::string_view> keys, int64_t low, int64_t high,
                  std::optional<int64_t> fallback = std::nullopt);
  // A finite number between `low` (exclusive when open_low) and `high`.
  double number(std::initializer_list<std::string_view> keys, double low, bool open_low, double high,
                std::optional<double> fallback = std::nullopt);
  // true or false; absent means `fallback`.
  bool boolean(std::string_view key, bool fallback);

  // Checks a value that stands elsewhere (inside a list, say) the same way.
  int64_t checked_integer(const nlohmann::json& value, const std::string& name, int64_t low, int64_t high);

  // Fails unless `key` is absent or equals `only`; `why` says what the program does.
  void require_boolean(std::string_view key, bool only, std::string_view why);
  void require_string(std::string_view key, std::string_view only, std::string_view why);

  void fail(Code code, std::string message, std::string hint = {});
  // Keeps a failure that another reader found.
  void adopt(const Status& status) {
    if (status_.ok()) status_ = status;
  }
  void note(std::string sentence);
  const Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }

 private:
  const nlohmann::json& object_;
  std::string label_;
  std::vector<std::string>* notes_;
  Status status_;
};

// A JSON value for an error sentence, cut to a readable length.
std::string json_excerpt(const nlohmann::json& value);

}  // namespace zaya::checkpoint
