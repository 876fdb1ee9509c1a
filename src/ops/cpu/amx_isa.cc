// Compiled with AMX, AVX512_BF16 and AVX-512 enabled; reached only where all of them are there.
#include <immintrin.h>

#include <algorithm>
#include <type_traits>

#include "ops/cpu/amx_tiles_isa.h"
#include "ops/cpu/bf16_tiles_isa.h"
#include "ops/cpu/tile_attention_isa.h"

namespace zaya::ops::amx {
namespace {

constexpr int64_t kTileBytes = kTileElements * 2;

constexpr int64_t kSupers = kTileChunk / kBlockCols;
constexpr int64_t kGroups = kBlockCols / kGroupCols;
constexpr int64_t kExpanded = kTileChunk * kBlockRows * 2;  // bytes of one block

// Up to kTileChunk columns of two blocks as tiles. They are expanded group by group, between the tile products of the
// chunk before: the vector units have nothing else to do then.
template <WeightType type>
class Chunk {
 public:
  // The last of an odd number of blocks is taken twice.
  void start(const Product& p, int64_t row, int64_t super, std::byte* room) {
    const int64_t stride = block_bytes(type, p.cols), supers = superblocks_of(p.cols);
    supers_ = std::min(supers - super, kSupers);
    for (int64_t b = 0; b < 2; ++b) {
      packed_[b] = p.w + (row / kBlockRows + (row + b * kBlockRows < p.rows ? b : 0)) * stride + super * kBytes;
      room_[b] = room + b * kExpanded;
    }
    // What follows in memory order: more columns of these blocks, or the next two blocks.
    ahead_ = super + kSupers < supers ? kSupers * kBytes : 2 * stride - super * kBytes;
    super_ = block_ = group_ = 0;
    locate();
  }
  int64_t groups() const { return supers_ * 2 * kGroups; }
  int64_t tiles() const { return supers_ * 2; }
  const std::byte* tile(int b, int64_t k) const {
    if constexpr (type == WeightType::b16) return packed_[b] + k * kTileBytes;  // lies as tiles want it
    return room_[b] + k * kTileBytes;
  }

  inline __attribute__((always_inline)) void expand(int64_t count) {
    for (; count > 0 && super_ < supers_; --count) {
      // A quarter of the superblock's lines, of the chunk after.
      constexpr int64_t kQuarter = kBytes / kGroups, kLines = kQuarter / 64 + 1;
      for (int64_t i = 0; i < kLines; ++i) {
        _mm_prefetch(reinterpret_cast<const char*>(w_ + ahead_ + group_ * kQuarter + i * 64), _MM_HINT_T0);
      }
      if constexpr (type != WeightType::b16) expand_group<type>(w_, group_, out_);
      if (++group_ < kGroups) continue;
      group_ = 0;
      block_ ^= 1;
      if (block_ == 0) ++super_;
      locate();
    }
  }
  void expand_rest() {
    expand(groups());
    memory_barrier();
  }

 private:
  static constexpr int64_t kBytes = superblock_bytes(type);

  void locate() {
    w_ = packed_[block_] + super_ * kBytes;
    out_ = room_[block_] + super_ * 2 * kTileBytes;
  }

  const std::byte* packed_[2];
  std::byte* room_[2];
  int64_t supers_ = 0, ahead_ = 0;
  // The group that is expanded next.
  int64_t super_ = 0;
  int block_ = 0, group_ = 0;
  const std::byte* w_ = nullptr;
  std::byte* out_ = nullptr;
};

template <int Halves>
inline void start_sums(const float* sums) {
  if (sums == nullptr) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (Halves > 1) _tile_zero(2);
    if constexpr (Halves > 1) _tile_zero(3);
  } else {
    _tile_loadd(0, sums, 64);
    _tile_loadd(1, sums + kSumTile, 64);
    if constexpr (Halves > 1) _tile_loadd(2, sums + 2 * kSumTile, 64);
    if constexpr (Halves > 1) _tile_loadd(3, sums + 3 * kSumTile, 64);
  }
}

template <int Halves>
inline void store_sums(float* sums) {
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + kSumTile, 64);
  if constexpr (Halves > 1) _tile_stored(2, sums + 2 * kSumTile, 64);
  if constexpr (Halves > 1) _tile_stored(3, sums + 3 * kSumTile, 64);
  memory_barrier();
}

// Tiles 0–3 are sums, 4–5 activations [token half], 6–7 weights [block]. Adds the products of the chunk's columns and
// expands `groups` groups of the next chunk beside each.
template <int Halves, WeightType type>
inline __attribute__((always_inline)) void multiply(Bf16Tiles x, const Chunk<type>& w, Chunk<type>& next,
                                                    int64_t groups, const float* out, int64_t out_stride) {
  const uint16_t* lower = x.data + x.across * kTileElements;
  memory_barrier();
  for (int64_t k = 0; k < w.tiles(); ++k) {
    // All loads before the products: in between them, each load waited for the product before it. Activations stream
    // past the first-level cache, in which the weights stay.
    _tile_stream_loadd(4, x.data + k * kTileElements, 64);
    _tile_loadd(6, w.tile(0, k), 64);
    _tile_loadd(7, w.tile(1, k), 64);
    if constexpr (Halves > 1) _tile_stream_loadd(5, lower + k * kTileElements, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (Halves > 1) _tile_dpbf16ps(2, 5, 6);
    if constexpr (Halves > 1) _tile_dpbf16ps(3, 5, 7);
    if (out != nullptr) {
      for (int64_t i = k * 4; i < k * 4 + 4; ++i) {
        __builtin_prefetch(out + i % 32 * out_stride, 1);
        __builtin_prefetch(out + i % 32 * out_stride + 16, 1);
      }
    }
    next.expand(groups);
  }
  memory_barrier();
}

// Takes sums, scaled, to the outputs of two blocks from `row` on of n ≤ 32 tokens from `token` on.
inline void finish(const Product& p, const float* sums, int64_t row, int64_t token, int64_t n) {
  for (int b = 0; b < 2; ++b) {
    const int64_t first = row + b * kBlockRows;
    if (first >= p.rows) break;
    const OutputRows outputs(p, first);
    for (int64_t t = 0; t < n; ++t) {
      outputs.store(token + t, _mm512_load_ps(sums + (t / kTileRows * 2 + b) * kSumTile + t % kTileRows * kBlockRows));
    }
  }
}

// n ≤ kTileTokens tokens from `token` on: two blocks of weights at a time, chunk by chunk.
template <WeightType type>
void tokens(const Product& p, int64_t token, int64_t n, float* scratch) {
  const int64_t supers = superblocks_of(p.cols);
  auto* room = reinterpret_cast<std::byte*>(scratch + kTileTokens / 32 * kSums);
  Chunk<type> chunks[2];
  int now = 0;
  chunks[now].start(p, 0, 0, room);
  chunks[now].expand_rest();
  for (int64_t row = 0; row < p.rows; row += 2 * kBlockRows) {
    for (int64_t s = 0; s < supers; s += kSupers, now ^= 1) {
      const Chunk<type>& chunk = chunks[now];
      Chunk<type>& next = chunks[now ^ 1];
      const bool last = s + kSupers >= supers;
      // After the last chunk of all the same again, unused.
      const bool over = last && row + 2 * kBlockRows >= p.rows;
      next.start(p, last && !over ? row + 2 * kBlockRows : row, last ? 0 : s + kSupers,
                 room + (now ^ 1) * 2 * kExpanded);
      const int64_t steps = (n + 31) / 32 * chunk.tiles(), groups = over ? 0 : (next.groups() + steps - 1) / steps;
      for (int64_t t = 0; t < n; t += 32) {
        const Bf16Tiles x{p.x.data + ((token + t) / kTileRows * p.x.across + s * 2) * kTileElements, p.x.across};
        const auto pass = [&](auto halves) {
          float* sums = scratch + t / 32 * kSums;
          if (s == 0 || n > 32) start_sums<halves()>(s == 0 ? nullptr : sums);
          multiply<halves()>(x, chunk, next, groups, last ? p.out + (token + t) * p.out_stride + row : nullptr,
                             p.out_stride);
          if (last || n > 32) store_sums<halves()>(sums);
          if (last) finish(p, sums, row, token + t, std::min<int64_t>(n - t, 32));
        };
        n - t > kTileRows ? pass(std::integral_constant<int, 2>()) : pass(std::integral_constant<int, 1>());
      }
      if (!over) next.expand_rest();
    }
  }
}

void matmul(WeightType type, const std::byte* w, int64_t rows, int64_t cols, const float* row_scale, const float* bias,
            Bf16Tiles x, int64_t n, float* out, int64_t out_stride, float* scratch) {
  const Product p{w, rows, cols, row_scale, bias, x, out, out_stride};
  configure_tiles();
  const int64_t part = tile_part(n, 2 * kTileRows);
  for (int64_t token = 0; token < n; token += part) {
    const int64_t count = std::min(n - token, part);
    if (type == WeightType::q4) tokens<WeightType::q4>(p, token, count, scratch);
    if (type == WeightType::q8) tokens<WeightType::q8>(p, token, count, scratch);
    if (type == WeightType::b16) tokens<WeightType::b16>(p, token, count, scratch);
  }
  _tile_release();
}

double busy(int64_t iterations) {
  return busy_tiles(
      iterations, kTileCols, []() __attribute__((always_inline)) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      });
}

}  // namespace

extern const TileKernels kernels;
const TileKernels kernels = {.name = "amx bf16 tiles",
                             .peak = "bf16 tiles (amx)",
                             .fewest_rows = 8,
                             .fewest_rows_beside_codes = 7,
                             .to_bf16 = to_bf16,
                             .gather_bf16 = gather_bf16,
                             .matmul = matmul,
                             .pack_values = pack_values,
                             .attend = attend,
                             .scores = scores,
                             .weighted_values = weighted_values,
                             .busy = busy};

}  // namespace zaya::ops::amx
