// Status and Result<T>: how every room reports failure. Nothing that comes from a file or a request may end the
// process, so functions that touch such data return one of these; assertions are for programmer errors only.
#pragma once

#include <cassert>
#include <string>
#include <utility>
#include <variant>

namespace zaya {

// Stable codes: programs may branch on them; the sentences may change.
enum class Code {
  ok,
  invalid_argument,    // the caller asked for something meaningless
  not_found,           // a file, tensor or key is absent
  io_error,            // the operating system refused
  malformed,           // a file's content breaks its format
  unsupported,         // well-formed, but not something we can do
  out_of_range,        // a size or a count exceeds a limit
  resource_exhausted,  // memory or another budget ran out
  cancelled,           // the caller stopped it
};

const char* code_name(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  // `message` says what is wrong, with the names and numbers; `hint` (may be empty) says what to do about it.
  Status(Code code, std::string message, std::string hint = {})
      : code_(code), message_(std::move(message)), hint_(std::move(hint)) {}

  bool ok() const { return code_ == Code::ok; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }

  // One line for people: "message (hint)".
  std::string to_string() const;

  // The same failure seen from further out: "context: message".
  Status with_context(const std::string& context) const;

 private:
  Code code_ = Code::ok;
  std::string message_;
  std::string hint_;
};

// A value or the Status that explains its absence.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}        // NOLINT: implicit by design
  Result(Status status) : state_(std::in_place_index<1>, std::move(status)) {  // NOLINT: implicit by design
    assert(!std::get<1>(state_).ok());
  }

  bool ok() const { return state_.index() == 0; }
  Status status() const { return ok() ? Status() : std::get<1>(state_); }

  T& value() & { return assert(ok()), *std::get_if<0>(&state_); }
  const T& value() const& { return assert(ok()), *std::get_if<0>(&state_); }
  T&& value() && { return assert(ok()), std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Status> state_;
};

#define ZAYA_CONCAT_INNER(a, b) a##b
#define ZAYA_CONCAT(a, b) ZAYA_CONCAT_INNER(a, b)

// Returns early when `expression`, a Status, is a failure.
#define ZAYA_RETURN_IF_ERROR(expression)                                                  \
  do {                                                                                    \
    if (::zaya::Status zaya_status = (expression); !zaya_status.ok()) return zaya_status; \
  } while (false)

// ZAYA_ASSIGN(auto file, open(path)): unwraps a Result or returns its failure.
#define ZAYA_ASSIGN(declaration, expression) \
  ZAYA_ASSIGN_INNER(ZAYA_CONCAT(zaya_result_, __LINE__), declaration, expression)
#define ZAYA_ASSIGN_INNER(result, declaration, expression) \
  auto result = (expression);                              \
  if (!result.ok()) return result.status();                \
  declaration = std::move(result).value()

}  // namespace zaya
