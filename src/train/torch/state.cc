#include "train/torch/state.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

#include <map>

#include "base/file.h"
#include "checkpoint/safetensors.h"

namespace zaya::train {
namespace {

std::vector<NamedTensor> everything(const Architecture& architecture, Weights& weights, Optimizer& optimizer) {
  std::vector<NamedTensor> tensors;
  for (const NamedParameter& parameter : parameters(weights, architecture)) {
    tensors.push_back({"weight." + parameter.name, *parameter.tensor});
  }
  for (NamedTensor& tensor : optimizer.state()) tensors.push_back(std::move(tensor));
  return tensors;
}

}  // namespace

Status save_state(const std::filesystem::path& path, const Architecture& architecture, Weights& weights,
                  Optimizer& optimizer, const Progress& progress) {
  const nlohmann::json json = {
      {"step", progress.step},      {"stage", progress.stage},      {"stage_step", progress.stage_step},
      {"pool", progress.data.pool}, {"batch", progress.data.batch}, {"drawn", progress.data.drawn},
      {"tokens", progress.tokens},  {"seconds", progress.seconds},  {"optimizer_steps", optimizer.steps()}};
  return save_tensors(path, everything(architecture, weights, optimizer), false, {{"progress", json.dump()}});
}

Result<Progress> load_state(const std::filesystem::path& path, const Architecture& architecture, Weights& weights,
                            Optimizer& optimizer) {
  const torch::NoGradGuard no_grad;
  ZAYA_ASSIGN(const MappedFile file, MappedFile::open(path));
  ZAYA_ASSIGN(const checkpoint::Safetensors parsed, checkpoint::parse_safetensors(file.bytes(), path.string()));
  std::map<std::string, const checkpoint::Tensor*> by_name;
  for (const checkpoint::Tensor& tensor : parsed.tensors) by_name[tensor.name] = &tensor;
  const auto other = [&](const std::string& what) {
    return Status(Code::invalid_argument, fmt::format("{} belongs to another run: {}", path.string(), what),
                  "give run.out another folder, or remove this one");
  };
  const std::vector<NamedTensor> wanted = everything(architecture, weights, optimizer);
  if (by_name.size() != wanted.size()) return other("it has other tensors");
  for (const NamedTensor& entry : wanted) {
    const auto found = by_name.find(entry.name);
    if (found == by_name.end()) return other("it lacks " + entry.name);
    if (found->second->shape != entry.tensor.sizes().vec()) return other("the shape of " + entry.name);
  }
  const auto metadata = parsed.metadata.find("progress");
  if (metadata == parsed.metadata.end()) return other("it does not say how far it is");
  Progress progress;
  const nlohmann::json json = nlohmann::json::parse(metadata->second, nullptr, /*allow_exceptions=*/false);
  try {
    json.at("step").get_to(progress.step);
    json.at("stage").get_to(progress.stage);
    json.at("stage_step").get_to(progress.stage_step);
    json.at("pool").get_to(progress.data.pool);
    json.at("batch").get_to(progress.data.batch);
    json.at("drawn").get_to(progress.data.drawn);
    json.at("tokens").get_to(progress.tokens);
    json.at("seconds").get_to(progress.seconds);
    optimizer.set_steps(json.at("optimizer_steps").get<int64_t>());
  } catch (const nlohmann::json::exception&) {
    return other("it does not say how far it is");
  }
  for (const NamedTensor& entry : wanted) {
    std::vector<float> values = checkpoint::to_f32(*by_name[entry.name]);
    Tensor to = entry.tensor;
    to.copy_(torch::from_blob(values.data(), to.sizes(), torch::kFloat32));
  }
  return progress;
}

}  // namespace zaya::train
