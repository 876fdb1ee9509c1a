// Runs a program that nobody has read, with limits: a child process in a temporary directory, with rlimits, without
// the network where namespaces are permitted, killed with all its descendants. docs/eval.md says what this does not
// protect against: it is for programs that fail by accident, not a jail for an attacker.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"

namespace zaya::eval {

struct SandboxLimits {
  double seconds = 10;                      // wall clock, of everything the program starts
  int64_t cpu_seconds = 10;                 // of each process
  int64_t memory_bytes = int64_t{1} << 30;  // address space of each process
  int64_t file_bytes = int64_t{16} << 20;   // of each file it writes
  int64_t output_bytes = int64_t{4} << 20;  // of standard output; more ends the program. Errors: the first 16 KB
  int64_t processes = 32;
};

enum class Ended { exited, signalled, timed_out, flooded };

struct SandboxResult {
  Ended ended = Ended::exited;
  int status = 0;  // exit code, or the signal
  std::string output, errors;
  double seconds = 0;
  bool isolated = false;  // it had no network, and processes of its own
  bool fine() const { return ended == Ended::exited && status == 0; }
};

// `command[0]` is a path. `files`: name → content, written to the temporary directory, in which it runs. As root, the
// child becomes the user nobody. Errors: io_error when no child could be made at all; whatever the child does is a
// result.
Result<SandboxResult> run_sandboxed(const std::vector<std::string>& command, const std::string& input,
                                    const std::map<std::string, std::string>& files, const SandboxLimits& limits = {});

}  // namespace zaya::eval
