// zaya pack: a checkpoint's weights as the kernels read them, with what that cost in exactness.
#include "model/pack.h"

#include <fmt/format.h>

#include <memory>

#include "apps/zaya/common.h"
#include "apps/zaya/progress.h"
#include "apps/zaya/verbs.h"
#include "checkpoint/packed.h"

namespace zaya::app {
namespace {

struct Options {
  std::string model, out, format = "q4";
  int threads = 0;
  bool json = false;
};

const char* class_name(model::TensorClass tensor_class) {
  switch (tensor_class) {
    case model::TensorClass::expert: return "experts";
    case model::TensorClass::attention: return "attention";
    case model::TensorClass::router: return "router";
    case model::TensorClass::head: return "embedding and head";
  }
  return "other";
}

Status run(const Options& options) {
  ZAYA_ASSIGN(const model::Preset preset, model::preset_named(options.format));
  ZAYA_ASSIGN(const std::filesystem::path directory, model_directory(options.model));
  if (const std::string packed_as = checkpoint::packed_preset(directory); !packed_as.empty()) {
    return Status(Code::invalid_argument, fmt::format("{} is packed already, as {}", directory.string(), packed_as),
                  "start from the unpacked checkpoint");
  }
  ZAYA_ASSIGN(const checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::open(directory));
  catch_interrupts();
  std::unique_ptr<Progress> progress;
  Result<model::PackReport> report =
      model::pack(checkpoint, preset, options.out, options.threads, [&](int64_t done, int64_t total) {
        if (progress == nullptr) progress = std::make_unique<Progress>("packing", total);
        progress->update(done);
        return !take_interrupt();
      });
  progress.reset();
  if (!report.ok()) return report.status();

  if (options.json) {
    text::Json classes = text::Json::array();
    for (const model::PackedClass& c : report->classes) {
      text::Json entry{{"class", class_name(c.tensor_class)},
                       {"format", ops::weight_type_name(c.type)},
                       {"weights", c.weights},
                       {"bytes", c.bytes}};
      entry["decibels"] = c.noise > 0 ? text::Json(c.decibels()) : text::Json();
      classes.push_back(std::move(entry));
    }
    fmt::print("{}\n", json_text({{"bytes", report->bytes}, {"classes", classes}}, 2));
    return Status();
  }
  fmt::print("{:<20} {:>6} {:>14} {:>12} {:>16}\n", "", "format", "weights", "bits each", "signal to noise");
  for (const model::PackedClass& c : report->classes) {
    fmt::print("{:<20} {:>6} {:>14} {:>12.3f} {:>16}\n", class_name(c.tensor_class), ops::weight_type_name(c.type),
               c.weights, 8.0 * static_cast<double>(c.bytes) / static_cast<double>(c.weights),
               c.noise > 0 ? fmt::format("{:.2f} dB", c.decibels()) : "exact");
  }
  fmt::print("{} holds {:.3f} GB\n", options.out, static_cast<double>(report->bytes) / 1e9);
  return Status();
}

}  // namespace

Action add_pack(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  verb.add_option("MODEL", options->model, "Checkpoint directory")->required();
  verb.add_option("OUT", options->out, "Directory to write")->required();
  verb.add_option("--format", options->format, "bf16, q8 or q4 (experts 4.5 bits a weight, the rest 8.5)");
  verb.add_option("--threads", options->threads, "Threads (default: all)")->check(CLI::Range(0, 1024));
  verb.add_flag("--json", options->json, "Machine-readable report");
  return [options] {
    const Status status = run(*options);
    return status.ok() ? kFine : fail(status);
  };
}

}  // namespace zaya::app
