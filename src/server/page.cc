// A program without the page: an empty table.
#include "server/page.h"

namespace zaya::server {

std::span<const Asset> assets() { return {}; }

const Asset* find_asset(std::string_view) { return nullptr; }

}  // namespace zaya::server
