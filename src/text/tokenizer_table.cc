#include "text/tokenizer_table.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

namespace zaya::text {
namespace {

// A hash of byte strings that can be fed in parts: FNV-1a's loop, then a finaliser, since FNV's low bits are weak. The
// tokens are about 7 bytes long, too short for wider steps to pay.
constexpr uint64_t kSeed = 0xCBF29CE484222325u;

uint64_t feed(uint64_t hash, std::string_view text) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

uint64_t finish(uint64_t hash) {
  hash ^= hash >> 32;
  hash *= 0x9E3779B97F4A7C15u;
  return hash ^ hash >> 29;
}

uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

}  // namespace

void TokenTable::reserve(size_t count) {
  entries_.reserve(count);
  arena_.reserve(count * 8);
  grow_slots(count);
}

void TokenTable::grow_slots(size_t count) {
  const size_t wanted = std::bit_ceil(std::max<size_t>(count * 2, 16));
  if (wanted <= slots_.size()) return;
  slots_.assign(wanted, Slot());
  for (size_t id = 0; id < entries_.size(); ++id) {
    if (entries_[id].length == kAbsent) continue;
    const uint64_t hash = finish(feed(kSeed, text(static_cast<TokenId>(id))));
    size_t i = hash & (slots_.size() - 1);
    while (slots_[i].id >= 0) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = {static_cast<TokenId>(id), tag_of(hash)};
  }
}

TokenTable::Added TokenTable::add(TokenId id, std::string_view token_text) {
  assert(id >= 0 && id <= kMaxTokenId && arena_.size() + token_text.size() < kAbsent);
  if (contains(id)) return Added::duplicate_id;
  grow_slots(count_ + 1);
  const uint64_t hash = finish(feed(kSeed, token_text));
  size_t i = hash & (slots_.size() - 1);
  for (; slots_[i].id >= 0; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].tag == tag_of(hash) && text(slots_[i].id) == token_text) return Added::duplicate_text;
  }
  slots_[i] = {id, tag_of(hash)};
  if (static_cast<size_t>(id) >= entries_.size()) entries_.resize(static_cast<size_t>(id) + 1);
  entries_[id] = {static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(token_text.size())};
  arena_.insert(arena_.end(), token_text.begin(), token_text.end());
  ++count_;
  return Added::ok;
}

std::optional<TokenId> TokenTable::find(std::string_view token_text) const { return find(token_text, {}); }

std::optional<TokenId> TokenTable::find(std::string_view head, std::string_view tail) const {
  if (slots_.empty()) return std::nullopt;
  const uint64_t hash = finish(feed(feed(kSeed, head), tail));
  for (size_t i = hash & (slots_.size() - 1); slots_[i].id >= 0; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].tag != tag_of(hash)) continue;
    const std::string_view found = text(slots_[i].id);
    if (found.size() == head.size() + tail.size() && found.substr(0, head.size()) == head &&
        found.substr(head.size()) == tail) {
      return slots_[i].id;
    }
  }
  return std::nullopt;
}

}  // namespace zaya::text
