// Settings as JSON, under the names of the paper. Heavy header: for the files that write and read journals only.
#pragma once

#include "base/status.h"
#include "nlohmann/json.hpp"
#include "reasoning/settings.h"

namespace zaya::reasoning {

nlohmann::ordered_json settings_json(const Settings& settings);

// Fields that are not there keep their defaults; unknown ones are ignored. malformed: a field of another type;
// invalid_argument: a value that Settings::validate refuses.
Result<Settings> settings_from_json(const nlohmann::ordered_json& json);

}  // namespace zaya::reasoning
