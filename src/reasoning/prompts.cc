#include "reasoning/prompts.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "base/file.h"

namespace zaya::reasoning {
namespace {

constexpr const char* kBoxed = R"(=== rollout
{{problem}}

Think it through, then give the final answer in \boxed{}.
=== aggregate
Here is a problem, and behind it the ends of {{count}} earlier attempts at it. Nobody has checked them: each may be right, wrong, or cut off in the middle.

Problem:
{{problem}}

{{candidates}}Solve the problem yourself with their help. Keep the steps that hold up when you check them, decide by argument where attempts disagree, and take another way if none of them works. Then give the final answer in \boxed{}.
=== single
Here is a problem, and behind it the end of an earlier attempt at it. Nobody has checked it: it may be right, wrong, or cut off in the middle.

Problem:
{{problem}}

{{candidates}}Check what the attempt found, mend it or go on from it, or take another way if it leads nowhere. Then give the final answer in \boxed{}.
=== candidate
Attempt {{number}}:
{{tail}}


=== close
{{problem}}

So far I have thought this:
{{reasoning}}

There is no more time to think. Give the final answer now, in \boxed{}.
)";

// For models that know one form of question: the notes come first, so that the question stands where it always does.
constexpr const char* kPlain = R"(=== rollout
{{problem}}
=== aggregate
{{candidates}}{{problem}}
=== candidate
{{tail}}

=== close
{{reasoning}}

{{problem}}
)";

constexpr size_t kMaxSource = size_t{1} << 20;

// Appends `source` to `out` with "{{name}}" replaced by what `fill(name, out)` appends; unknown names stay as they are.
void expand(std::string_view source, std::vector<Segment>& out,
            const std::function<bool(std::string_view, std::vector<Segment>&)>& fill) {
  const auto append = [&](std::string_view text) {
    if (text.empty()) return;
    if (out.empty() || out.back().is_tail) out.emplace_back();
    out.back().text += text;
  };
  while (!source.empty()) {
    const size_t open = source.find("{{");
    const size_t close = open == std::string_view::npos ? open : source.find("}}", open);
    if (close == std::string_view::npos) return append(source);
    append(source.substr(0, open));
    if (!fill(source.substr(open + 2, close - open - 2), out)) {
      append(source.substr(open, 2));  // no name of ours, perhaps LaTeX: go on behind the braces
      source.remove_prefix(open + 2);
    } else {
      source.remove_prefix(close + 2);
    }
  }
}

void append_text(std::vector<Segment>& out, std::string_view text) {
  if (out.empty() || out.back().is_tail) out.emplace_back();
  out.back().text += text;
}

}  // namespace

Result<Prompts> Prompts::named(const std::string& name_or_path) {
  if (name_or_path == "boxed") return parse(kBoxed, "boxed");
  if (name_or_path == "plain") return parse(kPlain, "plain");
  ZAYA_ASSIGN(const std::string source, read_file(name_or_path, kMaxSource));
  return parse(source, name_or_path);
}

Result<Prompts> Prompts::parse(std::string_view source, const std::string& name) {
  const auto malformed = [&](const std::string& what) {
    return Status(Code::malformed, fmt::format("prompt template {}: {}", name, what),
                  "sections are headed \"=== rollout\", \"=== aggregate\" and \"=== candidate\"");
  };
  if (source.size() > kMaxSource) return malformed("is larger than a megabyte");
  Prompts prompts;
  prompts.source_ = source;
  struct Section {
    const char* name;
    std::string* text;
    bool seen = false;
  } sections[] = {{"rollout", &prompts.rollout_},
                  {"aggregate", &prompts.aggregate_},
                  {"single", &prompts.single_},
                  {"candidate", &prompts.candidate_},
                  {"close", &prompts.close_}};
  Section* current = nullptr;
  while (!source.empty()) {
    const size_t end = std::min(source.find('\n'), source.size() - 1) + 1;
    const std::string_view line = source.substr(0, end);
    source.remove_prefix(end);
    if (line.starts_with("=== ")) {
      std::string_view title = line.substr(4);
      title = title.substr(0, title.find_last_not_of(" \t\r\n") + 1);
      current = nullptr;
      for (Section& section : sections) {
        if (title == section.name) current = &section;
      }
      if (current == nullptr) return malformed(fmt::format("there is no section \"{}\"", title));
      if (current->seen) return malformed(fmt::format("section \"{}\" stands there twice", title));
      current->seen = true;
    } else if (current != nullptr) {
      *current->text += line;
    } else if (line.find_first_not_of(" \t\r\n") != std::string_view::npos) {
      return malformed("begins without a section");
    }
  }
  for (Section& section : sections) {
    if (section.text->ends_with('\n')) section.text->pop_back();
  }
  for (int i : {0, 1, 3}) {
    if (!sections[i].seen) return malformed(fmt::format("section \"{}\" is missing", sections[i].name));
  }
  if (!sections[2].seen) prompts.single_ = prompts.aggregate_;
  if (!sections[4].seen) prompts.close_ = "{{problem}}\n\n{{reasoning}}\n\nGive the final answer now.";
  const auto must_hold = [&](const std::string& text, const char* section, const char* name_in_braces) {
    if (text.find(name_in_braces) != std::string::npos) return Status();
    return malformed(fmt::format("section \"{}\" lacks {}", section, name_in_braces));
  };
  ZAYA_RETURN_IF_ERROR(must_hold(prompts.rollout_, "rollout", "{{problem}}"));
  ZAYA_RETURN_IF_ERROR(must_hold(prompts.aggregate_, "aggregate", "{{candidates}}"));
  ZAYA_RETURN_IF_ERROR(must_hold(prompts.single_, "single", "{{candidates}}"));
  ZAYA_RETURN_IF_ERROR(must_hold(prompts.candidate_, "candidate", "{{tail}}"));
  return prompts;
}

Prompt Prompts::rollout(const std::string& problem) const {
  Prompt prompt;
  expand(rollout_, prompt.user, [&](std::string_view name, std::vector<Segment>& out) {
    if (name != "problem") return false;
    return append_text(out, problem), true;
  });
  return prompt;
}

Prompt Prompts::aggregation(const std::string& problem, std::span<const Segment> tails) const {
  Prompt prompt;
  expand(tails.size() == 1 ? single_ : aggregate_, prompt.user, [&](std::string_view name, std::vector<Segment>& out) {
    if (name == "problem") return append_text(out, problem), true;
    if (name == "count") return append_text(out, std::to_string(tails.size())), true;
    if (name != "candidates") return false;
    for (size_t i = 0; i < tails.size(); ++i) {
      expand(candidate_, out, [&](std::string_view inner, std::vector<Segment>& into) {
        if (inner == "number") return append_text(into, std::to_string(i + 1)), true;
        if (inner == "problem") return append_text(into, problem), true;
        if (inner != "tail") return false;
        return into.push_back(tails[i]), true;
      });
    }
    return true;
  });
  return prompt;
}

Prompt Prompts::closing(const std::string& problem, const Segment& reasoning) const {
  Prompt prompt;
  expand(close_, prompt.user, [&](std::string_view name, std::vector<Segment>& out) {
    if (name == "problem") return append_text(out, problem), true;
    if (name != "reasoning") return false;
    return out.push_back(reasoning), true;
  });
  return prompt;
}

}  // namespace zaya::reasoning
