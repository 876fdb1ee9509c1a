// Who reads whom: the draws of Markovian RSA, and the order of tails that lets prompts share their beginnings.
#pragma once

#include <cstdint>
#include <vector>

namespace zaya::reasoning {

// The n-th 64-bit number of a stream that `seed` and up to three coordinates name. Counter-based: a candidate's draw
// and seed depend on its place in the run alone, not on what was drawn before it, so a resumed run draws the same.
uint64_t mix(uint64_t seed, uint64_t a, uint64_t b = 0, uint64_t c = 0);

// For each of `count` candidates of round `round`: `size` of `population` indices, uniformly, without replacement,
// independently per candidate, in the order drawn. size ≤ population.
std::vector<std::vector<int64_t>> draw_subsets(uint64_t seed, int64_t round, int64_t count, int64_t population,
                                               int64_t size);

// Reorders each subset (subsets are sets: any order means the same) so that many begin alike: the index that most
// subsets hold goes first in all of those, and so on within them. Greedy: the best trie is a hard problem.
// Returns the subsets' positions in an order in which neighbours share the longest prefixes.
std::vector<int64_t> order_for_sharing(std::vector<std::vector<int64_t>>& subsets);

// Tails that must be computed when equal prefixes are computed once: the nodes of the subsets' trie.
int64_t distinct_prefix_tails(const std::vector<std::vector<int64_t>>& subsets);

}  // namespace zaya::reasoning
