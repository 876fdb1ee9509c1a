// What sequences have computed, kept for those that begin alike: a tree over tokens whose nodes hold one page of keys
// and values each and the state of the convolutions behind the node's last token.
//
// A full node ends at a page's end and may have children. A node that ends inside a page is a leaf: the end of a prompt
// or of an answer. Nodes at different tokens of one page share the page, so ends cost a snapshot each and nothing more.
//
// Least recently used leaves go first. A node whose page a living sequence holds stays: giving it up would free little,
// and its sequence is about to add the next node behind it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "model/sequence_state.h"
#include "text/tokenizer.h"

namespace zaya::engine {

class PrefixTree {
 public:
  struct Node {
    Node* parent = nullptr;             // null: the root, which stands for the empty prefix
    std::vector<text::TokenId> tokens;  // behind the parent's; 1 … kPageTokens
    std::shared_ptr<model::Page> page;
    model::Snapshot snapshot;
    int64_t length = 0;  // of the whole prefix

   private:
    friend class PrefixTree;
    uint64_t key = 0;  // of the whole prefix
    int64_t children = 0;
    uint64_t used = 0;  // the clock when it was last of use; of a leaf, also its place in leaves_
  };

  PrefixTree();
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  Node* root() { return &root_; }

  // The node of the longest prefix of `tokens` that is stored, and counts that as use. The root when there is none.
  Node* find(std::span<const text::TokenId> tokens);
  // Its length only, and no use.
  int64_t length_of(std::span<const text::TokenId> tokens) const;

  // The node of `parent`'s prefix and `tokens` (at most a page) behind it, made if it is not there: then it takes the
  // page and the snapshot. `parent` is full or the root. Null in the rare case that two prefixes have the same hash.
  Node* insert(Node* parent, std::span<const text::TokenId> tokens, std::shared_ptr<model::Page> page,
               model::Snapshot&& snapshot);
  // Whether insert() would find it.
  bool contains(const Node* parent, std::span<const text::TokenId> tokens) const;

  // The pages of a node's prefix, first one first.
  static std::vector<std::shared_ptr<model::Page>> pages(const Node* node);

  // Gives up the least recently used leaf whose page no sequence holds. False when there is none.
  bool evict();
  void clear();

  int64_t nodes() const { return static_cast<int64_t>(nodes_.size()); }

  // All nodes, parents before children, and the most recently used branches before others.
  std::vector<const Node*> by_recency() const;

 private:
  const Node* walk(std::span<const text::TokenId> tokens) const;
  const Node* child(const Node* parent, std::span<const text::TokenId> tokens, uint64_t key) const;
  void touch(Node& node);

  Node root_;
  std::unordered_map<uint64_t, std::unique_ptr<Node>> nodes_;  // by key
  std::set<std::pair<uint64_t, Node*>> leaves_;                // by last use
  uint64_t clock_ = 0;
};

}  // namespace zaya::engine
