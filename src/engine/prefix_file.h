// The prefix cache in a file, so that it outlives the process.
//
// The file is written beside its place and renamed, after the disk has it: whoever is killed or runs out of disk while
// saving leaves the former file as it was. It holds a version, the model's fingerprint and checksums; a file that is
// damaged, of another version or of another model is refused with a reason, and nothing of it is used. The numbers are
// this machine's own: a file is a cache, not a format for exchange.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "base/status.h"
#include "engine/prefix_tree.h"
#include "model/sequence_state.h"

namespace zaya::engine {

// io_error when the disk is full and the like; resource_exhausted while another process is saving to the same place.
Status save_prefixes(const PrefixTree& tree, const model::StateShape& shape, uint64_t fingerprint,
                     const std::filesystem::path& path);

// Fills `tree`, which is empty, with the most recently used part that there is room for: `room(bytes)` is asked before
// each node. On failure the tree is empty: not_found, io_error, malformed (damage), unsupported (another version,
// another model).
Status load_prefixes(PrefixTree& tree, model::PagePool& pool, const model::StateShape& shape, uint64_t fingerprint,
                     const std::filesystem::path& path, const std::function<bool(int64_t)>& room);

}  // namespace zaya::engine
