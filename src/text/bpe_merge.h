// Merging a short sequence of symbols by rank: the inner loop of BPE.
#pragma once

#include <cstdint>
#include <vector>

#include "text/bpe.h"

namespace zaya::text {

// Holds the working memory, so that a text's many segments share it. One thread per object.
class BpeMerger {
 public:
  explicit BpeMerger(const MergeTable& merges) : merges_(merges) {}

  // Merges `symbols` until no pair merges and appends the result to `out`.
  void merge(const std::vector<TokenId>& symbols, std::vector<TokenId>& out);

 private:
  void merge_short(const std::vector<TokenId>& symbols, std::vector<TokenId>& out);
  void merge_long(const std::vector<TokenId>& symbols, std::vector<TokenId>& out);

  struct Symbol {
    TokenId id;  // -1: swallowed by a symbol to its left
    uint32_t previous;
    uint32_t next;
    MergeTable::Merge with_next;
  };

  const MergeTable& merges_;
  std::vector<Symbol> list_;
  // Entries are rank << 32 | position.
  std::vector<uint64_t> first_pairs_;  // sorted
  std::vector<uint64_t> new_pairs_;    // a heap with the least on top
};

}  // namespace zaya::text
