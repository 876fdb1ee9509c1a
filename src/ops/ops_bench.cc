// What the products reach, one thread, from memory that no cache holds: bytes and operations per second beside the
// counters that `zaya bench` prints for the whole machine. `./dev bench --benchmark_filter=…`
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "cpu/pages.h"
#include "ops/cpu/codes.h"
#include "ops/cpu/int8_tiles.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/tiles.h"
#include "ops/packed/layout.h"

namespace zaya::ops {
namespace {

// Random codes with moderate scales; several matrices, so that each product finds its weights in memory.
struct Weights {
  WeightType type;
  int64_t rows, cols, bytes, count;
  cpu::Pages pages;
  std::vector<float> row_scale;

  Weights(WeightType t, int64_t r, int64_t c, int64_t total)
      : type(t), rows(r), cols(c), bytes(packed_bytes(t, r, c)), count(std::max<int64_t>(1, total / bytes)) {
    pages = cpu::Pages::allocate(static_cast<size_t>(bytes * count)).value();
    uint64_t state = 1;
    for (int64_t i = 0; i < bytes * count; i += 8) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      const uint64_t word = (state & 0x7f7f7f7f7f7f7f7fu) | (t == WeightType::b16 ? 0x3c003c003c003c00u : 0);
      std::memcpy(pages.data() + i, &word, 8);
    }
    row_scale.assign(static_cast<size_t>(rows), 1e-3f);
  }
  const std::byte* matrix(int64_t i) const { return pages.data() + i % count * bytes; }
};

void set_counters(benchmark::State& state, const Weights& w, int64_t n) {
  state.SetLabel(weight_type_name(w.type));
  state.counters["FLOP/s"] = benchmark::Counter(static_cast<double>(2 * w.rows * w.cols * n * state.iterations()),
                                                benchmark::Counter::kIsRate);
  state.SetBytesProcessed(state.iterations() * w.bytes);
}

void vector_product(benchmark::State& state) {
  const int64_t rows = state.range(1), cols = state.range(2), n = state.range(3);
  const Weights w(static_cast<WeightType>(state.range(0)), rows, cols, 256 << 20);
  std::vector<float> x(static_cast<size_t>(n * cols), 0.5f), out(static_cast<size_t>(n * rows));
  const Kernels& kernels = kernels_for(cpu::best_isa());
  cpu::Buffer<float> scratch;
  int64_t i = 0;
  for (auto _ : state) {
    kernels.packed_matmul(w.type, w.matrix(i++), rows, cols, w.row_scale.data(), nullptr, x.data(), n, out.data(), rows,
                          scratch.get(packed_scratch(cols)));
  }
  set_counters(state, w, n);
}

void code_product(benchmark::State& state) {
  const CodeKernels* codes = code_kernels(cpu::best_isa());
  if (codes == nullptr) return state.SkipWithError("no codes here");
  const int64_t rows = state.range(1), cols = state.range(2), n = state.range(3), across = superblocks_of(cols);
  const CodeBits bits = state.range(4) == 8 ? CodeBits::eight : CodeBits::fifteen;
  const Weights w(static_cast<WeightType>(state.range(0)), rows, cols, 256 << 20);
  const std::vector<float> x(static_cast<size_t>(n * cols), 0.5f);
  cpu::Buffer<CodeColumns> input;
  cpu::Buffer<float> out;
  codes->quantize(bits, w.type, x.data(), n, cols, cols, input.get(n * across), across);
  int64_t i = 0;
  for (auto _ : state) {
    codes->matmul(bits, w.type, w.matrix(i++), rows, cols, w.row_scale.data(), nullptr, input.get(n * across), across,
                  n, out.get(n * rows), rows);
  }
  set_counters(state, w, n);
}

void tile_product(benchmark::State& state) {
  const TileKernels* tiles = tile_kernels(cpu::best_isa());
  if (tiles == nullptr) return state.SkipWithError("no tiles here");
  const int64_t rows = state.range(1), cols = state.range(2), n = state.range(3);
  const Weights w(static_cast<WeightType>(state.range(0)), rows, cols, 256 << 20);
  cpu::Buffer<uint16_t> x;
  const Bf16Tiles input{x.get(bf16_elements(n, cols)), tiles_across(cols)};
  std::fill_n(input.data, bf16_elements(n, cols), uint16_t{0x3f00});
  cpu::Buffer<float> out, scratch;
  int64_t i = 0;
  for (auto _ : state) {
    tiles->matmul(w.type, w.matrix(i++), rows, cols, w.row_scale.data(), nullptr, input, n, out.get(n * rows), rows,
                  scratch.get(tile_scratch()));
  }
  set_counters(state, w, n);
}

void int8_tile_product(benchmark::State& state) {
  const Int8TileKernels* bytes = int8_tile_kernels(cpu::best_isa());
  if (bytes == nullptr) return state.SkipWithError("no tiles here");
  const int64_t rows = state.range(1), cols = state.range(2), n = state.range(3);
  const Weights w(static_cast<WeightType>(state.range(0)), rows, cols, 256 << 20);
  const std::vector<float> x(static_cast<size_t>(n * cols), 0.5f);
  cpu::Buffer<std::byte> rounded;
  const Int8Tiles input{rounded.get(int8_tile_bytes(n, cols)), int8_chunks(cols)};
  bytes->quantize(w.type, x.data(), n, cols, cols, input, 0, 0);
  cpu::Buffer<float> out, scratch;
  int64_t i = 0;
  for (auto _ : state) {
    bytes->matmul(w.type, w.matrix(i++), rows, cols, w.row_scale.data(), nullptr, input, n, out.get(n * rows), rows,
                  scratch.get(int8_tile_scratch()));
  }
  set_counters(state, w, n);
}

void tile_peak(benchmark::State& state) {
  const TileKernels* tiles = tile_kernels(cpu::best_isa());
  if (tiles == nullptr) return state.SkipWithError("no tiles here");
  double operations = 0;
  for (auto _ : state) operations += tiles->busy(10000);
  state.counters["FLOP/s"] = benchmark::Counter(operations, benchmark::Counter::kIsRate);
}

void vector_peak(benchmark::State& state) {
  double operations = 0;
  for (auto _ : state) operations += kernels_for(cpu::best_isa()).busy(10000);
  state.counters["FLOP/s"] = benchmark::Counter(operations, benchmark::Counter::kIsRate);
}

const std::vector<int64_t> kTypes = {static_cast<int64_t>(WeightType::q4), static_cast<int64_t>(WeightType::q8),
                                     static_cast<int64_t>(WeightType::b16)};

BENCHMARK(vector_peak);
BENCHMARK(tile_peak);
BENCHMARK(vector_product)
    ->ArgsProduct({kTypes, {2048}, {2048}, {1, 2, 4, 12}})
    ->ArgNames({"type", "rows", "cols", "n"});
BENCHMARK(code_product)
    ->ArgsProduct({{kTypes[0], kTypes[1]}, {2048}, {2048}, {1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32}, {8, 15}})
    ->ArgNames({"type", "rows", "cols", "n", "bits"});
BENCHMARK(tile_product)
    ->ArgsProduct({kTypes, {2048}, {2048}, {2, 4, 8, 16, 24, 32, 128, 512}})
    ->ArgNames({"type", "rows", "cols", "n"});
BENCHMARK(int8_tile_product)
    ->ArgsProduct({{kTypes[0], kTypes[1]}, {2048}, {2048}, {2, 4, 8, 16, 24, 32, 128, 512}})
    ->ArgNames({"type", "rows", "cols", "n"});

}  // namespace
}  // namespace zaya::ops
