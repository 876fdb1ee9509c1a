#include "checkpoint/packed.h"

#include <fmt/format.h>

#include "checkpoint/safetensors.h"

namespace zaya::checkpoint {
namespace {

constexpr size_t kMaxConfigBytes = size_t{4} << 20;

std::string value_of(const std::map<std::string, std::string>& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::string() : found->second;
}

}  // namespace

std::string packed_preset(const std::filesystem::path& directory) {
  const Result<MappedFile> file = MappedFile::open(directory / "model.safetensors");
  if (!file.ok()) return {};
  const Result<Safetensors> content = parse_safetensors(file->bytes(), "model.safetensors");
  if (!content.ok() || value_of(content->metadata, "zaya.packed").empty()) return {};
  return value_of(content->metadata, "zaya.preset");
}

Result<PackedCheckpoint> PackedCheckpoint::open(const std::filesystem::path& directory) {
  PackedCheckpoint packed;
  ZAYA_ASSIGN(const std::string config_text, read_file(directory / "config.json", kMaxConfigBytes));
  ZAYA_ASSIGN(packed.config_, parse_config(config_text));
  std::error_code error;
  if (std::filesystem::exists(directory / "generation_config.json", error)) {
    ZAYA_ASSIGN(const std::string text, read_file(directory / "generation_config.json", kMaxConfigBytes));
    ZAYA_RETURN_IF_ERROR(merge_generation_config(text, packed.config_));
  }
  const std::filesystem::path path = directory / "model.safetensors";
  ZAYA_ASSIGN(packed.file_, MappedFile::open(path));
  ZAYA_ASSIGN(Safetensors content, parse_safetensors(packed.file_.bytes(), path.string()));
  const std::string version = value_of(content.metadata, "zaya.packed");
  if (version.empty()) return Status(Code::malformed, fmt::format("{} holds no packed weights", path.string()));
  if (version != kPackedVersion) {
    return Status(Code::unsupported,
                  fmt::format("{} was packed with layout version {}; this program reads {}", path.string(), version,
                              kPackedVersion),
                  "pack the model again with `zaya pack`");
  }
  packed.preset_ = value_of(content.metadata, "zaya.preset");
  for (Tensor& tensor : content.tensors) {
    std::string name = tensor.name;
    packed.tensors_.emplace(std::move(name), std::move(tensor));
  }
  return packed;
}

const Tensor* PackedCheckpoint::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

}  // namespace zaya::checkpoint
