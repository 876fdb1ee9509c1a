#include "text/bpe.h"

#include <bit>
#include <optional>

#include "text/bpe_merge.h"
#include "text/utf8.h"

namespace zaya::text {
namespace {

// Symbols one merge run may hold: positions are 32 bits wide. A text reaches it only with gigabytes that have no two
// neighbours apart; it is then cut here.
constexpr size_t kMaxSegment = size_t{1} << 31;

std::string byte_token(int byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

}  // namespace

void MergeTable::reserve(size_t count) {
  const size_t wanted = std::bit_ceil(count * 2 + 2);
  if (wanted <= slots_.size()) return;
  std::vector<Slot> old(wanted);
  old.swap(slots_);
  mask_ = wanted - 1;
  shift_ = 64 - std::countr_zero(wanted);
  for (const Slot& slot : old) {
    if (slot.key == kEmpty) continue;
    size_t i = slot_of(slot.key);
    while (slots_[i].key != kEmpty) i = (i + 1) & mask_;
    slots_[i] = slot;
  }
}

void MergeTable::add(TokenId left, TokenId right, Merge merge) {
  reserve(count_ + 1);
  const uint64_t key = key_of(left, right);
  size_t i = slot_of(key);
  while (slots_[i].key != kEmpty && slots_[i].key != key) i = (i + 1) & mask_;
  if (slots_[i].key == kEmpty) ++count_;
  slots_[i] = {key, merge};
}

void CharacterTable::add(char32_t character, TokenId id) {
  uint16_t& page = pages_[character >> 8];
  if (page == 0) {
    page = static_cast<uint16_t>(ids_.size() >> 8);
    ids_.resize(ids_.size() + 256, TokenId{-1});
  }
  ids_[static_cast<size_t>(page) << 8 | (character & 0xFF)] = id;
}

Result<BpeModel> BpeModel::create(TokenTable vocabulary, const BpeOptions& options, size_t merges) {
  BpeModel model;
  model.merges_.reserve(merges);
  model.neighbours_ = NeighbourFilter(merges);
  model.vocabulary_ = std::move(vocabulary);
  model.fuse_unk_ = options.fuse_unk;
  model.byte_fallback_ = options.byte_fallback;
  model.ignore_merges_ = options.ignore_merges;
  if (options.has_unk) {
    const auto id = model.vocabulary_.find(options.unk_token);
    if (!id) {
      return Status(Code::malformed, "model.unk_token \"" + options.unk_token + "\" is not in model.vocab",
                    "add it to the vocabulary or set unk_token to null");
    }
    model.unk_id_ = *id;
  }
  for (int byte = 0; byte < 256; ++byte) {
    model.byte_ids_[byte] = model.vocabulary_.find(byte_token(byte)).value_or(-1);
  }
  for (TokenId id = 0; id < model.vocabulary_.end_id(); ++id) {
    const std::string_view text = model.vocabulary_.text(id);
    if (text.empty()) continue;
    size_t position = 0;
    const char32_t character = next_valid_utf8(text.data(), position);
    if (position == text.size()) model.characters_.add(character, id);
  }
  return model;
}

BpeModel::MergeError BpeModel::add_merge(std::string_view left, std::string_view right, uint32_t rank) {
  // With an empty part a merge would give one of its own parts again: the cycle that no other merge can be.
  if (left.empty() || right.empty()) return MergeError::empty_part;
  const auto left_id = vocabulary_.find(left);
  if (!left_id) return MergeError::unknown_left;
  const auto right_id = vocabulary_.find(right);
  if (!right_id) return MergeError::unknown_right;
  // Files list all merges that make a token together, and tokens by id: the result is mostly that of the merge before
  // or the token after it, which saves the dearest look-up.
  const auto is_result = [&](TokenId id) {
    const std::string_view text = vocabulary_.text(id);
    return text.size() == left.size() + right.size() && text.starts_with(left) && text.ends_with(right);
  };
  const TokenId previous_result = last_result_;
  if (is_result(previous_result)) {
    merges_.add(*left_id, *right_id, {rank, previous_result});
    return MergeError::none;  // its neighbours are known
  }
  std::optional<TokenId> result = previous_result + 1;
  if (!is_result(*result)) result = vocabulary_.find(left, right);
  if (!result) return MergeError::unknown_result;
  last_result_ = *result;
  merges_.add(*left_id, *right_id, {rank, *result});
  const std::string_view text = vocabulary_.text(*result);
  size_t position = 0;
  char32_t left_character = next_valid_utf8(text.data(), position);
  while (position < text.size()) {
    const char32_t character = next_valid_utf8(text.data(), position);
    neighbours_.add(left_character, character);
    left_character = character;
  }
  return MergeError::none;
}

void BpeModel::encode(std::string_view word, std::vector<TokenId>& out) const {
  if (word.empty()) return;
  if (ignore_merges_) {
    if (const auto id = vocabulary_.find(word)) return out.push_back(*id);
  }

  BpeMerger merger(merges_);
  std::vector<TokenId> segment;
  char32_t segment_end = 0;  // last character of the last symbol's text
  const auto add = [&](TokenId id, char32_t first, char32_t last) {
    if (!segment.empty() && (!neighbours_.may_join(segment_end, first) || segment.size() == kMaxSegment)) {
      merger.merge(segment, out);
      segment.clear();
    }
    segment.push_back(id);
    segment_end = last;
  };
  const auto add_unk = [&] {
    const std::string_view text = vocabulary_.text(unk_id_);
    if (text.empty()) {  // then no merge can name it
      merger.merge(segment, out);
      segment.clear();
      return out.push_back(unk_id_);
    }
    size_t start = 0;
    add(unk_id_, next_valid_utf8(text.data(), start), last_valid_utf8(text));
  };

  // An unknown character waits for the next known one, to be fused with its successors. As in `tokenizers`, byte tokens
  // do not end the wait (which shows only in vocabularies that lack some of them).
  bool unk_waits = false;
  size_t position = 0;
  while (position < word.size()) {
    const size_t start = position;
    const char32_t character = next_valid_utf8(word.data(), position);
    const TokenId id = characters_.find(character);
    if (id >= 0) {
      if (unk_waits) add_unk();
      unk_waits = false;
      add(id, character, character);
      continue;
    }
    const auto byte_id = [&](size_t i) { return byte_ids_[static_cast<unsigned char>(word[i])]; };
    bool all_bytes = byte_fallback_;
    for (size_t i = start; i < position && all_bytes; ++i) all_bytes = byte_id(i) >= 0;
    if (all_bytes) {
      for (size_t i = start; i < position; ++i) add(byte_id(i), U'<', U'>');
    } else if (unk_id_ >= 0) {
      if (unk_waits && !fuse_unk_) add_unk();
      unk_waits = true;
    }
  }
  if (unk_waits) add_unk();
  merger.merge(segment, out);
}

}  // namespace zaya::text
