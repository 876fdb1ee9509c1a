#include "base/status.h"

namespace zaya {

const char* code_name(Code code) {
  switch (code) {
    case Code::ok: return "ok";
    case Code::invalid_argument: return "invalid_argument";
    case Code::not_found: return "not_found";
    case Code::io_error: return "io_error";
    case Code::malformed: return "malformed";
    case Code::unsupported: return "unsupported";
    case Code::out_of_range: return "out_of_range";
    case Code::resource_exhausted: return "resource_exhausted";
    case Code::cancelled: return "cancelled";
  }
  return "unknown";
}

std::string Status::to_string() const {
  if (ok()) return "ok";
  return hint_.empty() ? message_ : message_ + " (" + hint_ + ")";
}

Status Status::with_context(const std::string& context) const {
  return ok() ? *this : Status(code_, context + ": " + message_, hint_);
}

}  // namespace zaya
