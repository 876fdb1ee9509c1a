// One problem in one of the forms in which they circulate: which fields hold what, told from their names. For the
// reader of files; heavy header.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "eval/items.h"
#include "nlohmann/json.hpp"

namespace zaya::eval {

// "Incorrect Answer 1" and incorrect_answer_1 are one name.
std::string plain_name(std::string_view name);

// Everything of an item but the beginning of its id, which may be empty. `notes`: what was assumed.
// malformed: what is missing, as the rest of a sentence about the problem.
Status read_item(const nlohmann::ordered_json& json, Item& item, std::vector<std::string>& notes);

}  // namespace zaya::eval
