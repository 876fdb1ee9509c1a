// Attention of the cpu backend: on tiles for several tokens, else in pieces of the context that the workers share.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ops/cpu/cpu_backend.h"

namespace zaya::ops {
namespace {

// Positions of one piece, from multiples of it on, so that a token's pieces (and its bits) do not depend on the step.
// A whole number of pages; 512 keys and values in BF16 are 256 KB, some 20 µs of reading.
constexpr int64_t kPiece = 512;
static_assert(kPiece % kPageTokens == 0);
// From a row of a piece's weights to the next one; rows of kPiece would share a few sets of the first-level cache.
constexpr int64_t kStride = kPiece + 16;

// Positions of a single token that are read at a time, while as many are asked for.
constexpr int64_t kAskTokens = 16;
static_assert(kPageTokens % kAskTokens == 0);

// Tokens of a prompt that go through a piece together, page by page, so that a page comes to the first-level cache once
// for all of them.
constexpr int64_t kAttendTokens = 4;

// Floats of pieces' results that are kept at a time (16 MB).
constexpr int64_t kMostPartials = int64_t{4} << 20;

}  // namespace

void CpuBackend::attend(const CcaShape& s, std::span<const Run> runs, const float* q, float* out) {
  const int64_t dim = s.head_dim, group = s.num_heads / s.num_kv_heads;
  pieces_.clear();
  items_.clear();
  int64_t work = 0, partials = 0;
  const auto flush = [&] {
    attend_pieces(s, q, out, work, partials);
    pieces_.clear();
    items_.clear();
    work = partials = 0;
  };
  for (const Run& run : runs) {
    if (tiles_ != nullptr && run.count >= tiles_->fewest_rows && dim % kTileCols == 0) {
      attend_on_tiles(s, run, q, out);
      continue;
    }
    const int64_t most = piece_on_tiles(s, run.cache) ? 1 : kAttendTokens;
    for (int64_t t = 0; t < run.count; t += most) {
      for (int64_t kv_head = 0; kv_head < s.num_kv_heads; ++kv_head) {
        AttendItem item{.cache = &run.cache,
                        .kv_head = kv_head,
                        .position = run.start + t,
                        .tokens = std::min(most, run.count - t),
                        .offset = (run.first_row + t) * s.q_width() + kv_head * group * dim,
                        .partial = partials};
        const int64_t end = item.position + item.tokens;
        for (int64_t piece = item.first_seen(0, s) / kPiece; piece * kPiece < end; ++piece) {
          pieces_.push_back({.item = items_.size(), .first = piece * kPiece, .partial = partials});
          partials += item.tokens;
          ++item.pieces;
        }
        work += (end - item.first_seen(0, s)) * item.tokens * dim * group * 2;
        items_.push_back(item);
        if (partials * group * (dim + 2) > kMostPartials) flush();
      }
    }
  }
  if (!items_.empty()) flush();
}

bool CpuBackend::piece_on_tiles(const CcaShape& s, const LayerCache& cache) const {
  return tiles_ != nullptr && cache.type == KvType::bf16 && s.head_dim % kTileCols == 0 &&
         s.num_heads / s.num_kv_heads <= kTileHeads;
}

void CpuBackend::attend_pieces(const CcaShape& s, const float* q, float* out, int64_t work, int64_t partial_count) {
  const int64_t dim = s.head_dim, group = s.num_heads / s.num_kv_heads;
  const int64_t partial_floats = group * (dim + 2);
  const auto count = static_cast<int64_t>(pieces_.size());
  float* partials = attend_partials_.get(partial_count * partial_floats);
  spread(
      count, work / count,
      [&](int64_t begin, int64_t end, int worker) {
        for (int64_t p = begin; p < end; ++p) {
          const AttendPiece& piece = pieces_[static_cast<size_t>(p)];
          float* to = partials + piece.partial * partial_floats;
          if (piece_on_tiles(s, *items_[piece.item].cache)) {
            attend_piece_on_tiles(s, piece, p + 1 < end ? &pieces_[static_cast<size_t>(p + 1)] : nullptr, q, to,
                                  worker);
          } else {
            attend_piece(s, piece, q, to, worker);
          }
        }
      },
      1);

  // Each token's pieces in their order, brought to one maximum.
  spread(static_cast<int64_t>(items_.size()), partial_floats * partial_count / static_cast<int64_t>(items_.size()),
         [&](int64_t begin, int64_t end, int) {
           for (int64_t i = begin; i < end; ++i) {
             const AttendItem& item = items_[static_cast<size_t>(i)];
             const int64_t rows = item.tokens * group, step = item.tokens * partial_floats;
             for (int64_t row = 0; row < rows; ++row) {
               const float* first = partials + item.partial * partial_floats;
               float greatest = first[rows * dim + row], total = 0;
               for (int64_t p = 1; p < item.pieces; ++p) {
                 greatest = std::max(greatest, first[p * step + rows * dim + row]);
               }
               float* result = out + item.offset + row / group * s.q_width() + row % group * dim;
               std::fill_n(result, dim, 0.0f);
               for (int64_t p = 0; p < item.pieces; ++p) {
                 const float* partial = first + p * step;
                 const float factor = std::exp(partial[rows * dim + row] - greatest);
                 total += factor * partial[rows * dim + rows + row];
                 for (int64_t d = 0; d < dim; ++d) result[d] += factor * partial[row * dim + d];
               }
               const float inverse = 1.0f / total;
               for (int64_t d = 0; d < dim; ++d) result[d] *= inverse;
             }
           }
         });
}

// Tokens see different positions at both ends of what the piece has for them (the window's begin, their own position);
// in between they go together.
void CpuBackend::attend_piece(const CcaShape& s, const AttendPiece& piece, const float* q, float* sums, int worker) {
  const AttendItem& item = items_[piece.item];
  const LayerCache& cache = *item.cache;
  const int64_t dim = s.head_dim, group = s.num_heads / s.num_kv_heads, rows = item.tokens * group;
  float* weights = scratch(worker, rows * (kStride + dim));  // [rows, kStride]
  float* queries = weights + rows * kStride;                 // [rows, dim]
  std::array<int64_t, kAttendTokens> first{}, last{};        // what each token sees of the piece: [first, last)
  int64_t all_first = piece.first, all_last = piece.first + kPiece;
  for (int64_t t = 0; t < item.tokens; ++t) {
    const auto i = static_cast<size_t>(t);
    last[i] = std::min(item.position + t + 1, piece.first + kPiece);
    first[i] = std::min(std::max(item.first_seen(t, s), piece.first), last[i]);
    all_first = std::max(all_first, first[i]);
    all_last = std::min(all_last, last[i]);
    std::copy_n(q + item.offset + t * s.q_width(), group * dim, queries + t * group * dim);
  }
  all_last = std::max(all_first, all_last);

  // body(row, rows, first position, how many): positions in order, never across a page. Those of a single token by
  // sixteen, so that as many of the page after can be asked for beside them.
  const bool alone = item.tokens == 1;
  const auto by_page = [&](int64_t row, int64_t count, int64_t begin, int64_t end, const auto& body) {
    for (int64_t j = begin; j < end;) {
      const int64_t stop = alone ? (j / kAskTokens + 1) * kAskTokens : (j / kPageTokens + 1) * kPageTokens;
      const int64_t step = std::min(stop, end) - j;
      body(row, count, j, step);
      j += step;
    }
  };
  // Asks for the slots that lie where those from `j` on do, in the page after: of the piece's plane, or the one that is
  // read next. Inlined by force: GCC 12 drops calls of what only prefetches.
  const int64_t slot = kv_slot_bytes(cache.type, dim), seen_end = item.position + item.tokens;
  const auto ask_ahead = [&](int64_t j, int64_t step, const auto& slot_of, const std::byte* next)
      __attribute__((always_inline)) {
    const int64_t ahead = j + kPageTokens;
    const std::byte* at = ahead < std::min(piece.first + kPiece, seen_end) ? slot_of(ahead)
                          : next == nullptr                                ? nullptr
                                                                           : next + j % kPageTokens * slot;
    for (int64_t b = 0; at != nullptr && b < step * slot; b += 64) __builtin_prefetch(at + b, 0, 2);
  };
  const auto by_parts = [&](const auto& body) {
    for (int64_t t = 0; t < item.tokens; ++t) {
      const auto i = static_cast<size_t>(t);
      by_page(t * group, group, first[i], std::min(all_first, last[i]), body);
    }
    by_page(0, rows, all_first, all_last, body);
    for (int64_t t = 0; t < item.tokens; ++t) {
      const auto i = static_cast<size_t>(t);
      by_page(t * group, group, std::max(all_last, first[i]), last[i], body);
    }
  };

  by_parts([&](int64_t row, int64_t count, int64_t j, int64_t step) {
    if (alone) {
      ask_ahead(
          j, step, [&](int64_t k) { return cache.key(item.kv_head, k); }, cache.value(item.kv_head, piece.first));
    }
    kernels_.scores(cache.type, queries + row * dim, count, cache.key(item.kv_head, j), step, dim,
                    weights + row * kStride + j - piece.first, kStride);
  });
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  for (int64_t row = 0; row < rows; ++row) {
    const auto t = static_cast<size_t>(row / group);
    SoftmaxSums found{.greatest = -std::numeric_limits<float>::infinity(), .total = 0};
    if (first[t] < last[t]) {
      found = kernels_.softmax_weights(weights + row * kStride + first[t] - piece.first, last[t] - first[t], scale);
    }
    sums[rows * dim + row] = found.greatest;
    sums[rows * dim + rows + row] = found.total;
  }
  std::fill_n(sums, rows * dim, 0.0f);
  by_parts([&](int64_t row, int64_t count, int64_t j, int64_t step) {
    if (alone) {
      const bool more = piece.first + kPiece < seen_end;  // the next piece's keys
      ask_ahead(
          j, step, [&](int64_t k) { return cache.value(item.kv_head, k); },
          more ? cache.key(item.kv_head, piece.first + kPiece) : nullptr);
    }
    kernels_.weighted_values(cache.type, weights + row * kStride + j - piece.first, kStride, count,
                             cache.value(item.kv_head, j), step, dim, sums + row * dim);
  });
}

void CpuBackend::attend_piece_on_tiles(const CcaShape& s, const AttendPiece& piece, const AttendPiece* after,
                                       const float* q, float* sums, int worker) {
  const AttendItem& item = items_[piece.item];
  const LayerCache& cache = *item.cache;
  const int64_t dim = s.head_dim, group = s.num_heads / s.num_kv_heads;
  const int64_t first = std::max(item.first_seen(0, s), piece.first);
  const int64_t count = std::min(item.position + 1, piece.first + kPiece) - first;
  float* tile_scratch = scratch(worker, attend_scratch(dim) + group * kStride);
  float* weights = tile_scratch + attend_scratch(dim);
  std::array<const std::byte*, kPiece / kPageTokens> keys, values;
  int64_t pages = 0;
  for (int64_t j = first / kPageTokens * kPageTokens; j < first + count; j += kPageTokens, ++pages) {
    keys[static_cast<size_t>(pages)] = cache.key(item.kv_head, j);
    values[static_cast<size_t>(pages)] = cache.value(item.kv_head, j);
  }
  const std::byte* next = nullptr;
  if (after != nullptr) {
    const AttendItem& owner = items_[after->item];
    next = owner.cache->key(owner.kv_head, std::max(owner.first_seen(0, s), after->first) / kPageTokens * kPageTokens);
  }
  tiles_->scores(q + item.offset, group, {keys.data(), first % kPageTokens, count, values[0]}, dim, weights, kStride,
                 tile_scratch);
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  for (int64_t g = 0; g < group; ++g) {
    const SoftmaxSums found = kernels_.softmax_weights(weights + g * kStride, count, scale);
    sums[group * dim + g] = found.greatest;
    sums[group * dim + group + g] = found.total;
  }
  tiles_->weighted_values(weights, kStride, group, {values.data(), first % kPageTokens, count, next}, dim, sums,
                          tile_scratch);
}

void CpuBackend::attend_on_tiles(const CcaShape& s, const Run& run, const float* q, float* out) {
  const int64_t dim = s.head_dim, group = s.num_heads / s.num_kv_heads, context = run.start + run.count;
  const int64_t oldest = s.sliding_window > 0 ? std::max<int64_t>(0, run.start - s.sliding_window + 1) : 0;
  // Packed are the positions that some token sees, from a whole block of keys to a whole block of keys.
  const int64_t first = oldest / kAttendKeys * kAttendKeys;
  const int64_t positions = (context - first + kAttendKeys - 1) / kAttendKeys * kAttendKeys;
  const int64_t key_elements = bf16_elements(positions, dim), value_elements = bf16_elements(dim, positions);
  uint16_t* keys = half_keys_.get(s.num_kv_heads * key_elements);
  uint16_t* values = half_values_.get(s.num_kv_heads * value_elements);
  const auto keys_of = [&](int64_t kv_head) { return Bf16Tiles{keys + kv_head * key_elements, tiles_across(dim)}; };
  const auto values_of = [&](int64_t kv_head) {
    return Bf16Tiles{values + kv_head * value_elements, tiles_across(positions)};
  };

  const int64_t pieces = positions / kTileCols;
  const int64_t slot = kv_slot_bytes(run.cache.type, dim);
  const auto pack = [&](int64_t begin, int64_t end, int worker) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t kv_head = item / pieces, at = item % pieces * kTileCols;  // never across a page
      const int64_t count = std::clamp<int64_t>(context - first - at, 0, kTileCols);
      float* rows = scratch(worker, kTileCols * dim);
      const auto read = [&](const std::byte* slots) {
        for (int64_t i = 0; i < count; ++i) load_kv(run.cache.type, slots + i * slot, dim, rows + i * dim);
      };
      if (count > 0) {
        read(run.cache.key(kv_head, first + at));
        tiles_->to_bf16(rows, count, dim, dim, keys_of(kv_head), at, 0);
        read(run.cache.value(kv_head, first + at));
      }
      tiles_->pack_values(rows, count, dim, values_of(kv_head), at);
    }
  };
  spread(s.num_kv_heads * pieces, kTileCols * dim * 2, pack, 1);

  const int64_t tiles = tile_groups(run.count);
  const auto tile = [&](int64_t begin, int64_t end, int worker) {
    for (int64_t item = begin; item < end; ++item) {
      // The last tokens first: they see most.
      const int64_t t = (tiles - 1 - item / s.num_kv_heads) * kTileRows, kv_head = item % s.num_kv_heads;
      const int64_t offset = (run.first_row + t) * s.q_width() + kv_head * group * dim;
      const AttendTiles work{.dim = dim,
                             .group = group,
                             .tokens = std::min(kTileRows, run.count - t),
                             .position = run.start + t - first,
                             .window = s.sliding_window,
                             .keys = keys_of(kv_head),
                             .values = values_of(kv_head),
                             .q = q + offset,
                             .out = out + offset,
                             .stride = s.q_width()};
      tiles_->attend(work, scratch(worker, attend_scratch(dim)));
    }
  };
  team_.parallel_for(tiles * s.num_kv_heads, 1, tile);
}

}  // namespace zaya::ops
