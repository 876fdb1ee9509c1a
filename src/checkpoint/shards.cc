#include "checkpoint/shards.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "checkpoint/json.h"

namespace zaya::checkpoint {
namespace {

constexpr const char* single_file = "model.safetensors";
constexpr const char* index_file = "model.safetensors.index.json";
// 2,500 tensors take 250 KB of index; MappedFile and JSON of this many bytes stay harmless.
constexpr size_t max_index_bytes = size_t{64} << 20;
constexpr size_t max_shards = 4096;

using WeightMap = std::map<std::string, std::string, std::less<>>;  // tensor → shard

// A plain file name: nothing that could lead out of the directory.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name.find("..") == name.npos &&
         name.find('/') == name.npos && name.find('\\') == name.npos && name.find('\0') == name.npos &&
         name.ends_with(".safetensors");
}

Result<WeightMap> read_index(const std::filesystem::path& path) {
  ZAYA_ASSIGN(const std::string text, read_file(path, max_index_bytes));
  ZAYA_ASSIGN(const nlohmann::json root, parse_json_object(text, index_file));
  const auto at = root.find("weight_map");
  if (at == root.end() || !at->is_object() || at->empty()) {
    return Status(Code::malformed, fmt::format("{}: weight_map is missing or empty", index_file));
  }
  WeightMap map;
  for (const auto& [tensor, shard] : at->items()) {
    if (!shard.is_string() || !is_plain_name(shard.get_ref<const std::string&>())) {
      return Status(
          Code::malformed,
          fmt::format("{}: tensor {} is said to be in {}, which is no plain *.safetensors file name", index_file,
                      tensor, shard.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace).substr(0, 120)));
    }
    map.emplace(tensor, shard.get<std::string>());
  }
  return map;
}

// Opens one file into `result`; false (with a problem) when it cannot be read.
bool open_one(const std::filesystem::path& directory, const std::string& name, Shards& result,
              std::vector<Status>& problems, const std::string& absent_hint) {
  auto file = MappedFile::open(directory / name);
  if (!file.ok()) {
    const Status status = file.status();
    const bool absent = status.code() == Code::not_found && !absent_hint.empty();
    problems.push_back(absent ? Status(Code::not_found,
                                       fmt::format("{} names the shard {}, which is not there", index_file, name),
                                       absent_hint)
                              : status);
    return false;
  }
  auto content = parse_safetensors(file->bytes(), name);
  if (!content.ok()) {
    problems.push_back(content.status());
    return false;
  }
  for (const Tensor& tensor : content->tensors) {
    const size_t element = dtype_size(tensor.dtype);
    const auto offset = static_cast<size_t>(tensor.data.data() - file->bytes().data());
    if (element > 1 && offset % element != 0) {
      result.notes.push_back(fmt::format("{}: tensor {} starts at byte {}, which is not aligned for {}", name,
                                         tensor.name, offset, tensor.dtype_name));
    }
  }
  result.shards.push_back({name, std::move(file).value(), std::move(content).value()});
  return true;
}

// Compares what the index says with what the shards hold.
void check_index(const WeightMap& index, const Shards& opened, const std::set<std::string>& unreadable,
                 std::vector<Status>& problems) {
  std::unordered_map<std::string_view, std::string_view> found;  // tensor → shard
  for (const Shard& shard : opened.shards) {
    for (const Tensor& tensor : shard.content.tensors) {
      const auto [at, is_new] = found.emplace(tensor.name, shard.name);
      if (!is_new) {
        problems.push_back(Status(Code::malformed, fmt::format("tensor {} is in two shards, {} and {}", tensor.name,
                                                               at->second, shard.name)));
        continue;
      }
      const auto said = index.find(tensor.name);
      if (said == index.end()) {
        problems.push_back(Status(Code::malformed, fmt::format("{} holds tensor {}, which {} does not name", shard.name,
                                                               tensor.name, index_file)));
      }
    }
  }
  for (const auto& [tensor, shard] : index) {
    if (unreadable.contains(shard)) continue;  // reported already
    const auto at = found.find(tensor);
    if (at == found.end()) {
      problems.push_back(Status(
          Code::malformed, fmt::format("{} says that tensor {} is in {}, where it is not", index_file, tensor, shard)));
    } else if (at->second != shard) {
      problems.push_back(Status(Code::malformed, fmt::format("{} says that tensor {} is in {}, but it is in {}",
                                                             index_file, tensor, shard, at->second)));
    }
  }
}

}  // namespace

Shards open_shards(const std::filesystem::path& directory, std::vector<Status>& problems) {
  Shards result;
  std::error_code error;
  const bool has_single = std::filesystem::exists(directory / single_file, error);
  const bool has_index = std::filesystem::exists(directory / index_file, error);
  if (has_single) {
    // transformers, too, takes the single file first.
    if (has_index) result.notes.push_back(fmt::format("{} is there, so {} is not read", single_file, index_file));
    open_one(directory, single_file, result, problems, "");
    return result;
  }
  if (!has_index) {
    problems.push_back(Status(Code::not_found,
                              fmt::format("{} has neither {} nor {}", directory.string(), single_file, index_file),
                              "give the directory that holds a model in Hugging Face form"));
    return result;
  }
  const auto index = read_index(directory / index_file);
  if (!index.ok()) {
    problems.push_back(index.status());
    return result;
  }
  std::set<std::string> names, unreadable;
  for (const auto& [tensor, shard] : *index) names.insert(shard);
  if (names.size() > max_shards) {
    problems.push_back(Status(Code::out_of_range, fmt::format("{} names {} shards; at most {} are read", index_file,
                                                              names.size(), max_shards)));
    return result;
  }
  for (const std::string& name : names) {
    if (!open_one(directory, name, result, problems, "download it, or all files of the model, again")) {
      unreadable.insert(name);
    }
  }
  check_index(*index, result, unreadable, problems);
  return result;
}

}  // namespace zaya::checkpoint
