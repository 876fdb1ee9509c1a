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

void BpeMerger::merge_long(const std::vector<TokenId>& symbols, std::vector<TokenId>& out) {
  const auto count = static_cast<uint32_t>(symbols.size());
  list_.resize(count);
  queue_.clear();
  const auto entry = [](uint32_t rank, uint32_t position) { return static_cast<uint64_t>(rank) << 32 | position; };
  for (uint32_t i = 0; i < count; ++i) {
    list_[i] = {symbols[i], i == 0 ? kEnd : i - 1, i + 1 == count ? kEnd : i + 1, {}};
    if (i + 1 == count) break;
    list_[i].with_next = merges_.find(symbols[i], symbols[i + 1]);
    if (list_[i].with_next.rank != MergeTable::Merge::kNone) queue_.push_back(entry(list_[i].with_next.rank, i));
  }
  std::make_heap(queue_.begin(), queue_.end(), std::greater<>());

  const auto pair_up = [&](uint32_t position) {
    Symbol& symbol = list_[position];
    symbol.with_next = symbol.next == kEnd ? MergeTable::Merge() : merges_.find(symbol.id, list_[symbol.next].id);
    if (symbol.with_next.rank == MergeTable::Merge::kNone) return;
    queue_.push_back(entry(symbol.with_next.rank, position));
    std::push_heap(queue_.begin(), queue_.end(), std::greater<>());
  };
  while (!queue_.empty()) {
    const auto position = static_cast<uint32_t>(queue_.front());
    const auto rank = static_cast<uint32_t>(queue_.front() >> 32);
    std::pop_heap(queue_.begin(), queue_.end(), std::greater<>());
    queue_.pop_back();
    Symbol& left = list_[position];
    // An entry is stale when its pair is gone. A later pair at the same place has a longer text, so another merge and
    // another rank: equal rank means the same pair.
    if (left.id < 0 || left.with_next.rank != rank) continue;
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
