// The readers of tokenizer.json's pipeline components: normalizer, pre_tokenizer, decoder, post_processor.
#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "text/tokenizer_json.h"
#include "text/utf8.h"

namespace zaya::text {
namespace {

// Sequences may nest; a pipeline has a handful of steps in all.
constexpr int kMaxNesting = 8;
constexpr size_t kMaxSteps = 32;
// Replacing can make a text longer, and each step multiplies. Real files replace one character by another.
constexpr uint64_t kMaxGrowth = 64;

// Calls read(component, type) for `value`, or for each component of it when it is a Sequence (in `list_key`).
template <class Read>
Status for_each_component(const JsonValue& value, const char* list_key, const Read& read, int nesting = 0) {
  if (value.is_null()) return Status();
  ZAYA_RETURN_IF_ERROR(value.object().status());
  ZAYA_ASSIGN(const std::string type, value.member("type").string());
  if (type != "Sequence") return read(value, type);
  if (nesting == kMaxNesting) return value.error("nests more than " + std::to_string(kMaxNesting) + " sequences");
  const JsonValue list = value.member(list_key);
  ZAYA_ASSIGN(const simdjson::dom::array array, list.array());
  size_t index = 0;
  for (const simdjson::dom::element element : array) {
    ZAYA_RETURN_IF_ERROR(for_each_component(list.at(element, index++), list_key, read, nesting + 1));
  }
  return Status();
}

// {"String": "…"}; regular expressions are not understood.
Result<std::string> read_pattern(const JsonValue& component) {
  const JsonValue pattern = component.member("pattern");
  if (!pattern.member("Regex").is_null()) {
    return pattern.unsupported("Regex", "only patterns of the kind {\"String\": …} are understood");
  }
  ZAYA_ASSIGN(std::string text, pattern.member("String").string());
  if (text.empty()) return pattern.member("String").error("must not be empty");
  return text;
}

// A string of exactly one character.
Result<std::string> read_character(const JsonValue& value) {
  ZAYA_ASSIGN(std::string text, value.string());
  size_t position = 0;
  if (!text.empty()) next_valid_utf8(text.data(), position);
  if (text.empty() || position != text.size()) return value.error("must be one character");
  return text;
}

Result<uint64_t> read_count(const JsonValue& value) {
  uint64_t count;
  if (value.get(count) != simdjson::SUCCESS) return value.error("must be a whole number that is not negative");
  return count;
}

// Keeps an account of how many times longer a text can get.
class Growth {
 public:
  Status replace(const JsonValue& component, size_t from, size_t to) {
    factor_ *= std::max<uint64_t>((to + from - 1) / from, 1);
    if (factor_ <= kMaxGrowth) return Status();
    return Status(Code::out_of_range, component.path() + " can make a text " + std::to_string(factor_) +
                                          " times longer; the limit is " + std::to_string(kMaxGrowth));
  }

 private:
  uint64_t factor_ = 1;  // at most kMaxGrowth × 2^30, the file's size limit, before it is refused
};

template <class Step>
Status push_step(const JsonValue& component, Step step, std::vector<Step>& steps) {
  if (steps.size() == kMaxSteps) return component.error("is one of more than " + std::to_string(kMaxSteps) + " steps");
  steps.push_back(std::move(step));
  return Status();
}

Result<SplitBehavior> read_behavior(const JsonValue& value) {
  static constexpr std::pair<std::string_view, SplitBehavior> kNames[] = {
      {"Removed", SplitBehavior::removed},
      {"Isolated", SplitBehavior::isolated},
      {"MergedWithPrevious", SplitBehavior::merged_with_previous},
      {"MergedWithNext", SplitBehavior::merged_with_next},
      {"Contiguous", SplitBehavior::contiguous},
  };
  ZAYA_ASSIGN(const std::string name, value.string());
  for (const auto& [known, behavior] : kNames) {
    if (name == known) return behavior;
  }
  return value.unsupported(name);
}

struct Metaspace {
  std::string replacement;
  PrependScheme prepend;
};

Result<Metaspace> read_metaspace(const JsonValue& component) {
  Metaspace metaspace;
  ZAYA_ASSIGN(metaspace.replacement, read_character(component.member("replacement")));
  ZAYA_ASSIGN(const std::string scheme, component.member("prepend_scheme").string_or("always"));
  if (scheme == "first") {
    metaspace.prepend = PrependScheme::first;
  } else if (scheme == "never") {
    metaspace.prepend = PrependScheme::never;
  } else if (scheme == "always") {
    metaspace.prepend = PrependScheme::always;
  } else {
    return component.member("prepend_scheme").unsupported(scheme);
  }
  // The older way to say "never".
  ZAYA_ASSIGN(const bool add_prefix_space, component.member("add_prefix_space").boolean_or(true));
  if (!add_prefix_space) {
    if (!component.member("prepend_scheme").is_null() && metaspace.prepend != PrependScheme::never) {
      return component.error("has a prepend_scheme \"" + scheme + "\" that contradicts its add_prefix_space, false");
    }
    metaspace.prepend = PrependScheme::never;
  }
  return metaspace;
}

Result<std::vector<TokenId>> read_special_token_ids(const JsonValue& processor, const JsonValue& piece) {
  const JsonValue id = piece.member("id");
  ZAYA_ASSIGN(const std::string name, id.string());
  const JsonValue special_tokens = processor.member("special_tokens");
  const JsonValue token = special_tokens.member(name);
  if (token.is_null()) return id.error("names \"" + name + "\", which is not in special_tokens");
  const JsonValue list = token.member("ids");
  ZAYA_ASSIGN(const simdjson::dom::array array, list.array());
  std::vector<TokenId> ids;
  size_t index = 0;
  for (const simdjson::dom::element element : array) {
    ZAYA_ASSIGN(const TokenId token_id, read_token_id(list.at(element, index++)));
    ids.push_back(token_id);
  }
  return ids;
}

// TemplateProcessing's `single`: what a lone text becomes. (`pair` is for two texts at once, which nothing here needs.)
Result<PostProcessing> read_template(const JsonValue& processor) {
  PostProcessing post;
  const JsonValue single = processor.member("single");
  ZAYA_ASSIGN(const simdjson::dom::array pieces, single.array());
  bool text_seen = false;
  size_t index = 0;
  for (const simdjson::dom::element element : pieces) {
    const JsonValue piece = single.at(element, index++);
    if (const JsonValue sequence = piece.member("Sequence"); !sequence.is_null()) {
      ZAYA_ASSIGN(const std::string id, sequence.member("id").string());
      if (id != "A" || text_seen) return sequence.error("must be the one place of sequence A");
      text_seen = true;
      continue;
    }
    const JsonValue special = piece.member("SpecialToken");
    if (special.is_null()) return piece.error("must be a Sequence or a SpecialToken");
    ZAYA_ASSIGN(const std::vector<TokenId> ids, read_special_token_ids(processor, special));
    std::vector<TokenId>& side = text_seen ? post.suffix : post.prefix;
    if (side.size() + ids.size() > kMaxSteps) {
      return single.error("adds more than " + std::to_string(kMaxSteps) + " tokens");
    }
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (!text_seen) return single.error("has no place for the text (sequence A)");
  return post;
}

}  // namespace

std::string JsonValue::path() const {
  if (parent_ == nullptr) return "the document";
  std::string path = parent_->parent_ == nullptr ? std::string() : parent_->path();
  if (key_.data() == nullptr) return path.append("[").append(std::to_string(index_)).append("]");
  if (!path.empty()) path.push_back('.');
  return path.append(key_);
}

Status JsonValue::error(const std::string& what) const { return Status(Code::malformed, path() + " " + what); }

Status JsonValue::unsupported(const std::string& what, const std::string& hint) const {
  return Status(Code::unsupported, path() + ": " + what + " is not supported",
                hint.empty() ? "tokenizers of the Gemma 3 and ZAYA1 family are" : hint);
}

Result<std::string> JsonValue::string() const {
  ZAYA_ASSIGN(const std::string_view text, typed<std::string_view>("a string"));
  return std::string(text);
}

Result<Normalizer> read_normalizer(const JsonValue& value) {
  Normalizer normalizer;
  Growth growth;
  const auto read = [&](const JsonValue& component, const std::string& type) -> Status {
    NormalizerStep step{NormalizerStep::Kind::replace, {}, {}};
    if (type == "Replace") {
      ZAYA_ASSIGN(step.pattern, read_pattern(component));
      ZAYA_ASSIGN(step.content, component.member("content").string());
      ZAYA_RETURN_IF_ERROR(growth.replace(component, step.pattern.size(), step.content.size()));
    } else if (type == "Prepend") {
      step.kind = NormalizerStep::Kind::prepend;
      ZAYA_ASSIGN(step.content, component.member("prepend").string());
      ZAYA_RETURN_IF_ERROR(growth.replace(component, 1, 1 + step.content.size()));  // each piece of text gets one
    } else {
      return component.unsupported(type);
    }
    return push_step(component, std::move(step), normalizer.steps);
  };
  ZAYA_RETURN_IF_ERROR(for_each_component(value, "normalizers", read));
  return normalizer;
}

Result<PreTokenizer> read_pre_tokenizer(const JsonValue& value) {
  PreTokenizer pre_tokenizer;
  Growth growth;
  const auto read = [&](const JsonValue& component, const std::string& type) -> Status {
    PreTokenizerStep step{PreTokenizerStep::Kind::split, {}};
    if (type == "Split") {
      ZAYA_ASSIGN(step.pattern, read_pattern(component));
      ZAYA_ASSIGN(step.behavior, read_behavior(component.member("behavior")));
      ZAYA_ASSIGN(step.invert, component.member("invert").boolean_or(false));
    } else if (type == "Metaspace") {
      step.kind = PreTokenizerStep::Kind::metaspace;
      ZAYA_ASSIGN(const Metaspace metaspace, read_metaspace(component));
      step.pattern = metaspace.replacement;
      step.prepend = metaspace.prepend;
      ZAYA_ASSIGN(step.metaspace_splits, component.member("split").boolean_or(true));
      ZAYA_RETURN_IF_ERROR(growth.replace(component, 1, 1 + step.pattern.size()));
    } else {
      return component.unsupported(type);
    }
    return push_step(component, std::move(step), pre_tokenizer.steps);
  };
  ZAYA_RETURN_IF_ERROR(for_each_component(value, "pretokenizers", read));
  return pre_tokenizer;
}

Result<DecoderChain> read_decoder(const JsonValue& value) {
  std::vector<DecoderStep> steps;
  if (value.is_null()) return DecoderChain({DecoderStep{DecoderStep::Kind::join, {}, {}}});
  Growth growth;
  bool fused = false;
  const auto read = [&](const JsonValue& component, const std::string& type) -> Status {
    DecoderStep step{DecoderStep::Kind::fuse, {}, {}};
    if (type == "Replace") {
      step.kind = DecoderStep::Kind::replace;
      ZAYA_ASSIGN(step.pattern, read_pattern(component));
      ZAYA_ASSIGN(step.content, component.member("content").string());
      ZAYA_RETURN_IF_ERROR(growth.replace(component, step.pattern.size(), step.content.size()));
    } else if (type == "ByteFallback") {
      if (fused) return component.unsupported("ByteFallback after Fuse");
      step.kind = DecoderStep::Kind::byte_fallback;
    } else if (type == "Fuse") {
      fused = true;
    } else if (type == "Strip") {
      step.kind = DecoderStep::Kind::strip;
      ZAYA_ASSIGN(step.content, read_character(component.member("content")));
      ZAYA_ASSIGN(step.strip_start, read_count(component.member("start")));
      ZAYA_ASSIGN(step.strip_stop, read_count(component.member("stop")));
    } else if (type == "Metaspace") {
      step.kind = DecoderStep::Kind::metaspace;
      ZAYA_ASSIGN(const Metaspace metaspace, read_metaspace(component));
      step.pattern = metaspace.replacement;
      step.drop_in_first = metaspace.prepend != PrependScheme::never;
    } else {
      return component.unsupported(type);
    }
    return push_step(component, std::move(step), steps);
  };
  ZAYA_RETURN_IF_ERROR(for_each_component(value, "decoders", read));
  return DecoderChain(std::move(steps));
}

Result<PostProcessing> read_post_processor(const JsonValue& value) {
  std::optional<PostProcessing> post;
  const auto read = [&](const JsonValue& component, const std::string& type) -> Status {
    if (type != "TemplateProcessing") return component.unsupported(type);
    if (post) return component.unsupported("a second TemplateProcessing");
    ZAYA_ASSIGN(post, read_template(component));
    return Status();
  };
  ZAYA_RETURN_IF_ERROR(for_each_component(value, "processors", read));
  return post.value_or(PostProcessing());
}

}  // namespace zaya::text
