// Products and attention of any shape, weight format and key/value format: every instruction set that this machine has
// against the reference. The input chooses shapes, formats and a seed; values come from the seed. Bounds are worst
// cases, not deviations: a fuzzer looks for what is rare.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "cpu/isa.h"
#include "ops/cpu/cpu_backend.h"
#include "ops/kv.h"
#include "ops/packed/codec.h"
#include "ops/reference/reference.h"

namespace {

using namespace zaya;
using namespace zaya::ops;

// Bytes of the input one after the other, zeros behind its end.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  int64_t between(int64_t low, int64_t high) {
    const uint64_t value = byte() | static_cast<uint64_t>(byte()) << 8;
    return low + static_cast<int64_t>(value % static_cast<uint64_t>(high - low + 1));
  }

 private:
  uint8_t byte() { return at_ < size_ ? data_[at_++] : uint8_t{0}; }
  const uint8_t* data_;
  size_t size_, at_ = 0;
};

class Values {
 public:
  explicit Values(uint64_t seed) : state_(seed * 2 + 1) {}
  uint32_t bits() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 32);
  }
  float even() { return static_cast<float>(static_cast<int32_t>(bits())) * 0x1p-31f; }  // from −1 to 1
  // Exact in BF16, so that rounding activations changes nothing.
  std::vector<float> halves(int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& v : values) v = std::bit_cast<float>(std::bit_cast<uint32_t>(even()) & 0xffff0000u);
    return values;
  }

 private:
  uint64_t state_;
};

struct Candidate {
  std::string name;
  Activations activations;  // with anything but f32, to BF16 where that is faster
  std::unique_ptr<Backend> backend;
};

// The reference itself, then every instruction set with either kind of activations.
const std::vector<Candidate>& candidates() {
  static const std::vector<Candidate> all = [] {
    std::vector<Candidate> made;
    made.push_back({"reference", Activations::f32, std::make_unique<ReferenceBackend>()});
    for (cpu::Isa isa : cpu::kIsas) {
      if (!cpu::is_supported(isa)) continue;
      for (Activations a : {Activations::f32, Activations::bf16, Activations::int8}) {
        auto backend = std::make_unique<CpuBackend>(2, isa, a);
        std::string name = backend->name();
        made.push_back({std::move(name), a, std::move(backend)});
      }
    }
    return made;
  }();
  return all;
}

void compare(const Candidate& candidate, const char* what, size_t at, double expected, double actual, double bound) {
  if (std::fabs(expected - actual) <= bound) return;  // false for a NaN
  std::fprintf(stderr, "%s by %s: at %zu expected %.9g, got %.9g, bound %.3g\n", what, candidate.name.c_str(), at,
               expected, actual, bound);
  std::abort();
}

// A matrix of any format: random bytes would be NaNs here and there, so values are rounded to the format instead.
struct AnyMatrix {
  std::vector<std::byte> bytes;
  std::vector<float> row_scale;
  Matrix matrix;

  AnyMatrix(Values& values, WeightType type, int64_t rows, int64_t cols) : row_scale(static_cast<size_t>(rows)) {
    std::vector<float> dense(static_cast<size_t>(rows * cols));
    for (float& v : dense) v = values.even();
    for (float& v : row_scale) v = values.even();
    if (is_packed(type)) {
      bytes.resize(static_cast<size_t>(packed_bytes(type, rows, cols)));
      for (int64_t r = 0; r < rows; r += kBlockRows) {
        pack_block(type, dense.data() + r * cols, std::min(kBlockRows, rows - r), cols, nullptr,
                   bytes.data() + r / kBlockRows * block_bytes(type, cols), row_scale.data() + r);
      }
    } else {
      const size_t size = weight_size(type);
      bytes.resize(dense.size() * size);
      for (size_t i = 0; i < dense.size(); ++i) {
        uint32_t bits = std::bit_cast<uint32_t>(dense[i]);
        if (type == WeightType::bf16) bits >>= 16;
        if (type == WeightType::f16) bits = values.bits() & 0xbbffu;    // below 1 and finite
        if (type == WeightType::f8_e4m3) bits = values.bits() & 0xbfu;  // below 2 and finite
        std::memcpy(bytes.data() + i * size, &bits, size);
      }
    }
    matrix = {bytes.data(), type, rows, cols, row_scale.data()};
  }
};

void products(Input& input) {
  constexpr WeightType kTypes[] = {WeightType::f32, WeightType::bf16, WeightType::f16, WeightType::f8_e4m3,
                                   WeightType::q4,  WeightType::q8,   WeightType::b16};
  const WeightType type = kTypes[input.between(0, 6)];
  const int64_t rows = input.between(1, 300), cols = input.between(1, 600), n = input.between(1, 40);
  const bool with_bias = input.between(0, 1) == 1;
  const int64_t stride = rows + input.between(0, 5);
  Values values(static_cast<uint64_t>(input.between(0, 65535)));
  const AnyMatrix w(values, type, rows, cols);
  const std::vector<float> x = values.halves(n * cols), bias = values.halves(rows);
  std::vector<float> expected(static_cast<size_t>(n * stride), 7.0f);

  // The reference's own arithmetic, and the sum of the terms' magnitudes, which bounds every error.
  std::vector<double> magnitude(expected.size()), weights(static_cast<size_t>(rows)), inputs(static_cast<size_t>(n));
  std::vector<double> greatest(static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<float> row(static_cast<size_t>(cols));
    for (int64_t c = 0; c < cols; ++c) {
      const float weight = w.matrix.at(r, c);
      row[static_cast<size_t>(c)] = weight;
      weights[static_cast<size_t>(r)] += std::fabs(weight);
      greatest[static_cast<size_t>(r)] = std::max<double>(greatest[static_cast<size_t>(r)], std::fabs(weight));
    }
    for (int64_t i = 0; i < n; ++i) {
      double sum = with_bias ? bias[static_cast<size_t>(r)] : 0.0, terms = std::fabs(sum);
      for (int64_t c = 0; c < cols; ++c) {
        const double term = static_cast<double>(row[static_cast<size_t>(c)]) * x[static_cast<size_t>(i * cols + c)];
        sum += term;
        terms += std::fabs(term);
      }
      expected[static_cast<size_t>(i * stride + r)] = static_cast<float>(sum);
      magnitude[static_cast<size_t>(i * stride + r)] = terms;
    }
  }
  for (int64_t i = 0; i < n * cols; ++i) inputs[static_cast<size_t>(i / cols)] += std::fabs(x[static_cast<size_t>(i)]);
  for (const Candidate& candidate : candidates()) {
    std::vector<float> actual(expected.size(), 7.0f);
    const Projection projection{&w.matrix, with_bias ? bias.data() : nullptr, actual.data(), stride};
    candidate.backend->project({&projection, 1}, x.data(), n);
    // Each of cols additions rounds by 2^−24 of a partial sum; tiles round weights by 2^−9 of each term besides, scales
    // included.
    const double rounding = candidate.activations != Activations::f32 ? 0x1p-8 : 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      double bound = magnitude[i] * (static_cast<double>(cols + 8) * 0x1p-23 + rounding) + 1e-30;
      const auto r = static_cast<int64_t>(i) % stride;
      if (candidate.activations == Activations::int8 && r < rows) {
        // Activations below 1 are off by half a 127th; weights, on tiles, by three quarters of a step. A row's greatest
        // step is at most a 90th of its greatest weight (best_scale in codec.cc stretches one by 1.25).
        bound += weights[static_cast<size_t>(r)] / 254 +
                 inputs[i / static_cast<size_t>(stride)] * greatest[static_cast<size_t>(r)] / 90 * 0.76 * 1.01;
      }
      compare(candidate, weight_type_name(type), i, expected[i], actual[i], bound);
    }
  }
}

void attention(Input& input) {
  const int64_t kv_heads = input.between(1, 3), group = input.between(1, 5);
  const CcaShape shape{.num_heads = kv_heads * group,
                       .num_kv_heads = kv_heads,
                       .head_dim = input.between(1, 9) * (input.between(0, 1) == 1 ? 16 : 4),
                       .sliding_window = input.between(0, 1) == 1 ? input.between(1, 200) : 0};
  const int64_t start = input.between(0, 400), count = input.between(1, 40);
  Values values(static_cast<uint64_t>(input.between(0, 65535)));
  // Scores of at most about one, so that a rounded score changes its weight by little.
  std::vector<float> q = values.halves(count * shape.q_width());
  for (float& v : q) v *= 0.125f;
  constexpr KvType kTypes[] = {KvType::f32, KvType::bf16, KvType::i8};
  const KvType type = kTypes[input.between(0, 2)];
  const int64_t slots = 2 * kPageTokens * kv_heads, slot = kv_slot_bytes(type, shape.head_dim);
  std::vector<std::vector<float>> pages;
  std::vector<float*> pointers;
  for (int64_t p = 0; p * kPageTokens < start + count; ++p) {
    std::vector<float>& page = pages.emplace_back(static_cast<size_t>(slots * slot + 3) / 4);
    for (int64_t i = 0; i < slots; ++i) {
      store_kv(type, values.halves(shape.head_dim).data(), shape.head_dim,
               reinterpret_cast<std::byte*>(page.data()) + i * slot);
    }
  }
  for (std::vector<float>& page : pages) pointers.push_back(page.data());
  const Run run{.count = count, .start = start, .cache = {pointers, 0, kv_heads, shape.head_dim, type}};
  std::vector<float> expected(q.size());
  ReferenceBackend().attend(shape, {&run, 1}, q.data(), expected.data());
  for (const Candidate& candidate : candidates()) {
    std::vector<float> actual(q.size());
    candidate.backend->attend(shape, {&run, 1}, q.data(), actual.data());
    // Values reach 1. With rounding, the softmax' weights are off by 2^−9 each, before they are summed; otherwise a
    // score is off by some dim · 2^−23, a sum by its length · 2^−23.
    const double sums = static_cast<double>(start + count + shape.head_dim) * 0x1p-20;
    const double bound = sums + (candidate.activations != Activations::f32 ? 0x1p-6 : 0);
    for (size_t i = 0; i < q.size(); ++i) compare(candidate, "attend", i, expected[i], actual[i], bound);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 64) return 0;  // longer ones say nothing more
  Input input(data, size);
  if (input.between(0, 2) == 0) {
    attention(input);
  } else {
    products(input);
  }
  return 0;
}
