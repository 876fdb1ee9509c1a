#include "engine/memory.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "engine/model_facts.h"

namespace zaya::engine {
namespace {

// The first number in a text; nothing for "max" and the like. These files are short; proc and cgroup files have no
// size, so they are read by stream.
std::optional<int64_t> number_in(std::string_view text) {
  const size_t begin = text.find_first_of("0123456789");
  if (begin == std::string_view::npos) return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data() + begin, text.data() + text.size(), value);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

std::string content_of(const std::filesystem::path& path) {
  std::string content;
  if (std::FILE* file = std::fopen(path.c_str(), "re")) {
    char buffer[1 << 14];
    content.assign(buffer, std::fread(buffer, 1, sizeof buffer, file));
    std::fclose(file);
  }
  return content;
}

// The value of a line "key value" or "key: value".
std::optional<int64_t> field(std::string_view text, std::string_view key) {
  size_t at = 0;
  while ((at = text.find(key, at)) != std::string_view::npos) {
    if (at == 0 || text[at - 1] == '\n') return number_in(text.substr(at + key.size()));
    ++at;
  }
  return std::nullopt;
}

// What a group's limit leaves, its page cache counted as free; nothing without a limit.
std::optional<int64_t> left_in(const std::filesystem::path& group) {
  const std::optional<int64_t> limit = number_in(content_of(group / "memory.max"));
  const std::optional<int64_t> current = number_in(content_of(group / "memory.current"));
  if (!limit || !current) return std::nullopt;
  const int64_t cache = field(content_of(group / "memory.stat"), "inactive_file ").value_or(0);
  return std::max<int64_t>(0, *limit - *current + std::min(cache, *current));
}

}  // namespace

int64_t available_memory(const std::filesystem::path& proc, const std::filesystem::path& cgroup) {
  int64_t available = field(content_of(proc / "meminfo"), "MemAvailable:").value_or(0) * 1024;
  const auto bound = [&](std::optional<int64_t> bytes) {
    if (bytes) available = available == 0 ? *bytes : std::min(available, *bytes);
  };
  // Version 2: "0::/path"; each group on the way to the root may have a limit. In a container the root is its own
  // group.
  const std::string groups = content_of(proc / "self" / "cgroup");
  bound(left_in(cgroup));
  const size_t unified = groups.find("0::/");
  if (unified != std::string::npos) {
    std::filesystem::path path = groups.substr(unified + 4, groups.find('\n', unified) - unified - 4);
    for (; !path.empty(); path = path.parent_path()) bound(left_in(cgroup / path));
  }
  // Version 1.
  const std::optional<int64_t> limit = number_in(content_of(cgroup / "memory" / "memory.limit_in_bytes"));
  const std::optional<int64_t> usage = number_in(content_of(cgroup / "memory" / "memory.usage_in_bytes"));
  if (limit && usage) {
    const int64_t cache = field(content_of(cgroup / "memory" / "memory.stat"), "total_inactive_file ").value_or(0);
    bound(std::max<int64_t>(0, *limit - *usage + std::min(cache, *usage)));
  }
  return available;
}

int64_t automatic_budget(const model::Model& model) {
  return std::max<int64_t>(0, available_memory() - mapped_weight_bytes(model)) / 2;
}

}  // namespace zaya::engine
