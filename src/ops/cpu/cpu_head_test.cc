// The head in two stages: its 3-bit copy, the products with it on every instruction set, and what becomes of both.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "cpu/pages.h"
#include "ops/backend_test_support.h"
#include "ops/cpu/coarse_kernels.h"
#include "ops/cpu/cpu_backend.h"
#include "ops/packed/coarse.h"
#include "ops/packed/codec.h"

namespace zaya::ops {
namespace {

// A head of type q8 with its 3-bit copy.
struct TwoStageHead {
  TwoStageHead(Random& random, int64_t rows, int64_t cols)
      : exact(random, rows, cols, WeightType::q8),
        bytes(static_cast<size_t>(coarse_bytes(rows, cols))),
        column_scale(static_cast<size_t>(cols)),
        row_scale(static_cast<size_t>(rows)),
        error(static_cast<size_t>(rows)),
        bias(random.floats(rows, 0.1f)) {
    coarse_columns(exact.matrix, column_scale.data());
    for (int64_t b = 0; b < blocks_of(rows); ++b) {
      coarsen_block(exact.matrix, b * kBlockRows, column_scale.data(), bytes.data() + b * coarse_block_bytes(cols),
                    row_scale.data() + b * kBlockRows, error.data() + b * kBlockRows);
    }
    head = {.exact = exact.matrix,
            .bias = bias.data(),
            .coarse = {bytes.data(), column_scale.data(), row_scale.data(), error.data()}};
  }

  // The copy's weight without its column's scale.
  double coarse(int64_t r, int64_t c) const {
    const std::byte* block = bytes.data() + r / kBlockRows * coarse_block_bytes(head.exact.cols);
    return table3(coarse_code(block, r % kBlockRows, c)) * static_cast<double>(row_scale[static_cast<size_t>(r)]);
  }

  PackedMatrix exact;
  std::vector<std::byte> bytes;
  Floats column_scale, row_scale, error, bias;
  Head head;
};

// The copy of normal weights errs as much as its error lengths say, and no more than 3 bits must.
TEST(CoarseHead, ErrsAsItsErrorsSay) {
  Random random(11);
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>(40, 256), {3, 17}, {16, 100}}) {
    const TwoStageHead w(random, rows, cols);
    double errors = 0, lengths = 0;
    for (int64_t r = 0; r < rows; ++r) {
      double squares = 0;
      for (int64_t c = 0; c < cols; ++c) {
        const double exact = w.head.exact.at(r, c) / w.column_scale[static_cast<size_t>(c)], copy = w.coarse(r, c);
        squares += std::pow(exact - copy, 2) + std::pow(kCoarseNoise * copy, 2);
        errors += std::pow(exact - copy, 2), lengths += std::pow(exact, 2);
      }
      const double error = w.error[static_cast<size_t>(r)];
      EXPECT_NEAR(std::sqrt(squares), error, 1e-4 * error) << rows << " x " << cols << " row " << r;
    }
    EXPECT_GT(10 * std::log10(lengths / errors), 14) << "14.6 dB is the best for normal weights (Max, 1960)";
  }
}

TEST(CoarseHead, GreatColumnsCostTheOthersNothing) {
  Random random(12);
  const int64_t rows = 64, cols = 128;
  Floats weights = random.floats(rows * cols);
  for (int64_t r = 0; r < rows; ++r) weights[static_cast<size_t>(r * cols + 5)] *= 100;
  PackedMatrix w(random, rows, cols, WeightType::q8);
  for (int64_t b = 0; b < blocks_of(rows); ++b) {
    pack_block(WeightType::q8, weights.data() + b * kBlockRows * cols, kBlockRows, cols, nullptr,
               w.bytes.data() + b * block_bytes(WeightType::q8, cols), w.scales.data() + b * kBlockRows);
  }
  Floats column_scale(static_cast<size_t>(cols)), row_scale(kBlockRows), error(kBlockRows);
  coarse_columns(w.matrix, column_scale.data());
  std::vector<std::byte> bytes(static_cast<size_t>(coarse_block_bytes(cols)));
  coarsen_block(w.matrix, 0, column_scale.data(), bytes.data(), row_scale.data(), error.data());
  for (const float e : error) EXPECT_LT(e, 0.25f * std::sqrt(static_cast<float>(cols)));
}

class CpuHead : public testing::TestWithParam<cpu::Isa> {
 protected:
  void SetUp() override {
    if (!cpu::is_supported(GetParam())) GTEST_SKIP() << "this machine has no " << cpu::isa_name(GetParam());
  }
  Random random_{7};
};

INSTANTIATE_TEST_SUITE_P(Isa, CpuHead, testing::ValuesIn(cpu::kIsas),
                         [](const auto& instance) { return cpu::isa_name(instance.param); });

// Every kernel's first stage against sums of the codes one by one, for any number of tokens.
TEST_P(CpuHead, CoarseLogitsAreExactSums) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>(150, 192), {16, 64}, {5, 20}, {300, 320}}) {
    const TwoStageHead w(random_, rows, cols);
    const int64_t supers = superblocks_of(cols);
    for (int64_t n = 1; n <= 70; n += n < 18 ? 1 : 13) {
      const CoarseKernels& kernels = coarse_kernels(GetParam(), n);
      const int64_t tokens = std::min(n, kernels.tokens), stride = kernels.rows_of(tokens);
      // The greatest codes too: nothing may saturate.
      cpu::Buffer<int8_t> codes;
      int8_t* code = codes.get(supers * stride * kBlockCols);
      Floats scale = random_.floats(tokens);
      std::vector<int32_t> sum(static_cast<size_t>(tokens));
      for (int64_t i = 0; i < supers * stride * kBlockCols; ++i) {
        code[i] = static_cast<int8_t>(i % 3 == 0 ? 127 : std::lrint(random_.floats(1, 127)[0]) % 128);
      }
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t c = 0; c < supers * kBlockCols; ++c) {
          int8_t& at = code[(c / kBlockCols * stride + t) * kBlockCols + c % kBlockCols];
          if (c >= cols) at = 0;
          sum[static_cast<size_t>(t)] += at;
        }
      }
      Floats out(static_cast<size_t>(tokens * rows), -1);
      kernels.logits({.blocks = w.bytes.data(),
                      .rows = rows,
                      .cols = cols,
                      .row_scale = w.row_scale.data(),
                      .bias = w.bias.data(),
                      .x = {code, scale.data(), sum.data()},
                      .out = out.data(),
                      .out_stride = rows},
                     tokens);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t r = 0; r < rows; ++r) {
          const std::byte* block = w.bytes.data() + r / kBlockRows * coarse_block_bytes(cols);
          int64_t expected = 0;
          for (int64_t c = 0; c < cols; ++c) {
            expected += table3(coarse_code(block, r % kBlockRows, c)) *
                        code[(c / kBlockCols * stride + t) * kBlockCols + c % kBlockCols];
          }
          const float product =
              static_cast<float>(expected) * scale[static_cast<size_t>(t)] * w.row_scale[static_cast<size_t>(r)];
          ASSERT_NEAR(out[static_cast<size_t>(t * rows + r)], product + w.bias[static_cast<size_t>(r)],
                      1e-6f * (std::fabs(product) + 1))
              << kernels.name << ", " << rows << " x " << cols << ", token " << t << " of " << tokens << ", row " << r;
        }
      }
    }
  }
}

// The two-stage head's likeliest token is the full head's, and the others are off by no more than the margins say.
TEST_P(CpuHead, TwoStagesAgreeOnTheLikeliest) {
  const int64_t rows = 9000, cols = 64, most = 70;
  const TwoStageHead w(random_, rows, cols);
  Head full = w.head;
  full.coarse = {};
  for (const Activations activations : {Activations::f32, Activations::bf16, Activations::int8}) {
    CpuBackend backend(3, GetParam(), activations);
    for (const int64_t n : {int64_t{1}, most}) {
      EXPECT_EQ(backend.kernel_for_head(w.head, n), coarse_kernels(GetParam(), n).name);
      EXPECT_EQ(backend.kernel_for_head(full, n), backend.kernel_for(full.exact, n));
    }
    const Floats x = random_.floats(most * cols, 60);  // beside such logits and margins, kLikelyReach is nothing
    Floats expected(static_cast<size_t>(most * rows)), actual = expected;
    for (int64_t i = 0; i < most; ++i) {  // one at a time, as the second stage multiplies
      EXPECT_EQ(backend.head(full, x.data() + i * cols, 1, expected.data() + i * rows), rows);
    }
    for (const int64_t n : {int64_t{1}, int64_t{3}, int64_t{17}, most}) {
      const int64_t exact = backend.head(w.head, x.data(), n, actual.data());
      EXPECT_GE(exact, n * 4 * kBlockRows);
      EXPECT_LT(exact, n * rows * 2 / 3);
      for (int64_t i = 0; i < n; ++i) {
        const float *e = expected.data() + i * rows, *a = actual.data() + i * rows;
        const auto best = std::max_element(e, e + rows) - e;
        EXPECT_EQ(best, std::max_element(a, a + rows) - a);
        EXPECT_EQ(e[best], a[best]);  // to the bit: the same product
        double squares = 0;
        for (int64_t c = 0; c < cols; ++c) {
          squares += std::pow(x[static_cast<size_t>(i * cols + c)] * w.column_scale[static_cast<size_t>(c)], 2);
        }
        const double margin = kHeadMargin * std::sqrt(squares / static_cast<double>(cols));
        for (int64_t r = 0; r < rows; ++r) {
          // The full head's activations may be of 8 bits too.
          ASSERT_NEAR(e[r], a[r], 1.05 * margin * w.error[static_cast<size_t>(r)] + 0.01) << r;
        }
      }
    }
  }
}

// Of a small vocabulary, all that is likely is exact; of a large one with flat logits, some.
TEST_P(CpuHead, LikelyTokensAreExact) {
  CpuBackend backend(2, GetParam(), Activations::bf16);
  const int64_t cols = 64;
  for (const int64_t rows : {700, 20000}) {
    const TwoStageHead w(random_, rows, cols);
    Head full = w.head;
    full.coarse = {};
    for (const float size : {1.0f, 4.0f}) {
      const Floats x = random_.floats(cols, size);
      Floats expected(static_cast<size_t>(rows)), actual = expected;
      backend.head(full, x.data(), 1, expected.data());
      const int64_t exact = backend.head(w.head, x.data(), 1, actual.data());
      const float greatest = *std::max_element(expected.begin(), expected.end());
      int64_t likely = 0;
      for (int64_t r = 0; r < rows; ++r) {
        if (actual[static_cast<size_t>(r)] < greatest - 5.5f) continue;  // a bound's middle is not quite the logit
        ++likely;
        if (rows > 1000) continue;
        EXPECT_EQ(actual[static_cast<size_t>(r)], expected[static_cast<size_t>(r)]) << r;
      }
      EXPECT_GT(likely, 0);
      if (rows > 1000) {
        EXPECT_LT(exact, rows / 4) << likely << " are likely";
      }
    }
  }
}

// A logit of NaN is one in both stages, and its token does not disturb the others.
TEST_P(CpuHead, NanIsNan) {
  const int64_t rows = 600, cols = 128;
  const TwoStageHead w(random_, rows, cols);
  CpuBackend backend(2, GetParam());  // codes have no NaN
  Floats x = random_.floats(2 * cols), alone(static_cast<size_t>(rows)), both(static_cast<size_t>(2 * rows));
  backend.head(w.head, x.data() + cols, 1, alone.data());
  x[7] = std::nanf("");
  backend.head(w.head, x.data(), 2, both.data());
  for (int64_t r = 0; r < rows; ++r) {
    EXPECT_FALSE(std::isfinite(both[static_cast<size_t>(r)])) << r;
    EXPECT_EQ(both[static_cast<size_t>(rows + r)], alone[static_cast<size_t>(r)]) << r;
  }
}

}  // namespace
}  // namespace zaya::ops
