// How much memory there is for keys, values and the prefix cache.
#pragma once

#include <cstdint>
#include <filesystem>

#include "model/model.h"

namespace zaya::engine {

// Bytes that this process may still take: what the system has available (Linux's MemAvailable), or what its control
// groups leave it where that is less. The roots are arguments for tests. 0 when nothing can be found out.
int64_t available_memory(const std::filesystem::path& proc = "/proc",
                         const std::filesystem::path& cgroup = "/sys/fs/cgroup");

// The budget when the user names none: half of what is available once the weights are in.
int64_t automatic_budget(const model::Model& model);

}  // namespace zaya::engine
