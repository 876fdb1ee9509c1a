// What only the fast backend has: activations as codes, the head in two stages, long contexts in pieces, stored K/V.
#include "ops/cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include <memory>

#include "ops/backend_test_support.h"
#include "ops/packed/coarse.h"
#include "ops/reference/reference.h"

namespace zaya::ops {
namespace {

class CpuBackendTest : public testing::TestWithParam<cpu::Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > cpu::supported_isa()) GTEST_SKIP() << "this machine has no " << cpu::isa_name(GetParam());
    fast_ = std::make_unique<CpuBackend>(3, GetParam());
    int8_ = std::make_unique<CpuBackend>(3, GetParam(), Activations::int8);
    bf16_ = std::make_unique<CpuBackend>(3, GetParam(), Activations::bf16);
  }
  ReferenceBackend reference_;
  std::unique_ptr<Backend> fast_, int8_, bf16_;
  Random random_{7};
};

INSTANTIATE_TEST_SUITE_P(Isa, CpuBackendTest,
                         testing::Values(cpu::Isa::generic, cpu::Isa::avx2, cpu::Isa::avx512, cpu::Isa::amx),
                         [](const auto& instance) { return cpu::isa_name(instance.param); });

// How activations become codes: the backend that does it, their greatest code, and from how many rows on tiles.
struct Codes {
  Backend* backend;
  int64_t greatest;
  int64_t tile_rows;
};

// Activations that the codes hold exactly: multiples of a power of two, the largest code among each 64 of them. What is
// left is FP32's rounding, on tiles (many rows) that of weights and activations to BF16.
TEST_P(CpuBackendTest, ProjectTakesCodesExactly) {
  for (const Codes& codes : {Codes{int8_.get(), 127, kAmxFewestRowsBeside8Bits},
                             Codes{bf16_.get(), 127 * 128, kAmxFewestRowsBeside15Bits}}) {
    for (WeightType type : {WeightType::q4, WeightType::q8}) {
      for (int64_t rows : {1, 16, 70, 300}) {
        for (int64_t cols : {1, 63, 64, 100, 530}) {
          const PackedMatrix w(random_, rows, cols, type);
          for (int64_t n : {1, 2, 3, 4, 7, 10, 15, 23, 31}) {
            Floats x(static_cast<size_t>(n * cols));
            for (size_t i = 0; i < x.size(); ++i) {
              const int64_t column = static_cast<int64_t>(i) % cols, all = 2 * codes.greatest + 1;
              const int64_t code = column % kBlockCols == 0 ? codes.greatest : random_.below(all) - codes.greatest;
              x[i] = static_cast<float>(code) * 2 / static_cast<float>(codes.greatest + 1);
            }
            const Floats bias = random_.floats(rows);
            Floats expected(static_cast<size_t>(n * rows)), actual = expected;
            reference_.project(w.matrix, bias.data(), x.data(), n, expected.data(), rows);
            codes.backend->project(w.matrix, bias.data(), x.data(), n, actual.data(), rows);
            const bool tiles = GetParam() == cpu::Isa::amx && n >= codes.tile_rows;
            for (size_t i = 0; i < actual.size(); ++i) {
              // Terms of deviation 1 / √cols each: the sum's rounding, or seven deviations of the weights' and the
              // activations' (2^-8 / √3 each).
              ASSERT_NEAR(expected[i], actual[i], tiles ? 0x1p-6 * 1.7 : 1e-5) << rows << 'x' << cols << " n " << n;
            }
          }
        }
      }
    }
  }
}

// Any activations: each is off by at most half a step.
TEST_P(CpuBackendTest, CodesRoundToNearest) {
  const int64_t rows = 48, cols = 256, n = 5;
  const PackedMatrix w(random_, rows, cols, WeightType::q8);
  const Floats x = random_.floats(n * cols);
  Floats expected(static_cast<size_t>(n * rows)), actual = expected;
  reference_.project(w.matrix, nullptr, x.data(), n, expected.data(), rows);
  for (const Codes& codes : {Codes{int8_.get(), 127, 0}, Codes{bf16_.get(), 127 * 128, 0}}) {
    codes.backend->project(w.matrix, nullptr, x.data(), n, actual.data(), rows);
    // Steps of about 2.7 / the greatest code, a deviation of a √12th of that; weights of length 1: seven deviations.
    const double step = 2.7 / static_cast<double>(codes.greatest);
    for (size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(expected[i], actual[i], 7 * step / 3.46);
  }
}

// A row's codes, and so its result's bits, do not depend on the rows beside it.
TEST_P(CpuBackendTest, CodesOfARowAreItsOwn) {
  const int64_t rows = 100, cols = 300, n = GetParam() == cpu::Isa::amx ? kAmxFewestRowsBeside15Bits - 1 : 15;
  const PackedMatrix w(random_, rows, cols, WeightType::q4);
  const Floats x = random_.floats(n * cols);
  Floats together(static_cast<size_t>(n * rows)), alone = together;
  if (GetParam() < cpu::Isa::avx512 || code_kernels(GetParam()) == nullptr) GTEST_SKIP() << "no codes here";
  bf16_->project(w.matrix, nullptr, x.data(), n, together.data(), rows);
  for (int64_t i = 0; i < n; ++i) {
    bf16_->project(w.matrix, nullptr, x.data() + i * cols, 1, alone.data() + i * rows, rows);
  }
  EXPECT_EQ(together, alone);
}

TEST_P(CpuBackendTest, ExpertsTakeCodes) {
  const int64_t hidden = 192, width = 144, n = 9;
  std::vector<std::unique_ptr<PackedMatrix>> matrices;
  std::vector<Expert> experts;
  for (int e = 0; e < 3; ++e) {
    for (const auto& [rows, cols] : {std::pair(width, hidden), {width, hidden}, {hidden, width}}) {
      matrices.push_back(std::make_unique<PackedMatrix>(random_, rows, cols, WeightType::q4));
    }
    const size_t first = matrices.size() - 3;
    experts.push_back({matrices[first]->matrix, matrices[first + 1]->matrix, matrices[first + 2]->matrix});
  }
  const Floats x = random_.floats(n * hidden);
  const std::vector<int32_t> choice = {0, 2, 3, 2, 2, 1, 3, 2, 2};  // 3 = skip
  const Floats weight(static_cast<size_t>(n), 0.5f);
  Floats expected(static_cast<size_t>(n * hidden)), actual = expected;
  reference_.experts(experts, x.data(), n, 1, choice.data(), weight.data(), expected.data());
  // Two roundings: to 8 bits each some 45 dB down, to 15 some 87.
  for (const auto& [backend, noise] : {std::pair(int8_.get(), 2e-4), {bf16_.get(), 2e-8}}) {
    backend->experts(experts, x.data(), n, 1, choice.data(), weight.data(), actual.data());
    double error = 0, signal = 0;
    for (size_t i = 0; i < actual.size(); ++i) {
      error += std::pow(expected[i] - actual[i], 2);
      signal += std::pow(expected[i], 2);
    }
    EXPECT_LT(error, signal * noise);
    EXPECT_GT(signal, 0);
  }
}

// The coarse copy errs as much as its error lengths say, and the two-stage head's likeliest token is the full head's.
TEST_P(CpuBackendTest, HeadInTwoStages) {
  const int64_t rows = 1000, cols = 256, n = 20;
  const PackedMatrix w(random_, rows, cols, WeightType::q8);
  std::vector<std::byte> bytes(static_cast<size_t>(packed_bytes(WeightType::q4, rows, cols)));
  Floats error(static_cast<size_t>(rows));
  for (int64_t b = 0; b < blocks_of(rows); ++b) {
    float lengths[kBlockRows];
    coarsen_block(w.bytes.data() + b * block_bytes(WeightType::q8, cols), cols,
                  bytes.data() + b * block_bytes(WeightType::q4, cols), lengths);
    for (int64_t r = b * kBlockRows; r < std::min(rows, (b + 1) * kBlockRows); ++r) {
      error[static_cast<size_t>(r)] = lengths[r % kBlockRows] * w.scales[static_cast<size_t>(r)];
    }
  }
  const Floats bias = random_.floats(rows, 0.1f);
  Head head{.exact = w.matrix, .bias = bias.data(), .coarse = w.matrix, .coarse_error = error.data()};
  head.coarse.data = bytes.data();
  head.coarse.type = WeightType::q4;
  for (int64_t r = 0; r < rows; r += 37) {
    double squares = 0, length = 0;
    for (int64_t c = 0; c < cols; ++c) {
      squares += std::pow(head.exact.at(r, c) - head.coarse.at(r, c), 2);
      length += std::pow(head.exact.at(r, c), 2);
    }
    EXPECT_NEAR(std::sqrt(squares), error[static_cast<size_t>(r)], 1e-4);
    EXPECT_LT(squares, length * 0.02);  // a 4-bit copy: 17 dB at least
  }

  Head full = head;
  full.coarse = {};
  for (Backend* backend : {fast_.get(), int8_.get(), bf16_.get()}) {
    const Floats x = random_.floats(n * cols, 3);
    Floats expected(static_cast<size_t>(n * rows)), actual = expected;
    for (int64_t i = 0; i < n; ++i) {  // one at a time, as the second stage multiplies
      EXPECT_EQ(backend->head(full, x.data() + i * cols, 1, expected.data() + i * rows), rows);
    }
    const int64_t exact = backend->head(head, x.data(), n, actual.data());
    EXPECT_GE(exact, n);
    EXPECT_LT(exact, n * rows / 2);
    for (int64_t i = 0; i < n; ++i) {
      const float *e = expected.data() + i * rows, *a = actual.data() + i * rows;
      const auto best = std::max_element(e, e + rows) - e;
      EXPECT_EQ(best, std::max_element(a, a + rows) - a);
      EXPECT_EQ(e[best], a[best]);  // to the bit: the same product
      for (int64_t r = 0; r < rows; ++r) EXPECT_NEAR(e[r], a[r], 3.0 * 8 * error[static_cast<size_t>(r)]);
    }
  }
}

// Keys and values stored in each type, contexts over several pieces: attention as the reference has it on the same
// cache.
TEST_P(CpuBackendTest, AttendsToStoredKeysAndValues) {
  for (KvType type : {KvType::f32, KvType::bf16, KvType::i8}) {
    for (const auto& [dim, window] : {std::pair<int64_t, int64_t>(36, 0), {36, 600}, {48, 0}, {48, 601}}) {
      const CcaShape shape{.num_heads = 6, .num_kv_heads = 1, .head_dim = dim, .sliding_window = window};
      const int64_t start = 1300, count = 3, pages = (start + count + kPageTokens - 1) / kPageTokens;
      std::vector<Floats> memory;
      std::vector<float*> pointers;
      for (int64_t p = 0; p < pages; ++p) {
        memory.emplace_back(static_cast<size_t>(2 * kPageTokens * kv_slot_bytes(type, dim) / 4));
        pointers.push_back(memory.back().data());
      }
      ops::Run run{.count = count, .start = start, .cache = {pointers, 0, 1, dim, type}};
      for (int64_t position = 0; position < start + count; ++position) {
        const Floats key = random_.floats(dim), value = random_.floats(dim);
        store_kv(type, key.data(), dim, run.cache.key(0, position));
        store_kv(type, value.data(), dim, run.cache.value(0, position));
      }
      const Floats q = random_.floats(count * shape.q_width());
      Floats expected(q.size()), actual(q.size());
      reference_.attend(shape, std::span(&run, 1), q.data(), expected.data());
      fast_->attend(shape, std::span(&run, 1), q.data(), actual.data());
      expect_close(expected, actual, dim * dim * 16, kv_type_name(type));
    }
  }
}

// The same with activations that may be rounded, a token or a few at a time: on tiles, as in AttentionWithRounded-
// Activations (backend_test.cc), whatever lies behind the last position and before the window.
TEST_P(CpuBackendTest, FewTokensAttendToStoredKeysAndValues) {
  for (const auto& [dim, group] : {std::pair<int64_t, int64_t>(32, 1), {96, 4}, {128, 4}, {64, 16}, {64, 17}}) {
    for (int64_t window : {0, 1, 40, 601}) {
      for (int64_t start : {0, 5, 63, 64, 511, 1301}) {
        const CcaShape shape{.num_heads = 2 * group, .num_kv_heads = 2, .head_dim = dim, .sliding_window = window};
        const int64_t count = start == 5 ? 3 : 1, pages = (start + count + kPageTokens - 1) / kPageTokens;
        std::vector<std::vector<uint32_t>> memory;
        std::vector<float*> pointers;
        for (int64_t p = 0; p < pages; ++p) {
          memory.emplace_back(static_cast<size_t>(4 * kPageTokens * kv_slot_bytes(KvType::bf16, dim) / 4), ~0u);  // NaN
          pointers.push_back(reinterpret_cast<float*>(memory.back().data()));
        }
        ops::Run run{.count = count, .start = start, .cache = {pointers, 0, 2, dim, KvType::bf16}};
        const int64_t oldest = window > 0 ? std::max<int64_t>(0, start - window + 1) : 0;
        for (int64_t position = oldest; position < start + count; ++position) {
          for (int64_t head = 0; head < 2; ++head) {
            store_kv(KvType::bf16, random_.floats(dim).data(), dim, run.cache.key(head, position));
            store_kv(KvType::bf16, random_.floats(dim).data(), dim, run.cache.value(head, position));
          }
        }
        const Floats q = random_.floats(count * shape.q_width());
        Floats expected(q.size()), actual(q.size());
        reference_.attend(shape, std::span(&run, 1), q.data(), expected.data());
        bf16_->attend(shape, std::span(&run, 1), q.data(), actual.data());
        for (size_t i = 0; i < q.size(); ++i) {
          ASSERT_NEAR(expected[i], actual[i], 8 * 0x1p-8)
              << "dim " << dim << " group " << group << " window " << window << " start " << start << " at " << i;
        }
      }
    }
  }
}

TEST(StoredKv, RoundTrips) {
  Random random(3);
  const Floats values = random.floats(50, 2);
  for (const auto& [type, tolerance] : {std::pair(KvType::f32, 0.0), {KvType::bf16, 0x1p-8}, {KvType::i8, 0.0}}) {
    std::vector<std::byte> slot(static_cast<size_t>(kv_slot_bytes(type, 50)));
    Floats back(50);
    store_kv(type, values.data(), 50, slot.data());
    load_kv(type, slot.data(), 50, back.data());
    float greatest = 0;
    for (float v : values) greatest = std::max(greatest, std::fabs(v));
    const double step = type == KvType::i8 ? greatest / 127 / 2 * 1.0001 : 0;
    for (size_t i = 0; i < 50; ++i) EXPECT_NEAR(values[i], back[i], std::fabs(values[i]) * tolerance + step);
    EXPECT_EQ(kv_type_named(kv_type_name(type)).value(), type);
  }
  EXPECT_FALSE(kv_type_named("f16").ok());
}

}  // namespace
}  // namespace zaya::ops
