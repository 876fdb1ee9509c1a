#include "text/tokenizer_pipeline.h"

#include <utility>

namespace zaya::text {
namespace {

struct Span {
  size_t start;
  size_t end;
  bool is_match;
};

// The whole text as alternating matches and rests, none of them empty.
std::vector<Span> find_spans(std::string_view text, std::string_view pattern, bool invert) {
  std::vector<Span> spans;
  size_t done = 0;
  while (done < text.size()) {
    const size_t found = text.find(pattern, done);
    const size_t rest_end = found == std::string_view::npos ? text.size() : found;
    if (rest_end > done) spans.push_back({done, rest_end, invert});
    if (found == std::string_view::npos) break;
    done = found + pattern.size();
    spans.push_back({found, done, !invert});
  }
  return spans;
}

// Whether `span` belongs to one word with `previous`, the span just before it.
bool joins(SplitBehavior behavior, const Span& previous, const Span& span) {
  switch (behavior) {
    case SplitBehavior::removed:
    case SplitBehavior::isolated: return false;
    case SplitBehavior::merged_with_previous: return span.is_match && !previous.is_match;
    case SplitBehavior::merged_with_next: return previous.is_match && !span.is_match;
    case SplitBehavior::contiguous: return previous.is_match == span.is_match;
  }
  return false;
}

void split(std::string_view text, const PreTokenizerStep& step, SplitBehavior behavior,
           std::vector<std::string_view>& words) {
  if (!step.invert && text.find(step.pattern) == std::string_view::npos) return words.push_back(text);
  const std::vector<Span> spans = find_spans(text, step.pattern, step.invert);
  for (size_t i = 0; i < spans.size(); ++i) {
    const Span& span = spans[i];
    if (behavior == SplitBehavior::removed && span.is_match) continue;
    if (i > 0 && joins(behavior, spans[i - 1], span)) {
      words.back() = {words.back().data(), words.back().size() + (span.end - span.start)};
    } else {
      words.push_back(text.substr(span.start, span.end - span.start));
    }
  }
}

void metaspace(std::string_view text, const PreTokenizerStep& step, bool at_start, std::deque<std::string>& storage,
               std::vector<std::string_view>& words) {
  std::string replaced = replace_all(text, " ", step.pattern);
  const bool prepends = step.prepend == PrependScheme::always || (step.prepend == PrependScheme::first && at_start);
  if (prepends && !replaced.starts_with(step.pattern)) replaced = step.pattern + replaced;
  const std::string& kept = storage.emplace_back(std::move(replaced));
  if (!step.metaspace_splits) return words.push_back(kept);
  split(kept, step, SplitBehavior::merged_with_next, words);
}

}  // namespace

std::string replace_all(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  size_t done = 0;
  for (size_t found = text.find(pattern); found != std::string_view::npos; found = text.find(pattern, done)) {
    out.append(text, done, found - done).append(content);
    done = found + pattern.size();
  }
  return out.append(text, done);
}

std::string_view Normalizer::apply(std::string_view text, std::string& storage) const {
  for (const NormalizerStep& step : steps) {
    switch (step.kind) {
      case NormalizerStep::Kind::replace:
        if (text.find(step.pattern) == std::string_view::npos) break;
        storage = replace_all(text, step.pattern, step.content);
        text = storage;
        break;
      case NormalizerStep::Kind::prepend:
        if (text.empty()) break;
        storage = step.content + std::string(text);
        text = storage;
        break;
    }
  }
  return text;
}

std::vector<std::string_view> PreTokenizer::apply(std::string_view text, bool at_start,
                                                  std::deque<std::string>& storage) const {
  std::vector<std::string_view> words = {text};
  std::vector<std::string_view> next;
  for (const PreTokenizerStep& step : steps) {
    next.clear();
    for (size_t i = 0; i < words.size(); ++i) {
      if (words[i].empty()) continue;
      if (step.kind == PreTokenizerStep::Kind::split) {
        split(words[i], step, step.behavior, next);
      } else {
        metaspace(words[i], step, at_start && i == 0, storage, next);
      }
    }
    words.swap(next);
  }
  return words;
}

}  // namespace zaya::text
