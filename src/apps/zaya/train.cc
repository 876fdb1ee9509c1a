// zaya train: hands over to zaya-train, a program of its own because it needs libtorch.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/zaya/common.h"
#include "apps/zaya/verbs.h"

namespace zaya::app {
namespace {

// Beside this program, or where ./dev train builds it.
std::filesystem::path find_trainer() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return {};
  for (const char* place : {"zaya-train", "train/zaya-train"}) {
    const std::filesystem::path path = self.parent_path() / place;
    if (std::filesystem::exists(path, error)) return path;
  }
  return {};
}

Status run(std::vector<std::string> arguments) {
  const std::filesystem::path program = find_trainer();
  if (program.empty()) return Status(Code::not_found, "zaya-train is not built", "./dev train builds it");
  arguments.insert(arguments.begin(), program.string());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  ::execv(program.c_str(), argv.data());
  return Status(Code::io_error, fmt::format("cannot run {}: {}", program.string(), std::strerror(errno)));
}

}  // namespace

Action add_train(CLI::App& verb) {
  verb.prefix_command();  // everything behind the verb is the other program's, --help too
  verb.set_help_flag();
  return [&verb] { return fail(run(verb.remaining())); };
}

}  // namespace zaya::app
