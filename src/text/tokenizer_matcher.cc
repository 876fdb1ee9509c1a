#include "text/tokenizer_matcher.h"

#include <algorithm>

namespace zaya::text {

bool StringMatcher::add(std::string_view pattern, int32_t value) {
  uint32_t node = 0;
  for (const char c : pattern) {
    const auto byte = static_cast<unsigned char>(c);
    uint32_t next = node == 0 ? root_edges_[byte] : nodes_[node].first_child;
    while (node != 0 && next != 0 && nodes_[next].byte != byte) next = nodes_[next].sibling;
    if (next == 0) {
      next = static_cast<uint32_t>(nodes_.size());
      Node made;
      made.byte = byte;
      made.parent = node;
      made.sibling = nodes_[node].first_child;
      made.depth = nodes_[node].depth + 1;
      nodes_.push_back(made);
      nodes_[node].first_child = next;
      ++nodes_[node].edge_count;
      if (node == 0) root_edges_[byte] = next;
    }
    node = next;
  }
  if (node == 0 || nodes_[node].value >= 0) return false;
  nodes_[node].value = value;
  return true;
}

void StringMatcher::build() {
  edges_.clear();
  edges_.reserve(nodes_.size());
  std::vector<uint32_t> order = {0};  // by depth
  order.reserve(nodes_.size());
  for (size_t i = 0; i < order.size(); ++i) {
    const uint32_t index = order[i];
    const size_t first = edges_.size();
    nodes_[index].first_edge = static_cast<uint32_t>(first);
    for (uint32_t c = nodes_[index].first_child; c != 0; c = nodes_[c].sibling) {
      edges_.push_back({nodes_[c].byte, c});
      order.push_back(c);
    }
    std::sort(edges_.begin() + static_cast<std::ptrdiff_t>(first), edges_.end(),
              [](const Edge& a, const Edge& b) { return a.byte < b.byte; });
  }
  for (size_t i = 1; i < order.size(); ++i) {
    Node& node = nodes_[order[i]];
    node.fallback = node.parent == 0 ? 0 : step(nodes_[node.parent].fallback, node.byte);
    node.longest_match = node.value >= 0 ? order[i] : nodes_[node.fallback].longest_match;
  }
}

uint32_t StringMatcher::child(uint32_t index, unsigned char byte) const {
  if (index == 0) return root_edges_[byte];
  const Node& node = nodes_[index];
  const Edge* begin = edges_.data() + node.first_edge;
  const Edge* end = begin + node.edge_count;
  const Edge* edge = std::lower_bound(begin, end, byte, [](const Edge& e, unsigned char b) { return e.byte < b; });
  return edge != end && edge->byte == byte ? edge->target : 0;
}

uint32_t StringMatcher::step(uint32_t node, unsigned char byte) const {
  for (;;) {
    if (const uint32_t next = child(node, byte)) return next;
    if (node == 0) return 0;
    node = nodes_[node].fallback;
  }
}

std::optional<StringMatcher::Match> StringMatcher::find(std::string_view text, size_t from) const {
  std::optional<Match> best;
  uint32_t state = 0;
  for (size_t i = from; i < text.size(); ++i) {
    if (state == 0) {
      while (i < text.size() && root_edges_[static_cast<unsigned char>(text[i])] == 0) ++i;
      if (i == text.size()) break;
    }
    state = step(state, static_cast<unsigned char>(text[i]));
    if (const uint32_t found = nodes_[state].longest_match) {
      const size_t start = i + 1 - nodes_[found].depth;
      if (!best || start <= best->start) best = Match{start, i + 1, nodes_[found].value};
    }
    // Every pattern still under way begins at or after this place; once that lies behind the best match's start,
    // nothing can replace it.
    const size_t earliest = i + 1 - nodes_[state].depth;
    if (best && earliest > best->start) break;
  }
  return best;
}

}  // namespace zaya::text
