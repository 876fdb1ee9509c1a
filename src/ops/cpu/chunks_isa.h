// How the vectors' tile kernels go through weights: two blocks of rows at a time, some superblocks of columns of them
// (which are expanded), and for these 16 tokens after the other. Included only by *_isa.cc that are compiled for
// AVX-512.
#pragma once

#include <algorithm>
#include <type_traits>

#include "ops/cpu/avx512_isa.h"
#include "ops/cpu/tiles.h"
#include "ops/packed/layout.h"

namespace zaya::ops {
namespace {

constexpr int64_t kBlocks = 2;                            // expanded together
constexpr int64_t kBlockSums = kTileTokens * kBlockRows;  // floats of one block's sums

// The columns of two blocks that are expanded together, and a group of tokens that meets them.
struct Chunk {
  int64_t row, super, count;    // the first block's first row, superblocks
  const std::byte* w[kBlocks];  // the last of an odd number of blocks is taken twice
  Prefetch& ahead;              // what follows in memory: more columns of these blocks, or the next two blocks
  bool first, last;             // of its rows
  float* sums = nullptr;        // [kBlocks][kBlockSums], of the tokens from `token` on
  int64_t token = 0;
};

// expand(chunk) for each chunk, then multiply(chunk, tokens) for each group of up to 16 of the n ≤ kTileTokens tokens
// from `token` on, which takes `turns` turns of asking for memory. sums: kBlocks · kBlockSums floats.
template <WeightType type, int64_t Supers, class Product, class Expand, class Multiply>
inline void for_each_chunk(const Product& p, int64_t token, int64_t n, int64_t turns, float* sums, const Expand& expand,
                           const Multiply& multiply) {
  constexpr int64_t kBytes = superblock_bytes(type);
  const int64_t supers = superblocks_of(p.cols), stride = block_bytes(type, p.cols);
  for (int64_t row = 0; row < p.rows; row += kBlocks * kBlockRows) {
    const std::byte* w = p.w + row / kBlockRows * stride;
    const int64_t second = row + kBlockRows < p.rows ? stride : 0;
    for (int64_t s = 0; s < supers; s += Supers, w += Supers * kBytes) {
      const int64_t count = std::min(supers - s, Supers);
      const bool last = s + count == supers;
      const std::byte* next = w + (last ? kBlocks * stride - s * kBytes : count * kBytes);
      const int64_t next_bytes = std::min(last ? supers : supers - s - count, Supers) * kBytes;
      Prefetch ahead(next, next + stride, next_bytes, tile_groups(n) * count * turns);
      Chunk chunk{row, s, count, {w, w + second}, ahead, s == 0, last};
      expand(chunk);
      for (int64_t t = 0; t < n; t += kTileRows) {
        chunk.sums = sums + t * kBlockRows;
        chunk.token = token + t;
        multiply(chunk, std::min(n - t, kTileRows));
      }
    }
  }
}

// body(Tokens, Blocks, block) for `count` tokens and both blocks: registers for as many tokens as there are, or a few
// more. Very few take both blocks at once: a sum is some cycles old before the next product can add to it.
template <class Body>
inline void by_tokens(int64_t count, const Body& body) {
  using std::integral_constant;
  if (count <= 4) return body(integral_constant<int, 4>(), integral_constant<int, 2>(), int64_t{0});
  for (int64_t b = 0; b < kBlocks; ++b) {
    if (count <= 8) {
      body(integral_constant<int, 8>(), integral_constant<int, 1>(), b);
    } else if (count <= 12) {
      body(integral_constant<int, 12>(), integral_constant<int, 1>(), b);
    } else {
      body(integral_constant<int, 16>(), integral_constant<int, 1>(), b);
    }
  }
}

// total(b, t) of Blocks blocks from `block` on and Tokens tokens, of which `count` are there: to the sums, or, after
// the last chunk, to the outputs.
template <int Tokens, int Blocks, class Product, class Total>
inline __attribute__((always_inline)) void finish(const Product& p, const Chunk& chunk, int64_t block, int64_t count,
                                                  const Total& total) {
#pragma GCC unroll 2
  for (int b = 0; b < Blocks; ++b) {
    if (!chunk.last) {
#pragma GCC unroll 16
      for (int t = 0; t < Tokens; ++t) {
        _mm512_store_ps(chunk.sums + (block + b) * kBlockSums + t * kBlockRows, total(b, t));
      }
      continue;
    }
    const int64_t row = chunk.row + (block + b) * kBlockRows;
    if (row >= p.rows) break;
    const OutputRows outputs(p, row);
#pragma GCC unroll 16
    for (int t = 0; t < Tokens; ++t) {
      if (t >= count) break;
      outputs.store(chunk.token + t, total(b, t));
    }
  }
}

// What the chunks before made of it.
inline __attribute__((always_inline)) __m512 sum_before(const Chunk& chunk, int64_t block, int t) {
  return chunk.first ? _mm512_setzero_ps() : _mm512_load_ps(chunk.sums + block * kBlockSums + t * kBlockRows);
}

}  // namespace
}  // namespace zaya::ops
