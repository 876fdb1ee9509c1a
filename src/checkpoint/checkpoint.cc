#include "checkpoint/checkpoint.h"

#include <fmt/format.h>

#include <cstring>
#include <optional>
#include <utility>

#include "checkpoint/mapping.h"
#include "checkpoint/names.h"
#include "checkpoint/shards.h"

namespace zaya::checkpoint {
namespace {

constexpr size_t max_config_bytes = size_t{4} << 20;
// A header of odd length misaligns the whole file. Writers pad it, so this is for small oddities only.
constexpr size_t max_copied_bytes = size_t{1} << 30;
constexpr size_t max_listed = 4;

// The first of several failures, with the next few and the number of the rest.
Status first_of(const std::vector<Status>& problems) {
  const Status& first = problems.front();
  if (problems.size() == 1) return first;
  std::string message = first.message();
  size_t listed = 0;
  for (; listed < max_listed && listed + 1 < problems.size(); ++listed) {
    message += "; " + problems[listed + 1].message();
  }
  if (const size_t rest = problems.size() - 1 - listed; rest > 0) message += fmt::format("; and {} more", rest);
  return Status(first.code(), std::move(message), first.hint());
}

// Wrong shapes explain most: they come first, missing tensors last (they often only follow from unknown ones).
Status first_of(const std::vector<TensorProblem>& problems) {
  std::vector<Status> ordered;
  using Kind = TensorProblem::Kind;
  for (const Kind kind :
       {Kind::wrong_shape, Kind::wrong_dtype, Kind::duplicate, Kind::scale, Kind::unexpected, Kind::missing}) {
    for (const TensorProblem& problem : problems) {
      if (problem.kind == kind) ordered.push_back(problem.status);
    }
  }
  return first_of(ordered);
}

}  // namespace

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& directory) {
  Checkpoint checkpoint;
  checkpoint.directory_ = directory;

  ZAYA_ASSIGN(const std::string config_text, read_file(directory / "config.json", max_config_bytes));
  std::vector<Status> problems;
  Shards shards = open_shards(directory, problems);
  if (!problems.empty()) return first_of(problems);
  checkpoint.notes_ = std::move(shards.notes);

  std::vector<const Tensor*> files;
  LayoutEvidence evidence;
  for (const Shard& shard : shards.shards) {
    for (const Tensor& tensor : shard.content.tensors) {
      files.push_back(&tensor);
      evidence.see(tensor.name);
    }
  }
  const std::optional<Layout> layout = evidence.verdict();
  if (!layout) {
    return Status(Code::malformed,
                  fmt::format("the tensors in {} show no ZAYA1 layout: {} model.norm.weight (native) {} "
                              "model.final_norm.weight (original)",
                              directory.string(), evidence.native_norm ? "both" : "neither",
                              evidence.native_norm ? "and" : "nor"));
  }
  ZAYA_ASSIGN(checkpoint.config_, parse_config(config_text, &checkpoint.notes_, layout));
  if (checkpoint.config_.layout != *layout) {
    return Status(Code::malformed,
                  fmt::format("config.json has the keys of the {} layout, but the tensors are named as in the {} one",
                              layout_name(checkpoint.config_.layout), layout_name(*layout)),
                  "take config.json and the weights from the same revision of the model");
  }
  std::error_code error;
  if (std::filesystem::exists(directory / "generation_config.json", error)) {
    ZAYA_ASSIGN(const std::string text, read_file(directory / "generation_config.json", max_config_bytes));
    ZAYA_RETURN_IF_ERROR(merge_generation_config(text, checkpoint.config_, &checkpoint.notes_));
  }
  if (checkpoint.config_.eos_tokens.empty()) {
    checkpoint.notes_.push_back("no file states a stop token: answers end at the length limit");
  }

  Mapping mapping = map_tensors(checkpoint.config_, files);
  if (!mapping.problems.empty()) return first_of(mapping.problems);
  checkpoint.tensors_ = std::move(mapping.tensors);
  checkpoint.scales_ = std::move(mapping.scales);
  for (std::string& note : mapping.notes) checkpoint.notes_.push_back(std::move(note));

  size_t copied = 0;
  for (auto& [name, tensor] : checkpoint.tensors_) {
    const size_t element = dtype_size(tensor.dtype);
    if (reinterpret_cast<uintptr_t>(tensor.data.data()) % element == 0 || tensor.data.empty()) continue;
    copied += tensor.data.size();
    if (copied > max_copied_bytes) {
      return Status(Code::unsupported,
                    fmt::format("the data of {} and others is not aligned for {}", tensor.name, tensor.dtype_name),
                    "write the file again with a current version of safetensors");
    }
    auto copy = std::make_unique<std::vector<uint64_t>>((tensor.data.size() + 7) / 8);
    std::memcpy(copy->data(), tensor.data.data(), tensor.data.size());
    tensor.data = std::as_bytes(std::span(*copy)).first(tensor.data.size());
    checkpoint.copies_.push_back(std::move(copy));
  }
  for (Shard& shard : shards.shards) checkpoint.files_.push_back(std::move(shard.file));
  return checkpoint;
}

void Checkpoint::release(std::string_view canonical_name) const {
  const Tensor* tensor = find(canonical_name);
  if (tensor == nullptr) return;
  for (const MappedFile& file : files_) {
    const std::span<const std::byte> bytes = file.bytes();
    if (tensor->data.data() >= bytes.data() && tensor->data.data() < bytes.data() + bytes.size()) {
      file.release(tensor->data);
    }
  }
}

const Tensor* Checkpoint::find(std::string_view canonical_name) const {
  const auto at = tensors_.find(canonical_name);
  return at == tensors_.end() ? nullptr : &at->second;
}

}  // namespace zaya::checkpoint
