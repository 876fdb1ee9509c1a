// Files of problems: any bytes give items and notes, or a refusal.
#include "eval/items.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view content(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto set = zaya::eval::parse_items(content, "file", data[0] % 2 == 1);
  return set.ok() && set->digest().empty() ? 1 : 0;
}
