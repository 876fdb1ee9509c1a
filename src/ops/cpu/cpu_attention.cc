// Attention of the cpu backend: on tiles for several tokens, else in pieces of the context that the workers share.
#include <algorithm>
#include <array>
#include <cmath>

#include "ops/cpu/cpu_backend.h"

namespace zaya::ops {
namespace {

// Positions of one piece, from multiples of it on, so that a token's pieces (and its bits) do not depend on the step.
// A whole number of pages; 512 keys and values in BF16 are 256 KB, some 20 µs of reading.
constexpr int64_t kPiece = 512;
static_assert(kPiece % kPageTokens == 0);

// Floats of pieces' results that are kept at a time (16 MB).
constexpr int64_t kMostPartials = int64_t{4} << 20;

}  // namespace

void CpuBackend::attend(const CcaShape& s, std::span<const Run> runs, const float* q, float* out) {
  const int64_t dim = s.head_dim, group = s.num_heads / s.num_kv_heads;
  const int64_t partial_floats = group * (dim + 2);  // sums [group, dim], then each head's greatest score and total
  pieces_.clear();
  items_.clear();
  int64_t work = 0;
  const auto flush = [&] {
    attend_pieces(s, q, out, work);
    pieces_.clear();
    items_.clear();
    work = 0;
  };
  for (const Run& run : runs) {
    if (amx_ != nullptr && run.count >= kAmxFewestRows && dim % kTileCols == 0) {
      attend_on_tiles(s, run, q, out);
      continue;
    }
    // One item is one token and one KV head with its query heads; all read the same keys.
    for (int64_t item = 0; item < run.count * s.num_kv_heads; ++item) {
      const int64_t t = item / s.num_kv_heads, kv_head = item % s.num_kv_heads, position = run.start + t;
      const int64_t first = s.sliding_window > 0 ? std::max<int64_t>(0, position - s.sliding_window + 1) : 0;
      const int64_t offset = (run.first_row + t) * s.q_width() + kv_head * group * dim;
      items_.push_back({.offset = offset, .first = static_cast<int64_t>(pieces_.size())});
      for (int64_t begin = first; begin <= position; begin = (begin / kPiece + 1) * kPiece) {
        const int64_t end = std::min(position + 1, (begin / kPiece + 1) * kPiece);
        pieces_.push_back({.cache = &run.cache, .kv_head = kv_head, .begin = begin, .end = end, .offset = offset});
      }
      items_.back().count = static_cast<int64_t>(pieces_.size()) - items_.back().first;
      work += (position + 1 - first) * dim * group * 2;
      if (static_cast<int64_t>(pieces_.size()) * partial_floats > kMostPartials) flush();
    }
  }
  if (!items_.empty()) flush();
}

void CpuBackend::attend_pieces(const CcaShape& s, const float* q, float* out, int64_t work) {
  const int64_t dim = s.head_dim, group = s.num_heads / s.num_kv_heads, partial_floats = group * (dim + 2);
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  const auto count = static_cast<int64_t>(pieces_.size());
  float* partials = attend_partials_.get(count * partial_floats);
  spread(
      count, work / count,
      [&](int64_t begin, int64_t end, int worker) {
        for (int64_t p = begin; p < end; ++p) {
          const AttendPiece& piece = pieces_[static_cast<size_t>(p)];
          const int64_t positions = piece.end - piece.begin;
          float* tile_scratch = scratch(worker, attend_scratch(dim) + group * kPiece);
          float* weights = tile_scratch + attend_scratch(dim);
          float* sums = partials + p * partial_floats;
          const auto softmax = [&] {
            for (int64_t g = 0; g < group; ++g) {
              const SoftmaxSums found = kernels_.softmax_weights(weights + g * kPiece, positions, scale);
              sums[group * dim + g] = found.greatest;
              sums[group * dim + group + g] = found.total;
            }
          };
          if (amx_ != nullptr && piece.cache->type == KvType::bf16 && dim % kTileCols == 0 && group <= kTileHeads) {
            std::array<const std::byte*, kPiece / kPageTokens> keys, values;
            int64_t pages = 0;
            for (int64_t j = piece.begin / kPageTokens * kPageTokens; j < piece.end; j += kPageTokens, ++pages) {
              keys[static_cast<size_t>(pages)] = piece.cache->key(piece.kv_head, j);
              values[static_cast<size_t>(pages)] = piece.cache->value(piece.kv_head, j);
            }
            const int64_t first = piece.begin % kPageTokens;
            const AttendPiece* after = p + 1 < end ? &pieces_[static_cast<size_t>(p + 1)] : nullptr;
            const std::byte* next = after == nullptr
                                        ? nullptr
                                        : after->cache->key(after->kv_head, after->begin / kPageTokens * kPageTokens);
            amx_->scores(q + piece.offset, group, {keys.data(), first, positions, values[0]}, dim, weights, kPiece,
                         tile_scratch);
            softmax();
            amx_->weighted_values(weights, kPiece, group, {values.data(), first, positions, next}, dim, sums,
                                  tile_scratch);
            continue;
          }
          const auto by_page = [&](const auto& body) {  // body(first position, how many)
            for (int64_t j = piece.begin; j < piece.end;) {
              const int64_t step = std::min((j / kPageTokens + 1) * kPageTokens, piece.end) - j;
              body(j, step);
              j += step;
            }
          };
          by_page([&](int64_t j, int64_t step) {
            kernels_.scores(piece.cache->type, q + piece.offset, group, piece.cache->key(piece.kv_head, j), step, dim,
                            weights + (j - piece.begin), kPiece);
          });
          softmax();
          std::fill_n(sums, group * dim, 0.0f);
          by_page([&](int64_t j, int64_t step) {
            kernels_.weighted_values(piece.cache->type, weights + (j - piece.begin), kPiece, group,
                                     piece.cache->value(piece.kv_head, j), step, dim, sums);
          });
        }
      },
      1);

  // Each item's pieces in their order, brought to one maximum.
  spread(static_cast<int64_t>(items_.size()), partial_floats * count / static_cast<int64_t>(items_.size()),
         [&](int64_t begin, int64_t end, int) {
           for (int64_t i = begin; i < end; ++i) {
             const AttendItem& item = items_[static_cast<size_t>(i)];
             const float* first = partials + item.first * partial_floats;
             for (int64_t g = 0; g < group; ++g) {
               float greatest = first[group * dim + g], total = 0;
               for (int64_t p = 1; p < item.count; ++p) {
                 greatest = std::max(greatest, first[p * partial_floats + group * dim + g]);
               }
               float* result = out + item.offset + g * dim;
               std::fill_n(result, dim, 0.0f);
               for (int64_t p = 0; p < item.count; ++p) {
                 const float* partial = first + p * partial_floats;
                 const float factor = std::exp(partial[group * dim + g] - greatest);
                 total += factor * partial[group * dim + group + g];
                 for (int64_t d = 0; d < dim; ++d) result[d] += factor * partial[g * dim + d];
               }
               const float inverse = 1.0f / total;
               for (int64_t d = 0; d < dim; ++d) result[d] *= inverse;
             }
           }
         });
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
        amx_->to_bf16(rows, count, dim, dim, keys_of(kv_head), at, 0);
        read(run.cache.value(kv_head, first + at));
      }
      amx_->pack_values(rows, count, dim, values_of(kv_head), at);
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
      amx_->attend(work, scratch(worker, attend_scratch(dim)));
    }
  };
  team_.parallel_for(tiles * s.num_kv_heads, 1, tile);
}

}  // namespace zaya::ops
