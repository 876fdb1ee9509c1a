// zaya synth: a random checkpoint of a given shape, for load, memory and speed figures without the real weights.
#include <fmt/format.h>

#include <memory>

#include "apps/zaya/common.h"
#include "apps/zaya/progress.h"
#include "apps/zaya/verbs.h"
#include "checkpoint/synthetic.h"

namespace zaya::app {
namespace {

struct Options {
  std::string out, shape = "8b", tokenizer;
  uint64_t seed = 0;
};

Status run(const Options& options) {
  ZAYA_ASSIGN(const checkpoint::ModelConfig config, checkpoint::shape_named(options.shape));
  ZAYA_ASSIGN(const std::filesystem::path tokenizer_source, model_directory(options.tokenizer));
  {
    std::unique_ptr<Progress> progress;
    catch_interrupts();
    ZAYA_RETURN_IF_ERROR(
        checkpoint::write_synthetic(config, options.out, {.seed = options.seed}, [&](int64_t done, int64_t total) {
          if (progress == nullptr) {
            progress = std::make_unique<Progress>("writing", total);
          }
          progress->update(done);
          return !take_interrupt();
        }));
  }
  // With somebody's tokenizer and template the random model can be run like any other.
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}) {
    std::error_code error;
    if (!std::filesystem::exists(tokenizer_source / name, error)) continue;
    std::filesystem::copy_file(tokenizer_source / name, std::filesystem::path(options.out) / name,
                               std::filesystem::copy_options::overwrite_existing, error);
    if (error) return Status(Code::io_error, fmt::format("cannot copy {}: {}", name, error.message()));
  }
  return Status();
}

}  // namespace

Action add_synth(CLI::App& verb) {
  auto options = std::make_shared<Options>();
  verb.add_option("OUT", options->out, "Directory to write")->required();
  verb.add_option("--shape", options->shape, "8b, 74b or tiny (default: 8b, 17.7 GB)");
  verb.add_option("--seed", options->seed, "Seed of the weights");
  verb.add_option("--tokenizer", options->tokenizer,
                  "Model whose tokenizer and template are copied (default: the small model)");
  return [options] {
    const Status status = run(*options);
    return status.ok() ? kFine : fail(status);
  };
}

}  // namespace zaya::app
