// Work on strings that both methods and filters need.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text/jinja/objects.h"
#include "text/jinja/value.h"

namespace zaya::text::jinja {

// HTML-escapes text as markupsafe does.
std::string escape(std::string_view text);
// escape(value): markup stays what it is, everything else is printed and escaped. A markup string.
Value escape(const Value& value);

// str.replace(from, to, count); a negative count means all.
std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t count);

// text[start:stop:step] in code points, as Python slices; missing or none: left out.
std::string slice(const StringObject& text, const Value& start, const Value& stop, const Value& step);

// The indices that a slice of a sequence of `length` visits: from `start`, `count` times, by `step`; `stop` is where
// Python says it ends.
struct SliceIndices {
  int64_t start = 0, stop = 0, count = 0, step = 1;
};
SliceIndices slice_indices(int64_t length, const Value& start, const Value& stop, const Value& step);

// separator.join(items); each item a string already.
class Joiner {
 public:
  explicit Joiner(std::string_view separator) : separator_(separator) {}
  void add(std::string_view text);
  std::string take() { return std::move(text_); }

 private:
  std::string_view separator_;
  std::string text_;
  bool first_ = true;
};

}  // namespace zaya::text::jinja
