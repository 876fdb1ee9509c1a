// Finds many fixed strings in a text: an Aho-Corasick automaton with leftmost-longest, non-overlapping matches.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace zaya::text {

class StringMatcher {
 public:
  struct Match {
    size_t start;
    size_t end;
    int32_t value;
  };

  // Adds a non-empty pattern. False when it is there already. Call build() once all are in.
  bool add(std::string_view pattern, int32_t value);
  void build();

  bool empty() const { return nodes_.size() == 1; }

  // The first match in text[from, …): of those that start leftmost the longest. Where `from` stands, no pattern begins
  // earlier.
  std::optional<Match> find(std::string_view text, size_t from) const;

 private:
  struct Node {
    uint32_t first_edge = 0;  // into edges_, once built
    uint16_t edge_count = 0;
    unsigned char byte = 0;  // on the edge from the parent
    uint32_t parent = 0;
    uint32_t first_child = 0;  // while building: children are linked through `sibling`; 0 is none
    uint32_t sibling = 0;
    uint32_t depth = 0;
    uint32_t fallback = 0;       // longest proper suffix that is a prefix of some pattern
    uint32_t longest_match = 0;  // longest suffix (or the node itself) that is a whole pattern; 0: none
    int32_t value = -1;          // of the pattern that ends here
  };
  struct Edge {
    unsigned char byte;
    uint32_t target;
  };

  uint32_t child(uint32_t node, unsigned char byte) const;
  uint32_t step(uint32_t node, unsigned char byte) const;

  std::vector<Node> nodes_ = std::vector<Node>(1);  // 0 is the root
  std::vector<Edge> edges_;                         // of one node together, by byte
  std::array<uint32_t, 256> root_edges_{};          // 0: no pattern starts with that byte
};

}  // namespace zaya::text
