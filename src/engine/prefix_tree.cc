#include "engine/prefix_tree.h"

#include <algorithm>
#include <cassert>

namespace zaya::engine {
namespace {

constexpr size_t kPage = static_cast<size_t>(ops::kPageTokens);

// One more token behind a prefix's hash: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
uint64_t extend(uint64_t key, text::TokenId token) {
  uint64_t x = key + 0x9e3779b97f4a7c15u * (static_cast<uint64_t>(static_cast<uint32_t>(token)) + 1);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t extend(uint64_t key, std::span<const text::TokenId> tokens) {
  for (text::TokenId token : tokens) key = extend(key, token);
  return key;
}

}  // namespace

PrefixTree::PrefixTree() = default;

// The hash only leads to a node; its tokens decide, so that a collision costs a miss and never a wrong prefix.
const PrefixTree::Node* PrefixTree::child(const Node* parent, std::span<const text::TokenId> tokens,
                                          uint64_t key) const {
  const auto found = nodes_.find(key);
  if (found == nodes_.end() || found->second->parent != parent) return nullptr;
  const std::vector<text::TokenId>& own = found->second->tokens;
  return std::equal(own.begin(), own.end(), tokens.begin(), tokens.end()) ? found->second.get() : nullptr;
}

const PrefixTree::Node* PrefixTree::walk(std::span<const text::TokenId> tokens) const {
  const Node* node = &root_;
  while (!tokens.empty()) {
    uint64_t keys[kPage + 1] = {node->key};
    const size_t most = std::min(tokens.size(), kPage);
    for (size_t i = 0; i < most; ++i) keys[i + 1] = extend(keys[i], tokens[i]);
    const Node* next = nullptr;
    for (size_t count = most; count > 0 && next == nullptr; --count) {
      next = child(node, tokens.first(count), keys[count]);
    }
    if (next == nullptr) break;
    node = next;
    if (next->tokens.size() < kPage) break;
    tokens = tokens.subspan(kPage);
  }
  return node;
}

PrefixTree::Node* PrefixTree::find(std::span<const text::TokenId> tokens) {
  Node* node = const_cast<Node*>(walk(tokens));
  touch(*node);
  return node;
}

int64_t PrefixTree::length_of(std::span<const text::TokenId> tokens) const { return walk(tokens)->length; }

// A node with children is as recent as the most recent of them; it learns that when the last one goes.
void PrefixTree::touch(Node& node) {
  const uint64_t before = std::exchange(node.used, ++clock_);
  if (node.children > 0 || node.parent == nullptr) return;
  leaves_.erase({before, &node});
  leaves_.insert({node.used, &node});
}

bool PrefixTree::contains(const Node* parent, std::span<const text::TokenId> tokens) const {
  return child(parent, tokens, extend(parent->key, tokens)) != nullptr;
}

PrefixTree::Node* PrefixTree::insert(Node* parent, std::span<const text::TokenId> tokens,
                                     std::shared_ptr<model::Page> page, model::Snapshot&& snapshot) {
  assert(!tokens.empty() && tokens.size() <= kPage && (parent == &root_ || parent->tokens.size() == kPage));
  const uint64_t key = extend(parent->key, tokens);
  if (const Node* found = child(parent, tokens, key)) {
    touch(const_cast<Node&>(*found));
    return const_cast<Node*>(found);
  }
  auto [place, added] = nodes_.try_emplace(key);
  if (!added) return nullptr;
  place->second = std::make_unique<Node>();
  Node& node = *place->second;
  node.parent = parent;
  node.tokens.assign(tokens.begin(), tokens.end());
  node.page = std::move(page);
  node.snapshot = std::move(snapshot);
  node.length = parent->length + static_cast<int64_t>(tokens.size());
  node.key = key;
  if (parent->children++ == 0) leaves_.erase({parent->used, parent});
  touch(node);
  return &node;
}

std::vector<std::shared_ptr<model::Page>> PrefixTree::pages(const Node* node) {
  std::vector<std::shared_ptr<model::Page>> pages;
  for (; node->parent != nullptr; node = node->parent) pages.push_back(node->page);
  std::reverse(pages.begin(), pages.end());
  return pages;
}

bool PrefixTree::evict() {
  const auto leaf =
      std::find_if(leaves_.begin(), leaves_.end(), [](const auto& entry) { return entry.second->page->users() == 0; });
  if (leaf == leaves_.end()) return false;
  Node* node = leaf->second;
  Node* parent = node->parent;
  const uint64_t used = node->used;
  leaves_.erase(leaf);
  nodes_.erase(node->key);
  --parent->children;
  if (parent != &root_ && parent->children == 0) {
    parent->used = std::max(parent->used, used);
    leaves_.insert({parent->used, parent});
  }
  return true;
}

void PrefixTree::clear() {
  leaves_.clear();
  nodes_.clear();
  root_.children = 0;
}

std::vector<const PrefixTree::Node*> PrefixTree::by_recency() const {
  std::unordered_map<const Node*, uint64_t> latest;  // use of a node or anything behind it
  for (const auto& [key, node] : nodes_) {
    for (const Node* n = node.get(); n != &root_; n = n->parent) {
      uint64_t& used = latest[n];
      if (n != node.get() && used >= node->used) break;  // and so have its ancestors
      used = std::max(used, node->used);
    }
  }
  std::vector<const Node*> order;
  for (const auto& [key, node] : nodes_) order.push_back(node.get());
  std::sort(order.begin(), order.end(), [&](const Node* a, const Node* b) {
    const uint64_t used_a = latest[a], used_b = latest[b];
    return used_a != used_b ? used_a > used_b : a->length < b->length;
  });
  return order;
}

}  // namespace zaya::engine
