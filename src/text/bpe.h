// Byte-pair encoding of one word, with exactly the merge order of `tokenizers`: of all neighbouring pairs the one with
// the lowest rank, of equal ones the leftmost, again and again.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/tokenizer_table.h"

namespace zaya::text {

// (left id, right id) → (rank, merged id): open addressing, one cache line a look-up. Gemma 3 has 514,906 merges.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank = kNone;
    TokenId result = -1;
    static constexpr uint32_t kNone = UINT32_MAX;
  };

  void reserve(size_t count);
  // A pair that is already there takes the new rank, as it does in `tokenizers`.
  void add(TokenId left, TokenId right, Merge merge);

  // rank is kNone when the pair does not merge.
  Merge find(TokenId left, TokenId right) const {
    const uint64_t key = key_of(left, right);
    for (size_t i = slot_of(key);; i = (i + 1) & mask_) {
      if (slots_[i].key == key) return slots_[i].merge;
      if (slots_[i].key == kEmpty) return {};
    }
  }

 private:
  static constexpr uint64_t kEmpty = UINT64_MAX;
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge;
  };
  static uint64_t key_of(TokenId left, TokenId right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const { return (key * 0x9E3779B97F4A7C15u) >> shift_; }

  std::vector<Slot> slots_ = std::vector<Slot>(2);
  size_t mask_ = 1;
  int shift_ = 63;
  size_t count_ = 0;
};

// The pairs of characters that stand side by side in some merge's result. Where two neighbours of a text are not among
// them, no merge can ever reach across, so the parts before and after can be encoded on their own. That cuts a text of
// megabytes, which is one word to Gemma's pipeline, into words of a few characters.
// May answer true for other pairs (a one-hash filter): that costs a cut, never correctness.
class NeighbourFilter {
 public:
  // Two bits for each of about `merges` merges. Gemma's 514,906 make 30,506 pairs beyond ASCII: 128 KB, 3 % full.
  explicit NeighbourFilter(size_t merges = 0)
      : hash_bits_(std::countr_zero(std::bit_ceil(std::max<size_t>(merges * 2, 4096)))),
        bits_((kAsciiBits + (size_t{1} << hash_bits_)) / 64) {}

  void add(char32_t left, char32_t right) {
    const size_t bit = bit_of(left, right);
    bits_[bit / 64] |= uint64_t{1} << (bit % 64);
  }
  bool may_join(char32_t left, char32_t right) const {
    const size_t bit = bit_of(left, right);
    return (bits_[bit / 64] >> (bit % 64) & 1) != 0;
  }

 private:
  // ASCII pairs have bits of their own in front, which stay in the nearest cache.
  static constexpr size_t kAsciiBits = 128 * 128;
  size_t bit_of(char32_t left, char32_t right) const {
    if ((left | right) < 128) return left * 128 + right;
    const uint64_t key = static_cast<uint64_t>(left) << 32 | right;
    return kAsciiBits + static_cast<size_t>((key * 0x9E3779B97F4A7C15u) >> (64 - hash_bits_));
  }

  int hash_bits_;
  std::vector<uint64_t> bits_;
};

// The id of each one-character token, in pages of 256 code points that exist where needed.
class CharacterTable {
 public:
  void add(char32_t character, TokenId id);
  TokenId find(char32_t character) const {  // -1: none
    return ids_[static_cast<size_t>(pages_[character >> 8]) << 8 | (character & 0xFF)];
  }

 private:
  std::vector<uint16_t> pages_ = std::vector<uint16_t>(0x1100);  // page 0 is the empty one
  std::vector<TokenId> ids_ = std::vector<TokenId>(256, TokenId{-1});
};

struct BpeOptions {
  std::string unk_token;       // what stands for characters the vocabulary lacks; see has_unk
  bool has_unk = false;        // without it such characters vanish
  bool fuse_unk = false;       // a run of them gives one unk_token
  bool byte_fallback = false;  // tokens "<0x00>" … "<0xFF>" for the bytes of such characters come first
  bool ignore_merges = false;  // a word that is in the vocabulary is that token
};

class BpeModel {
 public:
  // `vocabulary` is complete; about `merges` calls of add_merge() follow.
  // malformed: unk_token is not in the vocabulary.
  static Result<BpeModel> create(TokenTable vocabulary, const BpeOptions& options, size_t merges = 0);

  enum class MergeError { none, empty_part, unknown_left, unknown_right, unknown_result };
  MergeError add_merge(std::string_view left, std::string_view right, uint32_t rank);

  const TokenTable& vocabulary() const { return vocabulary_; }

  // Appends the ids of `word` (valid UTF-8) to `out`.
  void encode(std::string_view word, std::vector<TokenId>& out) const;

 private:
  BpeModel() = default;

  TokenTable vocabulary_;
  MergeTable merges_;
  NeighbourFilter neighbours_;
  CharacterTable characters_;
  std::array<TokenId, 256> byte_ids_{};  // -1: the vocabulary has no token for that byte
  TokenId unk_id_ = -1;
  TokenId last_result_ = -1;  // of add_merge
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
};

}  // namespace zaya::text
