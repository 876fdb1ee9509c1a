// The words around a problem and its tails: a template file that users can replace.
//
// A file has sections, each headed by a line "=== NAME":
//   rollout     the first round's question
//   aggregate   a later round's question, with the tails
//   single      the same where there is only one tail (C = 1); left out = aggregate
//   candidate   how one tail stands among the {{candidates}}
//   close       asks for the answer to reasoning that was cut, from servers that cannot close it themselves
// Names in double braces are replaced, each as often as it stands there, everything else is taken as it is:
// {{problem}};
// {{candidates}} and {{count}} in aggregate and single; {{number}}, from 1, and {{tail}} in candidate; {{reasoning}} in
// close. A section's text is what stands between the heading lines, without the last line break.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "reasoning/generator.h"

namespace zaya::reasoning {

class Prompts {
 public:
  // "boxed" (asks for \boxed{}), "plain" (the bare problem; for models that know one form of question only), or a file.
  static Result<Prompts> named(const std::string& name_or_path);
  static Result<Prompts> parse(std::string_view source, const std::string& name);

  Prompt rollout(const std::string& problem) const;
  // `tails` in the order in which they are shown; at least one.
  Prompt aggregation(const std::string& problem, std::span<const Segment> tails) const;
  Prompt closing(const std::string& problem, const Segment& reasoning) const;

  const std::string& source() const { return source_; }  // as parsed: journals keep it

 private:
  std::string source_;
  std::string rollout_, aggregate_, single_, candidate_, close_;
};

}  // namespace zaya::reasoning
