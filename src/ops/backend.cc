#include "ops/backend.h"

#include "ops/cpu/cpu_backend.h"
#include "ops/reference/reference.h"

namespace zaya::ops {

Result<std::unique_ptr<Backend>> make_backend(std::string_view name, const BackendOptions& options) {
  if (options.threads < 0 || options.threads > 1024) {
    return Status(Code::invalid_argument, "the number of threads must be between 0 (automatic) and 1024");
  }
  if (name == "cpu")
    return std::unique_ptr<Backend>(
        std::make_unique<CpuBackend>(options.threads, cpu::best_isa(), options.activations));
  if (name == "reference") return std::unique_ptr<Backend>(std::make_unique<ReferenceBackend>());
  return Status(Code::not_found, "there is no backend named \"" + std::string(name) + "\"", "use cpu or reference");
}

}  // namespace zaya::ops
