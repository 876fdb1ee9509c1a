// How this folder fails inside: an exception. An interpreter of expressions can fail at every step of every operator,
// filter and method; unwinding keeps those readable. template.cc is the only door, and turns each one into a Status.
#pragma once

#include <string>
#include <utility>

#include "base/status.h"

namespace zaya::text::jinja {

struct Error {
  Code code;
  std::string message;
  int line = 0;                     // 0: the line being run
  std::string hint{};               // may be empty
  bool raised_by_template = false;  // raise_exception: the message is the template's own
};

// The template does what Python or Jinja refuses.
[[noreturn]] inline void fail(std::string message) { throw Error{Code::invalid_argument, std::move(message)}; }

[[noreturn]] inline void fail_syntax(std::string message, int line) {
  throw Error{Code::malformed, std::move(message), line};
}

[[noreturn]] inline void fail_unsupported(std::string what, int line = 0) {
  throw Error{Code::unsupported, std::move(what) + " is not supported", line};
}

[[noreturn]] inline void fail_limit(std::string message, int line = 0) {
  throw Error{Code::resource_exhausted, std::move(message), line};
}

}  // namespace zaya::text::jinja
