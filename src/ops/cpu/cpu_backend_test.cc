// What only the fast backend has: activations as codes, long contexts in pieces, stored K/V.
#include "ops/cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>

#include "ops/backend_test_support.h"
#include "ops/reference/reference.h"

namespace zaya::ops {
namespace {

class CpuBackendTest : public testing::TestWithParam<cpu::Isa> {
 protected:
  void SetUp() override {
    if (!cpu::is_supported(GetParam())) GTEST_SKIP() << "this machine has no " << cpu::isa_name(GetParam());
    fast_ = std::make_unique<CpuBackend>(3, GetParam());
    int8_ = std::make_unique<CpuBackend>(3, GetParam(), Activations::int8);
    bf16_ = std::make_unique<CpuBackend>(3, GetParam(), Activations::bf16);
  }
  ReferenceBackend reference_;
  std::unique_ptr<Backend> fast_, int8_, bf16_;
  Random random_{7};
};

INSTANTIATE_TEST_SUITE_P(Isa, CpuBackendTest, testing::ValuesIn(cpu::kIsas),
                         [](const auto& instance) { return cpu::isa_name(instance.param); });

// Rows from which on products are taken tile by tile, beside codes; more than any test has where they never are.
int64_t fewest_tile_rows(cpu::Isa isa) {
  const TileKernels* tiles = tile_kernels(isa);
  return tiles == nullptr ? INT64_MAX : tiles->fewest_rows_beside_codes;
}
int64_t fewest_int8_tile_rows(cpu::Isa isa) {
  const Int8TileKernels* tiles = int8_tile_kernels(isa);
  return tiles == nullptr ? INT64_MAX : tiles->fewest_rows;
}

// How activations become codes: the backend that does it, and their greatest code.
struct Codes {
  Backend* backend;
  int64_t greatest;
};

// The variance of what tiles of bytes change in row r of w times x, where they hold x exactly. All weights of a row and
// of kInt8Cols columns share the greatest scale there: each is off by half a step of it, evenly spread, and its group's
// scale by half a 255th of the greatest, times at most 127.
double int8_weight_variance(const Matrix& w, int64_t r, const float* x) {
  double variance = 0;
  for (int64_t first = 0; first < w.cols; first += kInt8Cols) {
    const int64_t end = std::min(w.cols, first + kInt8Cols);
    float step = 0;
    double squares = 0;
    for (int64_t c = first; c < end; ++c) {
      const std::byte* superblock =
          w.data + r / kBlockRows * block_bytes(w.type, w.cols) + c / kBlockCols * superblock_bytes(w.type);
      const int64_t group = c % kBlockCols / kGroupCols;
      step = std::max(step, decode_scale(static_cast<uint8_t>(superblock[group * kBlockRows + r % kBlockRows])));
      squares += static_cast<double>(x[c]) * x[c];
    }
    const double scaled = static_cast<double>(step) * w.row_scale[r];
    variance += squares * scaled * scaled * (1 + std::pow(127.0 / 255, 2)) / 12;
  }
  return variance;
}

// Activations that the codes hold exactly: multiples of a power of two, the largest code among each 64 of them. What is
// left is FP32's rounding, on tiles (many rows) that of weights to bytes, or of weights and activations to BF16.
TEST_P(CpuBackendTest, ProjectTakesCodesExactly) {
  for (const Codes& codes : {Codes{int8_.get(), 127}, Codes{bf16_.get(), 127 * 128}}) {
    for (WeightType type : {WeightType::q4, WeightType::q8}) {
      for (int64_t rows : {1, 16, 70, 300}) {
        for (int64_t cols : {1, 63, 64, 100, 530}) {
          const PackedMatrix w(random_, rows, cols, type);
          for (int64_t n : {1, 2, 3, 4, 7, 10, 15, 23, 31, 70}) {
            if (n > 31 && rows * cols != 70 * 530) continue;
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
            const bool eight = codes.greatest == 127;
            const bool tiles = n >= (eight ? fewest_int8_tile_rows(GetParam()) : fewest_tile_rows(GetParam()));
            for (size_t i = 0; i < actual.size(); ++i) {
              const auto at = static_cast<int64_t>(i);
              // Terms of deviation 1 / √cols each: the sum's rounding, or seven deviations of the weights' and the
              // activations' (2^-8 / √3 each).
              double tolerance = tiles ? 0x1p-6 * 1.7 : 1e-5;
              if (tiles && codes.greatest == 127) {
                const double variance = int8_weight_variance(w.matrix, at % rows, x.data() + at / rows * cols);
                tolerance = 1e-5 + 7 * std::sqrt(variance);
              }
              ASSERT_NEAR(expected[i], actual[i], tolerance) << rows << 'x' << cols << " n " << n;
            }
          }
        }
      }
    }
  }
}

// Any activations: each is off by at most half a step.
TEST_P(CpuBackendTest, CodesRoundToNearest) {
  const int64_t rows = 48, cols = 256;
  const int64_t n = std::min<int64_t>({5, fewest_tile_rows(GetParam()) - 1, fewest_int8_tile_rows(GetParam()) - 1});
  const PackedMatrix w(random_, rows, cols, WeightType::q8);
  const Floats x = random_.floats(n * cols);
  Floats expected(static_cast<size_t>(n * rows)), actual = expected;
  reference_.project(w.matrix, nullptr, x.data(), n, expected.data(), rows);
  for (const Codes& codes : {Codes{int8_.get(), 127}, Codes{bf16_.get(), 127 * 128}}) {
    codes.backend->project(w.matrix, nullptr, x.data(), n, actual.data(), rows);
    // Steps of about 2.7 / the greatest code, a deviation of a √12th of that; weights of length 1: seven deviations.
    const double step = 2.7 / static_cast<double>(codes.greatest);
    for (size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(expected[i], actual[i], 7 * step / 3.46);
  }
}

// The same on tiles of bytes, where kInt8Cols activations share a step: large ones spoil those of their own columns
// alone. All shapes of a product: more tokens than one expansion of weights serves, an odd number of blocks, ragged
// rows and columns.
TEST_P(CpuBackendTest, TilesOfBytesRoundToNearest) {
  if (int8_tile_kernels(GetParam()) == nullptr) GTEST_SKIP() << "no tiles here";
  for (WeightType type : {WeightType::q4, WeightType::q8, WeightType::b16}) {
    const bool bytes = type != WeightType::b16;  // which stays on tiles of BF16
    const int64_t rows = 41, cols = 600, n = 270;
    const PackedMatrix w(random_, rows, cols, type);
    Floats dense(static_cast<size_t>(rows * cols));
    for (int64_t i = 0; i < rows * cols; ++i) dense[static_cast<size_t>(i)] = w.matrix.at(i / cols, i % cols);
    const Matrix plain{reinterpret_cast<const std::byte*>(dense.data()), WeightType::f32, rows, cols};
    Floats x = random_.floats(n * cols), expected(static_cast<size_t>(n * rows)), actual = expected;
    for (float factor : {100.0f, 0.0f}) {  // of the chunk in the middle
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t c = kInt8Cols; c < 2 * kInt8Cols; ++c) x[static_cast<size_t>(i * cols + c)] *= factor;
      }
      reference_.project(plain, nullptr, x.data(), n, expected.data(), rows);
      int8_->project(w.matrix, nullptr, x.data(), n, actual.data(), rows);
      for (int64_t i = 0; i < n; ++i) {
        const float* input = x.data() + i * cols;
        for (int64_t r = 0; r < rows; ++r) {
          const float* weights = dense.data() + r * cols;
          double variance = bytes ? int8_weight_variance(w.matrix, r, input) : 0;
          for (int64_t c = 0; c < cols; c += kInt8Cols) {
            float greatest = 0;
            double squares = 0, terms = 0;
            for (int64_t j = c; j < std::min(cols, c + kInt8Cols); ++j) {
              greatest = std::max(greatest, std::fabs(input[j]));
              squares += std::pow(weights[j], 2);
              terms += std::pow(weights[j] * input[j], 2);
            }
            variance += bytes ? std::pow(greatest / 127, 2) / 12 * squares : terms * std::pow(0x1p-8, 2) / 3;
          }
          const size_t at = static_cast<size_t>(i * rows + r);
          ASSERT_NEAR(expected[at], actual[at], 7 * std::sqrt(variance) + 1e-4)
              << weight_type_name(type) << " at " << i << ' ' << r;
        }
      }
    }
  }
}

// Whatever vectors make them: the nearest multiples of the greatest magnitude's share, in the order that codes.h says.
TEST_P(CpuBackendTest, CodesAreTheSameForAll) {
  const CodeKernels* kernels = code_kernels(GetParam());
  if (kernels == nullptr) GTEST_SKIP() << "no codes here";
  const bool words = GetParam() == cpu::Isa::avx2;
  constexpr int64_t kEvenFirst[] = {0, 4, 1, 5, 2, 6, 3, 7}, kWordsQ4[] = {0, 4, 2, 6, 1, 5, 3, 7},
                    kWordsQ8[] = {0, 2, 1, 3, 4, 6, 5, 7}, kInOrder[] = {0, 1, 2, 3, 4, 5, 6, 7};  // of 8 columns
  for (int64_t cols : {1, 7, 64, 100, 131}) {
    const int64_t n = 3, stride = cols + 5, across = superblocks_of(cols);
    Floats x = random_.floats(n * stride);
    for (int64_t c = 0; c < std::min<int64_t>(cols, 64); ++c) x[static_cast<size_t>(stride + c)] = 0;
    for (WeightType type : {WeightType::q4, WeightType::q8}) {
      const bool q4 = type == WeightType::q4;
      const int64_t* order = words ? (q4 ? kWordsQ4 : kWordsQ8) : (q4 ? kEvenFirst : kInOrder);
      for (CodeBits bits : {CodeBits::eight, CodeBits::fifteen}) {
        const bool wide = bits == CodeBits::fifteen;
        std::vector<CodeColumns> columns(static_cast<size_t>(n * across));
        kernels->quantize(bits, type, x.data(), n, cols, stride, columns.data(), across);
        for (int64_t i = 0; i < n * across; ++i) {
          const CodeColumns& actual = columns[static_cast<size_t>(i)];
          const float* from = x.data() + i / across * stride + i % across * kBlockCols;
          const int64_t count = std::min(kBlockCols, cols - i % across * kBlockCols);
          float greatest = 0;
          for (int64_t c = 0; c < count; ++c) greatest = std::max(greatest, std::fabs(from[c]));
          const float scale = greatest / (wide ? 127.0f * 128 : 127.0f), inverse = scale > 0 ? 1 / scale : 0;
          ASSERT_EQ(scale, actual.scale);
          for (int64_t c = 0; c < kBlockCols; ++c) {
            const int expected = c < count ? static_cast<int>(std::nearbyint(from[c] * inverse)) : 0;
            const int64_t at = c / 8 * 8 + order[c % 8];
            int code = wide ? 128 * actual.high[at] + actual.low[at] : actual.high[at];
            if (words) {
              int16_t word = 0;
              std::memcpy(&word, reinterpret_cast<const std::byte*>(&actual) + at * 2, 2);
              code = word;
            }
            ASSERT_EQ(expected, code) << "column " << c << " of " << cols << ", " << (wide ? 15 : 8) << " bits";
          }
        }
      }
    }
  }
}

// A row's codes, and so its result's bits, do not depend on the rows beside it.
TEST_P(CpuBackendTest, CodesOfARowAreItsOwn) {
  const int64_t rows = 100, cols = 300, n = std::min<int64_t>(fewest_tile_rows(GetParam()) - 1, 15);
  const PackedMatrix w(random_, rows, cols, WeightType::q4);
  const Floats x = random_.floats(n * cols);
  Floats together(static_cast<size_t>(n * rows)), alone = together;
  if (code_kernels(GetParam()) == nullptr) GTEST_SKIP() << "no codes here";
  bf16_->project(w.matrix, nullptr, x.data(), n, together.data(), rows);
  for (int64_t i = 0; i < n; ++i) {
    bf16_->project(w.matrix, nullptr, x.data() + i * cols, 1, alone.data() + i * rows, rows);
  }
  EXPECT_EQ(together, alone);
}

// Few tokens for each expert, and many, whose gates' outputs become tiles in several pieces.
TEST_P(CpuBackendTest, ExpertsTakeCodes) {
  for (const auto& [width, n] : {std::pair<int64_t, int64_t>(144, 9), {600, 70}}) {
    const int64_t hidden = 192;
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
    std::vector<int32_t> choice = {0, 2, 3, 2, 2, 1, 3, 2, 2};  // 3 = skip
    while (static_cast<int64_t>(choice.size()) < n) choice.push_back(static_cast<int32_t>(random_.below(4)));
    const Floats weight(static_cast<size_t>(n), 0.5f);
    Floats expected(static_cast<size_t>(n * hidden)), actual = expected;
    reference_.experts(experts, x.data(), n, 1, choice.data(), weight.data(), expected.data());
    // Two roundings: to 8 bits each some 45 dB down, 40 on tiles, where weights are rounded too; to 15 bits some 87,
    // to BF16 51.
    int64_t most = 0;  // rows of an expert
    for (int32_t e = 0; e < 3; ++e) most = std::max<int64_t>(most, std::count(choice.begin(), choice.end(), e));
    const bool tiles = most >= fewest_tile_rows(GetParam()), bytes = most >= fewest_int8_tile_rows(GetParam());
    for (const auto& [backend, noise] :
         {std::pair(int8_.get(), bytes ? 6e-4 : 2e-4), {bf16_.get(), tiles ? 5e-5 : 2e-8}}) {
      backend->experts(experts, x.data(), n, 1, choice.data(), weight.data(), actual.data());
      double error = 0, signal = 0;
      for (size_t i = 0; i < actual.size(); ++i) {
        error += std::pow(expected[i] - actual[i], 2);
        signal += std::pow(expected[i], 2);
      }
      EXPECT_LT(error, signal * noise) << width << " n " << n;
      EXPECT_GT(signal, 0);
    }
  }
}

// Convolutions over blocks of tokens, runs and their histories cut by them, on tiles and not, keys and values in each
// type: as the reference has it. FP32 activations give each token the bits that it gets alone.
TEST_P(CpuBackendTest, ConvolvesRunsOfAnyLength) {
  struct Case {
    int64_t heads, kv_heads, dim, time0, time1, rotary;
    KvType kv;
  };
  for (const Case& c : {Case{4, 2, 32, 2, 2, 16, KvType::bf16}, Case{3, 3, 16, 3, 4, 16, KvType::f32},
                        Case{6, 2, 48, 4, 1, 48, KvType::i8}, Case{2, 1, 32, 1, 3, 0, KvType::bf16}}) {
    const CcaShape shape{.num_heads = c.heads,
                         .num_kv_heads = c.kv_heads,
                         .head_dim = c.dim,
                         .conv_time0 = c.time0,
                         .conv_time1 = c.time1,
                         .rotary_dims = c.rotary};
    const int64_t channels = shape.channels(), half_values = shape.kv_width() / 2, window = c.time1 * c.dim;
    const Floats depthwise = random_.floats(channels * c.time0), depthwise_bias = random_.floats(channels),
                 grouped_bias = random_.floats(channels), temperature = random_.floats(c.kv_heads, 3);
    const PackedMatrix grouped(random_, channels, window, WeightType::b16);
    const CcaWeights weights{depthwise.data(), depthwise_bias.data(), grouped.matrix, grouped_bias.data(),
                             temperature.data()};
    const int64_t counts[] = {1, 2, 97, 1, 130, 3};
    int64_t n = 0;
    for (int64_t count : counts) n += count;
    const Floats c0 = random_.floats(n * channels), current = random_.floats(n * half_values),
                 delayed = random_.floats(n * half_values);
    Floats cos, sin;
    for (float angle : random_.floats(n * c.rotary / 2, 2))
      cos.push_back(std::cos(angle)), sin.push_back(std::sin(angle));

    struct State {
      std::vector<Floats> pages, histories, delayed;
    };
    State start;
    const int64_t page_floats = 2 * c.kv_heads * kPageTokens * kv_slot_bytes(c.kv, c.dim) / 4;
    for (size_t r = 0; r < std::size(counts); ++r) {
      start.histories.push_back(random_.floats(shape.history() * channels));
      start.delayed.push_back(random_.floats(half_values));
      for (int page = 0; page < 3; ++page) start.pages.emplace_back(static_cast<size_t>(page_floats), 0.0f);
    }
    // All runs at once, or token by token.
    const auto compute = [&](Backend& backend, State& state, bool alone) {
      std::vector<float*> pages;
      for (Floats& page : state.pages) pages.push_back(page.data());
      Floats q(static_cast<size_t>(n * shape.q_width()));
      std::vector<ops::Run> runs;
      int64_t row = 0;
      for (size_t r = 0; r < std::size(counts); ++r) {
        runs.push_back({.first_row = row,
                        .count = counts[r],
                        .cache = {std::span(pages).subspan(3 * r, 3), 0, c.kv_heads, c.dim, c.kv},
                        .conv_history = state.histories[r].data(),
                        .delayed_value = state.delayed[r].data()});
        row += counts[r];
      }
      const auto call = [&](std::span<const ops::Run> some) {
        backend.cca(shape, weights, some, c0.data(), current.data(), delayed.data(), cos.data(), sin.data(), q.data());
      };
      if (!alone) {
        call(runs);
        return q;
      }
      for (const ops::Run& run : runs) {
        ops::Run one = run;
        for (one.count = 1; one.start < run.count; ++one.start, ++one.first_row) call({&one, 1});
      }
      return q;
    };
    State expected_state = start, actual_state = start, alone_state = start, tiles_state = start;
    const Floats expected = compute(reference_, expected_state, false), actual = compute(*fast_, actual_state, false);
    expect_close(expected, actual, window * 4, "q");
    EXPECT_EQ(expected_state.histories, actual_state.histories);
    EXPECT_EQ(expected_state.delayed, actual_state.delayed);
    EXPECT_EQ(actual, compute(*fast_, alone_state, true));
    EXPECT_EQ(actual_state.histories, alone_state.histories);
    EXPECT_EQ(actual_state.delayed, alone_state.delayed);
    for (size_t page = 0; page < start.pages.size(); ++page) {
      const size_t bytes = static_cast<size_t>(page_floats) * sizeof(float);
      EXPECT_EQ(0, std::memcmp(actual_state.pages[page].data(), alone_state.pages[page].data(), bytes));
    }
    // Keys and values, as what they are read as: rounded to their type on both sides.
    Floats expected_slots, actual_slots, values(static_cast<size_t>(c.dim));
    for (size_t page = 0; page < start.pages.size(); ++page) {
      for (int64_t slot = 0; slot < 2 * c.kv_heads * kPageTokens; ++slot) {
        const int64_t at = slot * kv_slot_bytes(c.kv, c.dim);
        for (auto& [state, slots] : {std::pair(&expected_state, &expected_slots), {&actual_state, &actual_slots}}) {
          load_kv(c.kv, reinterpret_cast<const std::byte*>(state->pages[page].data()) + at, c.dim, values.data());
          slots->insert(slots->end(), values.begin(), values.end());
        }
      }
    }
    // A last bit of FP32 may lead to the next number of the type: 2^-8 of a value, or a step, a 127th of the greatest.
    const float step = c.kv == KvType::f32 ? 1e-5f : c.kv == KvType::bf16 ? 0x1p-7f : 0.02f;
    double greatest = 0, all = 0;
    for (size_t i = 0; i < expected_slots.size(); ++i) {
      greatest = std::max<double>(greatest, std::fabs(expected_slots[i]));
      all += std::fabs(expected_slots[i] - actual_slots[i]);
      ASSERT_NEAR(expected_slots[i], actual_slots[i], step * std::max<double>(1, greatest)) << i;
    }
    EXPECT_LT(all / static_cast<double>(expected_slots.size()), 2e-5);  // and few of them do
    if (HasFailure()) return;

    // On tiles, inputs and weights are rounded to BF16: a head of length √dim is off by some 2^-8 in each number.
    const Floats rounded = compute(*bf16_, tiles_state, false);
    for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(expected[i], rounded[i], 12 * 0x1p-8) << i;
    EXPECT_EQ(expected_state.histories, tiles_state.histories);
  }
}

// Against the error function in FP64. What is off is FP32's rounding; 1.2e-7 too with std::erf in FP32.
TEST_P(CpuBackendTest, GeluHasTheErrorFunction) {
  Floats x;
  for (int i = -160000; i <= 160000; ++i) x.push_back(static_cast<float>(i) * 1e-4f);
  x.insert(x.end(), {0.0f, -0.0f, 1e-30f, -1e-30f, 8896.0f, -8896.0f, 1e18f, -1e18f});
  Floats y = x;
  kernels_for(GetParam()).gelu(y.data(), static_cast<int64_t>(y.size()));
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = 0.5 * x[i] * std::erfc(-static_cast<double>(x[i]) * std::sqrt(0.5));
    ASSERT_NEAR(y[i], exact, 1.5e-7 * std::max(1.0, std::fabs(exact))) << x[i];
  }
  for (int64_t n : {1, 7, 8, 15, 17, 33}) {  // the last, partial vector
    Floats some(x.begin() + 170000, x.begin() + 170000 + n);
    kernels_for(GetParam()).gelu(some.data(), n);
    EXPECT_TRUE(std::equal(some.begin(), some.end(), y.begin() + 170000)) << n;
  }
}

// The router's products take blocks of tokens: more than one of them, on tiles and not.
TEST_P(CpuBackendTest, RoutesManyTokens) {
  const int64_t hidden = 80, width = 48, classes = 6, n = 260;
  const PackedMatrix down(random_, width, hidden, WeightType::b16), fc1(random_, width, width, WeightType::b16),
      fc2(random_, width, width, WeightType::b16), out(random_, classes, width, WeightType::b16);
  const Floats bias = random_.floats(width), scale = random_.floats(width), norm = random_.floats(width, 3),
               balancing = random_.floats(classes, 0.1f);
  const RouterWeights weights{down.matrix, bias.data(), scale.data(), norm.data(),     1e-5, fc1.matrix, fc2.matrix,
                              bias.data(), bias.data(), out.matrix,   balancing.data()};
  const Floats x = random_.floats(n * hidden), state = random_.floats(n * width);
  struct Routed {
    Floats state, weight;
    std::vector<int32_t> choice;
  };
  const auto route = [&](Backend& backend, int64_t at_once) {
    Routed r{state, Floats(static_cast<size_t>(n)), std::vector<int32_t>(static_cast<size_t>(n))};
    for (int64_t i = 0; i < n; i += at_once) {
      backend.route(weights, x.data() + i * hidden, at_once, 1, r.state.data() + i * width, r.choice.data() + i,
                    r.weight.data() + i);
    }
    return r;
  };
  const Routed expected = route(reference_, n), actual = route(*fast_, n), alone = route(*fast_, 1),
               rounded = route(*bf16_, n);
  EXPECT_EQ(expected.choice, actual.choice);
  expect_close(expected.state, actual.state, hidden, "router state");
  expect_close(expected.weight, actual.weight, width * 16, "router weight");
  EXPECT_EQ(actual.choice, alone.choice);
  EXPECT_EQ(actual.state, alone.state);
  EXPECT_EQ(actual.weight, alone.weight);
  int64_t same = 0;
  for (size_t i = 0; i < expected.choice.size(); ++i) {
    if (expected.choice[i] != rounded.choice[i]) continue;
    ++same;
    EXPECT_NEAR(expected.weight[i], rounded.weight[i], 0.05);
  }
  EXPECT_GE(same, n * 9 / 10);
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

// A token's bits are its own: alone (as in decoding), and together with any number of neighbours. What they alone may
// see (windows begin, positions end at different places) must not matter, whatever it is.
TEST_P(CpuBackendTest, ATokenAttendsByItselfAmongOthers) {
  for (KvType type : {KvType::f32, KvType::bf16, KvType::i8}) {
    for (const auto& [dim, group] : {std::pair<int64_t, int64_t>(128, 4), {48, 3}, {36, 5}, {272, 4}}) {
      for (int64_t window : {0, 2, 70}) {
        const CcaShape shape{.num_heads = 2 * group, .num_kv_heads = 2, .head_dim = dim, .sliding_window = window};
        const int64_t start = 506, count = 11, pages = (start + count + kPageTokens - 1) / kPageTokens;
        std::vector<std::vector<uint32_t>> memory;
        std::vector<float*> pointers;
        for (int64_t p = 0; p < pages; ++p) {
          memory.emplace_back(static_cast<size_t>(4 * kPageTokens * kv_slot_bytes(type, dim) / 4), ~0u);  // NaN
          pointers.push_back(reinterpret_cast<float*>(memory.back().data()));
        }
        ops::Run run{.count = count, .start = start, .cache = {pointers, 0, 2, dim, type}};
        const Floats q = random_.floats(count * shape.q_width());
        Floats together(q.size()), alone(q.size());
        const auto fill = [&, width = dim](int64_t position) {  // clang 14 captures no structured binding
          for (int64_t head = 0; head < 2; ++head) {
            store_kv(type, random_.floats(width).data(), width, run.cache.key(head, position));
            store_kv(type, random_.floats(width).data(), width, run.cache.value(head, position));
          }
        };
        for (int64_t position = window > 0 ? start - window + 1 : 0; position < start; ++position) fill(position);
        for (int64_t t = 0; t < count; ++t) {
          fill(start + t);
          ops::Run one = run;
          one.first_row = t;
          one.start = start + t;
          one.count = 1;
          fast_->attend(shape, std::span(&one, 1), q.data(), alone.data());
        }
        fast_->attend(shape, std::span(&run, 1), q.data(), together.data());
        EXPECT_TRUE(alone == together) << kv_type_name(type) << " dim " << dim << " window " << window;
      }
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
