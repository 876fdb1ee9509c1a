#include "text/bpe_merge.h"

#include <algorithm>
#include <array>
#include <functional>

namespace zaya::text {
namespace {

// Up to this many symbols a scan for the least rank beats a heap; nearly all words are this short.
constexpr size_t kShort = 24;

constexpr uint32_t kEnd = UINT32_MAX;

}  // namespace

void BpeMerger::merge(const std::vector<TokenId>& symbols, std::vector<TokenId>& out) {
  if (symbols.size() <= 1) {
    out.insert(out.end(), symbols.begin(), symbols.end());
  } else if (symbols.size() <= kShort) {
    merge_short(symbols, out);
  } else {
    merge_long(symbols, out);
  }
}

void BpeMerger::merge_short(const std::vector<TokenId>& symbols, std::vector<TokenId>& out) {
  std::array<TokenId, kShort> ids;
  std::array<MergeTable::Merge, kShort> pairs;  // pairs[i]: ids[i] with ids[i + 1]
  size_t count = symbols.size();
  std::copy(symbols.begin(), symbols.end(), ids.begin());
  for (size_t i = 0; i + 1 < count; ++i) pairs[i] = merges_.find(ids[i], ids[i + 1]);

  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == MergeTable::Merge::kNone) break;
    ids[best] = pairs[best].result;
    for (size_t i = best + 1; i + 1 < count; ++i) {
      ids[i] = ids[i + 1];
      pairs[i - 1] = pairs[i];
    }
    --count;
    if (best + 1 < count) pairs[best] = merges_.find(ids[best], ids[best + 1]);
    if (best > 0) pairs[best - 1] = merges_.find(ids[best - 1], ids[best]);
  }
  out.insert(out.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count));
}

// The pairs of the beginning are sorted once and then read in order; only pairs that merges make go through a heap,
// which so stays small enough for the caches. The next entry is the lesser of the two fronts.
void BpeMerger::merge_long(const std::vector<TokenId>& symbols, std::vector<TokenId>& out) {
  const auto count = static_cast<uint32_t>(symbols.size());
  list_.resize(count);
  first_pairs_.clear();
  new_pairs_.clear();
  const auto entry = [](uint32_t rank, uint32_t position) { return static_cast<uint64_t>(rank) << 32 | position; };
  for (uint32_t i = 0; i < count; ++i) {
    list_[i] = {symbols[i], i == 0 ? kEnd : i - 1, i + 1 == count ? kEnd : i + 1, {}};
    if (i + 1 == count) break;
    list_[i].with_next = merges_.find(symbols[i], symbols[i + 1]);
    if (list_[i].with_next.rank != MergeTable::Merge::kNone) first_pairs_.push_back(entry(list_[i].with_next.rank, i));
  }
  std::sort(first_pairs_.begin(), first_pairs_.end());
  size_t first_read = 0;

  const auto pair_up = [&](uint32_t position) {
    Symbol& symbol = list_[position];
    symbol.with_next = symbol.next == kEnd ? MergeTable::Merge() : merges_.find(symbol.id, list_[symbol.next].id);
    if (symbol.with_next.rank == MergeTable::Merge::kNone) return;
    new_pairs_.push_back(entry(symbol.with_next.rank, position));
    std::push_heap(new_pairs_.begin(), new_pairs_.end(), std::greater<>());
  };
  for (;;) {
    uint64_t next;
    const bool more_first = first_read < first_pairs_.size();
    if (more_first && (new_pairs_.empty() || first_pairs_[first_read] < new_pairs_.front())) {
      next = first_pairs_[first_read++];
    } else if (!new_pairs_.empty()) {
      next = new_pairs_.front();
      std::pop_heap(new_pairs_.begin(), new_pairs_.end(), std::greater<>());
      new_pairs_.pop_back();
    } else {
      break;
    }
    const auto position = static_cast<uint32_t>(next);
    Symbol& left = list_[position];
    // An entry is stale when its pair is gone. A later pair at the same place has a longer text, so another merge and
    // another rank: equal rank means the same pair.
    if (left.id < 0 || left.with_next.rank != static_cast<uint32_t>(next >> 32)) continue;
    Symbol& right = list_[left.next];
    left.id = left.with_next.result;
    left.next = right.next;
    right.id = -1;
    if (left.next != kEnd) list_[left.next].previous = position;
    pair_up(position);
    if (left.previous != kEnd) pair_up(left.previous);
  }
  for (uint32_t i = 0; i != kEnd; i = list_[i].next) out.push_back(list_[i].id);
}

}  // namespace zaya::text
