// What happens to a text before BPE: the normaliser and the pre-tokeniser, as lists of plain steps.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace zaya::text {

// normalizer: Replace and Prepend in the file's order. Sequences are flattened.
struct NormalizerStep {
  enum class Kind { replace, prepend } kind;
  std::string pattern;  // replace: never empty
  std::string content;
};

class Normalizer {
 public:
  std::vector<NormalizerStep> steps;

  // The normalised text: `text` itself when nothing changes, else a view into `storage`.
  std::string_view apply(std::string_view text, std::string& storage) const;
};

enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
enum class PrependScheme { first, never, always };

struct PreTokenizerStep {
  enum class Kind { split, metaspace } kind;
  std::string pattern;  // split: what to look for, never empty; metaspace: the replacement character
  SplitBehavior behavior = SplitBehavior::isolated;  // split
  bool invert = false;                               // split: what lies between the matches is the delimiter
  PrependScheme prepend = PrependScheme::always;     // metaspace
  bool metaspace_splits = true;                      // metaspace
};

class PreTokenizer {
 public:
  std::vector<PreTokenizerStep> steps;

  // The words of `text`. Views point into `text` or into `storage`, whose elements stay where they are.
  // `at_start`: the text begins where the whole input begins (Metaspace's prepend scheme "first" asks).
  std::vector<std::string_view> apply(std::string_view text, bool at_start, std::deque<std::string>& storage) const;
};

// `text` with every occurrence of `pattern` (not empty; from the left, not overlapping) replaced.
std::string replace_all(std::string_view text, std::string_view pattern, std::string_view content);

}  // namespace zaya::text
