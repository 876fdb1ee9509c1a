// The *.safetensors files of a directory: model.safetensors alone, or the shards that model.safetensors.index.json
// names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "checkpoint/safetensors.h"

namespace zaya::checkpoint {

struct Shard {
  std::string name;  // file name inside the directory
  MappedFile file;
  Safetensors content;
};

struct Shards {
  std::vector<Shard> shards;
  std::vector<std::string> notes;
};

// Opens and parses every file. What is wrong goes into `problems`, and what can be read all the same is returned: an
// absent or damaged shard, an index that names a path outside the directory, a tensor that stands in two shards or in
// another shard than the index says, or that only one of index and shard knows. Nothing wrong means an empty
// `problems`.
Shards open_shards(const std::filesystem::path& directory, std::vector<Status>& problems);

}  // namespace zaya::checkpoint
