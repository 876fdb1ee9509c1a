// Token texts by id and ids by text, in two flat arrays: a vocabulary of 262,144 strings takes 8 MB and no node of its
// own for any of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace zaya::text {

class TokenTable {
 public:
  enum class Added { ok, duplicate_text, duplicate_id };

  // Room for `count` tokens; more may follow.
  void reserve(size_t count);

  // `id` must be in [0, kMaxTokenId]. Nothing changes unless the result is ok.
  Added add(TokenId id, std::string_view text);

  std::optional<TokenId> find(std::string_view text) const;

  // The concatenation of two texts, without building it.
  std::optional<TokenId> find(std::string_view head, std::string_view tail) const;

  bool contains(TokenId id) const {
    return id >= 0 && static_cast<size_t>(id) < entries_.size() && entries_[id].length != kAbsent;
  }
  // Empty for ids that do not exist.
  std::string_view text(TokenId id) const {
    if (!contains(id)) return {};
    return {arena_.data() + entries_[id].offset, entries_[id].length};
  }
  TokenId end_id() const { return static_cast<TokenId>(entries_.size()); }  // greatest id + 1
  size_t count() const { return count_; }

 private:
  static constexpr uint32_t kAbsent = UINT32_MAX;
  struct Entry {
    uint32_t offset = 0;
    uint32_t length = kAbsent;
  };
  // Part of the hash beside the id, so that a look-up seldom touches the text of another token.
  struct Slot {
    TokenId id = -1;
    uint32_t tag = 0;
  };

  void grow_slots(size_t count);

  std::vector<char> arena_;
  std::vector<Entry> entries_;  // by id
  std::vector<Slot> slots_;     // open addressing, a power of two, at most half full
  size_t count_ = 0;
};

}  // namespace zaya::text
