// zaya inspect: what a checkpoint's files hold, and everything that is wrong or odd about them.
#include "checkpoint/inspect.h"

#include <fmt/format.h>

#include <memory>

#include "apps/zaya/common.h"
#include "apps/zaya/progress.h"
#include "apps/zaya/verbs.h"

namespace zaya::app {
namespace {

struct Options {
  std::string model;
  bool json = false, no_scan = false, summary = false;
};

int run(const Options& options) {
  const Result<std::filesystem::path> directory = model_directory(options.model);
  if (!directory.ok()) return fail(directory.status());
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
