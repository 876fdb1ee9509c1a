// zaya inspect: what a checkpoint's files hold, and everything that is wrong or odd about them.
#include "checkpoint/inspect.h"

#include <fmt/format.h>

#include <memory>

#include "apps/zaya/common.h"
#include "apps/zaya/progress.h"
#include "apps/zaya/verbs.h"
#include "checkpoint/packed.h"

namespace zaya::app {
namespace {

struct Options {
  std::string model;
  bool json = false, no_scan = false, summary = false;
};

// A packed model is ours: what there is to say is its formats and sizes.
Status inspect_packed(const std::filesystem::path& directory, const Options& options) {
  ZAYA_ASSIGN(const checkpoint::PackedCheckpoint packed, checkpoint::PackedCheckpoint::open(directory));
  int64_t bytes = 0;
  for (const auto& [name, tensor] : packed.tensors()) bytes += static_cast<int64_t>(tensor.data.size());
  if (options.json) {
    text::Json tensors = text::Json::object();
    for (const auto& [name, tensor] : packed.tensors()) {
      tensors[name] = {{"dtype", tensor.dtype_name}, {"shape", tensor.shape}, {"bytes", tensor.data.size()}};
    }
    fmt::print("{}\n", json_text({{"packed", packed.preset()}, {"bytes", bytes}, {"tensors", tensors}}, 2));
    return Status();
  }
  if (!options.summary) {
    for (const auto& [name, tensor] : packed.tensors()) {
      fmt::print("{:<72} {:>4} {:>14}\n", name, tensor.dtype_name, checkpoint::shape_text(tensor.shape));
    }
  }
  fmt::print("packed        as {}, {} layers, {} experts, {} tensors, {:.3f} GB\n", packed.preset(),
             packed.config().num_layers(), packed.config().num_experts, packed.tensors().size(),
             static_cast<double>(bytes) / 1e9);
  return Status();
}

int run(const Options& options) {
  const Result<std::filesystem::path> directory = model_directory(options.model);
  if (!directory.ok()) return fail(directory.status());
  if (!checkpoint::packed_preset(*directory).empty()) {
    const Status status = inspect_packed(*directory, options);
    return status.ok() ? kFine : fail(status);
  }
  checkpoint::Report report;
  {
    std::unique_ptr<Progress> progress;
    catch_interrupts();
    report = checkpoint::inspect(*directory, {.scan = !options.no_scan}, [&](int64_t done, int64_t total) {
      if (progress == nullptr) progress = std::make_unique<Progress>("reading weights", total);
      progress->update(done);
      return !take_interrupt();
    });
  }
  fmt::print("{}\n", options.json ? checkpoint::to_json(report) : checkpoint::to_text(report, !options.summary));
  return report.loads() ? kFine : kFailed;
}

}  // namespace

Action add_inspect(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  verb.add_option("MODEL", options->model, "Model directory (default: the small model that comes with the program)");
  verb.add_flag("--no-scan", options->no_scan, "Read headers only, not the weights");
  verb.add_flag("--summary", options->summary, "Leave the list of tensors out");
  verb.add_flag("--json", options->json, "Print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace zaya::app
