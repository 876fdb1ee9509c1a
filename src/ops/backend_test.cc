// Every operation of every backend, on every instruction set this machine runs, against the reference.
#include "ops/backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cpu/isa.h"
#include "ops/backend_test_support.h"
#include "ops/cpu/cpu_backend.h"
#include "ops/reference/reference.h"

namespace zaya::ops {
namespace {

constexpr WeightType kPackedTypes[] = {WeightType::q4, WeightType::q8, WeightType::b16};
constexpr WeightType kTypes[] = {WeightType::f32, WeightType::bf16, WeightType::f16, WeightType::f8_e4m3};

class BackendTest : public testing::TestWithParam<cpu::Isa> {
 protected:
  void SetUp() override {
    if (!cpu::is_supported(GetParam())) GTEST_SKIP() << "this machine has no " << cpu::isa_name(GetParam());
    fast_ = std::make_unique<CpuBackend>(3, GetParam());
    rounding_ = std::make_unique<CpuBackend>(3, GetParam(), Activations::bf16);
  }
  ReferenceBackend reference_;
  std::unique_ptr<Backend> fast_, rounding_;  // FP32 and BF16 activations
  Random random_{42};
};

INSTANTIATE_TEST_SUITE_P(Isa, BackendTest, testing::ValuesIn(cpu::kIsas),
                         [](const auto& instance) { return cpu::isa_name(instance.param); });

TEST_P(BackendTest, ProjectEveryTypeAndRaggedSizes) {
  for (WeightType type : kTypes) {
    for (int64_t rows : {1, 3, 8, 17, 130}) {
      for (int64_t cols : {1, 7, 16, 33, 257}) {
        for (int64_t n : {1, 2, 5, 9, 37}) {
          StoredMatrix w(random_, rows, cols, type);
          const Floats x = random_.floats(n * cols), bias = random_.floats(rows);
          for (const float* b : {static_cast<const float*>(nullptr), bias.data()}) {
            const int64_t stride = rows + 3;
            Floats expected(static_cast<size_t>(n * stride), 7.0f), actual = expected;
            reference_.project(w.matrix, b, x.data(), n, expected.data(), stride);
            fast_->project(w.matrix, b, x.data(), n, actual.data(), stride);
            expect_close(expected, actual, cols, "project");
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

// With activations that BF16 holds exactly, the tile kernels differ only by their weights' rounding to BF16, and those
// for activations as codes by that of the activations to 15 bits.
TEST_P(BackendTest, ProjectPackedTypesAndRaggedSizes) {
  for (WeightType type : kPackedTypes) {
    for (int64_t rows : {1, 16, 17, 70, 300}) {
      for (int64_t cols : {1, 16, 63, 64, 100, 530}) {
        const PackedMatrix w(random_, rows, cols, type);
        Floats dense(static_cast<size_t>(rows * cols));
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < cols; ++c) dense[static_cast<size_t>(r * cols + c)] = w.matrix.at(r, c);
        }
        const Matrix plain{reinterpret_cast<const std::byte*>(dense.data()), WeightType::f32, rows, cols};
        for (int64_t n : {1, 2, 3, 5, 8, 13, 31, 47, 530}) {
          if (n > 40 && rows * cols > 7000) continue;
          Floats x = random_.floats(n * cols);
          for (float& v : x) v = std::bit_cast<float>(std::bit_cast<uint32_t>(v) & 0xffff0000u);
          const Floats bias = random_.floats(rows);
          const int64_t stride = rows + 3;
          Floats expected(static_cast<size_t>(n * stride), 7.0f), actual = expected;
          reference_.project(n == 1 ? w.matrix : plain, bias.data(), x.data(), n, expected.data(), stride);
          rounding_->project(w.matrix, bias.data(), x.data(), n, actual.data(), stride);
          const bool tiles = tile_kernels(GetParam()) != nullptr &&
                             n >= tile_kernels(GetParam())->fewest_rows_beside_codes && type != WeightType::b16;
          const bool codes = code_kernels(GetParam()) != nullptr && type != WeightType::b16;
          for (int64_t i = 0; i < n; ++i) {
            for (int64_t r = 0; r < stride; ++r) {
              const size_t at = static_cast<size_t>(i * stride + r);
              double squares = 0, weights = 0, greatest = 0;
              for (int64_t c = 0; r < rows && c < cols; ++c) {
                const double weight = dense[static_cast<size_t>(r * cols + c)];
                const double input = x[static_cast<size_t>(i * cols + c)];
                squares += weight * input * weight * input;
                weights += weight * weight;
                greatest = std::max(greatest, std::fabs(input));
              }
              // A weight's rounding to BF16 is off by at most 2^-8 of it, evenly spread: a deviation of 2^-8 / √3 of
              // the terms' root sum of squares; seven of them. FP32's own is 2^-24 of each of cols partial sums.
              // A code's is half a step, evenly spread: a deviation of a step / √12 times the weights' length.
              double tolerance = (tiles ? 0x1p-6 : 0x1p-21 * std::sqrt(static_cast<double>(cols))) * std::sqrt(squares);
              if (codes) tolerance += 7 * greatest / (127 * 128) / std::sqrt(12.0) * std::sqrt(weights);
              ASSERT_NEAR(expected[at], actual[at], tolerance + 4e-7 * std::fabs(expected[at]))
                  << weight_type_name(type) << ' ' << rows << 'x' << cols << " n " << n << " at " << i << ' ' << r;
            }
          }
        }
      }
    }
  }
}

// The bits of a token's row must not depend on the rows beside it.
TEST_P(BackendTest, ProjectGivesTheSameBitsForAnyBatch) {
  for (WeightType type : kTypes) {
    StoredMatrix w(random_, 70, 95, type);
    const int64_t n = 23;
    const Floats x = random_.floats(n * 95);
    Floats together(static_cast<size_t>(n * 70));
    fast_->project(w.matrix, nullptr, x.data(), n, together.data(), 70);
    for (int64_t i = 0; i < n; ++i) {
      Floats alone(70);
      fast_->project(w.matrix, nullptr, x.data() + i * 95, 1, alone.data(), 70);
      ASSERT_EQ(0, std::memcmp(alone.data(), together.data() + i * 70, 70 * sizeof(float))) << i;
    }
  }
}

TEST_P(BackendTest, EmbedNormAndMerge) {
  const int64_t width = 131, n = 5;
  for (WeightType type : kTypes) {
    StoredMatrix table(random_, 20, width, type);
    const std::vector<int32_t> tokens = {0, 19, 3, 3, 7};
    const Floats scale = random_.floats(width), bias = random_.floats(width);
    Floats expected(static_cast<size_t>(n * width)), actual(expected.size());
    reference_.embed(table.matrix, tokens, scale.data(), bias.data(), expected.data());
    fast_->embed(table.matrix, tokens, scale.data(), bias.data(), actual.data());
    expect_close(expected, actual, 1, "embed");
  }
  const Floats x = random_.floats(n * width, 30), weight = random_.floats(width);
  Floats expected(x.size()), actual(x.size());
  reference_.rms_norm(x.data(), n, width, weight.data(), 1e-5, expected.data());
  fast_->rms_norm(x.data(), n, width, weight.data(), 1e-5, actual.data());
  expect_close(expected, actual, width, "rms_norm");

  const Floats a = random_.floats(width), b = random_.floats(width), c = random_.floats(width),
               d = random_.floats(width);
  const ResidualScales scales{a.data(), b.data(), c.data(), d.data()};
  expected = actual = random_.floats(n * width);
  reference_.merge(scales, x.data(), n, width, expected.data());
  fast_->merge(scales, x.data(), n, width, actual.data());
  expect_close(expected, actual, 4, "merge");
}

// One pass gives the bits of the two, whatever the width; and a row's bits are its own.
TEST_P(BackendTest, MergeWithTheNormThatFollows) {
  for (int64_t width : {1, 15, 16, 63, 64, 131, 2048}) {
    const int64_t n = 70;
    const Floats branch = random_.floats(n * width), stream = random_.floats(n * width, 30);
    const Floats a = random_.floats(width), b = random_.floats(width), c = random_.floats(width),
                 d = random_.floats(width), weight = random_.floats(width);
    const ResidualScales scales{a.data(), b.data(), c.data(), d.data()};
    Floats expected = stream, expected_norm(stream.size()), residual = stream, norm(stream.size());
    reference_.merge_norm(scales, branch.data(), n, width, expected.data(), weight.data(), 1e-5, expected_norm.data());
    fast_->merge_norm(scales, branch.data(), n, width, residual.data(), weight.data(), 1e-5, norm.data());
    expect_close(expected, residual, 4, "merged");
    expect_close(expected_norm, norm, width + 8, "normed");

    Floats two = stream, two_norm(stream.size());
    fast_->merge(scales, branch.data(), n, width, two.data());
    fast_->rms_norm(two.data(), n, width, weight.data(), 1e-5, two_norm.data());
    EXPECT_EQ(two, residual) << width;
    EXPECT_EQ(two_norm, norm) << width;
    Floats alone(stream.begin() + width, stream.begin() + 2 * width), alone_norm(alone.size());
    fast_->merge_norm(scales, branch.data() + width, 1, width, alone.data(), weight.data(), 1e-5, alone_norm.data());
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), residual.begin() + width)) << width;
    EXPECT_TRUE(std::equal(alone_norm.begin(), alone_norm.end(), norm.begin() + width)) << width;
  }
}

// Two sequences with histories of different lengths go through cca and attend; caches, states and outputs must agree.
TEST_P(BackendTest, CompressedConvolutionalAttention) {
  struct Case {
    int64_t heads, kv_heads, dim, time0, time1, rotary, window;
  };
  for (const Case& c : {Case{8, 2, 128, 2, 2, 64, 0}, Case{3, 1, 12, 3, 1, 6, 5}, Case{4, 4, 20, 1, 4, 20, 1},
                        Case{6, 3, 8, 1, 1, 0, 70}, Case{2, 1, 36, 4, 3, 2, 0}, Case{4, 2, 32, 2, 2, 16, 0}}) {
    CcaShape shape{.num_heads = c.heads,
                   .num_kv_heads = c.kv_heads,
                   .head_dim = c.dim,
                   .conv_time0 = c.time0,
                   .conv_time1 = c.time1,
                   .rotary_dims = c.rotary,
                   .sliding_window = c.window};
    const int64_t channels = shape.channels(), half_values = shape.kv_width() / 2;
    const Floats depthwise = random_.floats(channels * c.time0), depthwise_bias = random_.floats(channels);
    const Floats grouped = random_.floats(channels * c.time1 * c.dim, 1.0f / std::sqrt(static_cast<float>(c.dim)));
    const Floats grouped_bias = random_.floats(channels), temperature = random_.floats(c.kv_heads, 3);
    const Matrix convolution{reinterpret_cast<const std::byte*>(grouped.data()), WeightType::f32, channels,
                             c.time1 * c.dim};
    const CcaWeights weights{depthwise.data(), depthwise_bias.data(), convolution, grouped_bias.data(),
                             temperature.data()};

    const int64_t starts[] = {0, 150}, counts[] = {67, 9}, n = 76;
    const Floats c0 = random_.floats(n * channels), current = random_.floats(n * half_values),
                 delayed = random_.floats(n * half_values);
    const Floats angles = random_.floats(n * c.rotary / 2, 2);
    Floats cos, sin;
    for (float angle : angles) cos.push_back(std::cos(angle)), sin.push_back(std::sin(angle));

    struct State {
      std::vector<Floats> pages;
      std::vector<float*> page_pointers;
      Floats history, delayed_value;
    };
    State start[2];
    for (int s = 0; s < 2; ++s) {
      for (int64_t p = 0; p < 4; ++p) start[s].pages.push_back(random_.floats(2 * kPageTokens * shape.kv_width()));
      start[s].history = random_.floats(shape.history() * channels);
      start[s].delayed_value = random_.floats(half_values);
    }
    const auto run = [&](Backend& backend, State(&states)[2], Floats& q, Floats& attended) {
      std::vector<ops::Run> runs;  // qualified: a test has a Run() of its own
      int64_t row = 0;
      for (int s = 0; s < 2; ++s) {
        states[s].page_pointers.clear();
        for (Floats& page : states[s].pages) states[s].page_pointers.push_back(page.data());
        runs.push_back({.first_row = row,
                        .count = counts[s],
                        .start = starts[s],
                        .cache = {states[s].page_pointers, 0, c.kv_heads, c.dim},
                        .conv_history = states[s].history.data(),
                        .delayed_value = states[s].delayed_value.data()});
        row += counts[s];
      }
      q.resize(static_cast<size_t>(n * shape.q_width()));
      attended.resize(q.size());
      backend.cca(shape, weights, runs, c0.data(), current.data(), delayed.data(), cos.data(), sin.data(), q.data());
      backend.attend(shape, runs, q.data(), attended.data());
    };
    State expected_state[2] = {start[0], start[1]}, actual_state[2] = {start[0], start[1]};
    Floats expected_q, expected_out, actual_q, actual_out;
    run(reference_, expected_state, expected_q, expected_out);
    run(*fast_, actual_state, actual_q, actual_out);
    expect_close(expected_q, actual_q, c.dim * c.time1 * 4, "q");
    // Scores reach dim · temperature in size, and the softmax turns their absolute error into a relative one.
    expect_close(expected_out, actual_out, c.dim * c.dim * 16, "attended");
    for (int s = 0; s < 2; ++s) {
      for (size_t p = 0; p < 4; ++p) {
        expect_close(expected_state[s].pages[p], actual_state[s].pages[p], c.dim * c.time1 * 16, "cache");
      }
      EXPECT_EQ(expected_state[s].history, actual_state[s].history);
      EXPECT_EQ(expected_state[s].delayed_value, actual_state[s].delayed_value);
    }
    if (HasFatalFailure()) return;
  }
}

// Attention with BF16 activations. Queries, keys and values of deviation 1 give scores of deviation 1, each off by some
// 2^-8 · √(2/3), and weights off by 2^-8 / √3 more: an output, a weighted mean of values, is off by a few times 2^-8.
TEST_P(BackendTest, AttentionWithRoundedActivations) {
  for (int64_t dim : {32, 128}) {
    for (int64_t window : {0, 1, 40, 200}) {
      for (int64_t start : {0, 1, 127, 300}) {
        for (int64_t count : {8, 16, 61}) {
          const CcaShape shape{.num_heads = 6, .num_kv_heads = 2, .head_dim = dim, .sliding_window = window};
          std::vector<Floats> pages;
          std::vector<float*> pointers;
          for (int64_t p = 0; p * kPageTokens < start + count; ++p) {
            pages.push_back(random_.floats(2 * kPageTokens * shape.kv_width()));
          }
          // What lies behind the last position must not matter, whatever it is.
          const int64_t filled = (start + count - 1) % kPageTokens + 1;
          for (int64_t plane = 0; plane < 4; ++plane) {
            const auto from = pages.back().begin() + (plane * kPageTokens + filled) * dim;
            std::fill(from, from + (kPageTokens - filled) * dim, std::nanf(""));
          }
          for (Floats& page : pages) pointers.push_back(page.data());
          const ops::Run run{.first_row = 0, .count = count, .start = start, .cache = {pointers, 0, 2, dim}};
          const Floats q = random_.floats(count * shape.q_width());
          Floats expected(q.size()), actual(q.size());
          reference_.attend(shape, {&run, 1}, q.data(), expected.data());
          rounding_->attend(shape, {&run, 1}, q.data(), actual.data());
          for (size_t i = 0; i < q.size(); ++i) {
            ASSERT_NEAR(expected[i], actual[i], 8 * 0x1p-8)
                << "dim " << dim << " window " << window << " start " << start << " count " << count << " at " << i;
          }
        }
      }
    }
  }
}

TEST_P(BackendTest, RouteAndExperts) {
  for (int64_t top_k : {1, 2}) {
    const int64_t hidden = 52, width = 37, router_width = 19, count = 5, n = 41;
    StoredMatrix down(random_, router_width, hidden, WeightType::bf16),
        fc1(random_, router_width, router_width, WeightType::f32),
        fc2(random_, router_width, router_width, WeightType::f32),
        out(random_, count + 1, router_width, WeightType::f32);
    const Floats down_bias = random_.floats(router_width), scale = random_.floats(router_width),
                 norm = random_.floats(router_width, 3), bias1 = random_.floats(router_width),
                 bias2 = random_.floats(router_width);
    Floats balancing = random_.floats(count + 1, 0.1f);
    balancing.back() += 0.6f;  // let the skip class win now and then
    for (const float* state_scale : {static_cast<const float*>(nullptr), scale.data()}) {
      const RouterWeights weights{down.matrix,  down_bias.data(), state_scale,     norm.data(),
                                  1e-5,         fc1.matrix,       fc2.matrix,      bias1.data(),
                                  bias2.data(), out.matrix,       balancing.data()};
      const Floats x = random_.floats(n * hidden), state = random_.floats(n * router_width);
      Floats expected_state = state, actual_state = state;
      Floats expected_weight(static_cast<size_t>(n * top_k)), actual_weight(expected_weight.size());
      std::vector<int32_t> expected_choice(expected_weight.size()), actual_choice(expected_weight.size());
      reference_.route(weights, x.data(), n, top_k, expected_state.data(), expected_choice.data(),
                       expected_weight.data());
      fast_->route(weights, x.data(), n, top_k, actual_state.data(), actual_choice.data(), actual_weight.data());
      EXPECT_EQ(expected_choice, actual_choice);
      expect_close(expected_state, actual_state, hidden, "router state");
      expect_close(expected_weight, actual_weight, router_width * 16, "router weight");
      EXPECT_NE(std::count(expected_choice.begin(), expected_choice.end(), count), 0) << "no token took the skip class";

      for (WeightType type : kTypes) {
        std::vector<StoredMatrix> stored;
        std::vector<Expert> experts;
        stored.reserve(static_cast<size_t>(3 * count));
        for (int64_t e = 0; e < count; ++e) {
          stored.emplace_back(random_, width, hidden, type);
          stored.emplace_back(random_, width, hidden, type);
          stored.emplace_back(random_, hidden, width, type);
          experts.push_back({stored[stored.size() - 3].matrix, stored[stored.size() - 2].matrix, stored.back().matrix});
        }
        Floats expected(x.size()), actual(x.size());
        reference_.experts(experts, x.data(), n, top_k, expected_choice.data(), expected_weight.data(),
                           expected.data());
        fast_->experts(experts, x.data(), n, top_k, expected_choice.data(), expected_weight.data(), actual.data());
        expect_close(expected, actual, hidden * 4, "experts");
      }
    }
  }
}

// Large activations, as the released model has them (expert inputs up to 8,896), must pass silu without overflow.
TEST_P(BackendTest, ExpertsTakeLargeActivations) {
  const float identity[] = {1, 0, 0, 1};
  const Matrix unit{reinterpret_cast<const std::byte*>(identity), WeightType::f32, 2, 2, nullptr};
  const std::vector<Expert> experts = {{unit, unit, unit}};
  const Floats x = {8896.0f, -8896.0f}, weight = {1.0f};
  const std::vector<int32_t> choice = {0};
  Floats out(2);
  fast_->experts(experts, x.data(), 1, 1, choice.data(), weight.data(), out.data());
  EXPECT_FLOAT_EQ(out[0], 8896.0f * 8896.0f);
  EXPECT_NEAR(out[1], 0.0f, 1e-20f);
}

TEST(MakeBackend, KnowsItsNames) {
  EXPECT_TRUE(make_backend("cpu", {.threads = 2}).ok());
  EXPECT_EQ((*make_backend("cpu", {.threads = 2}))->threads(), 2);
  EXPECT_TRUE(make_backend("reference").ok());
  EXPECT_EQ(make_backend("abacus").status().code(), Code::not_found);
  EXPECT_EQ(make_backend("cpu", {.threads = -1}).status().code(), Code::invalid_argument);
}

// The bits of small formats against their definitions.
TEST(LoadWeight, SmallFloats) {
  const uint16_t halves[] = {0x0000, 0x0001, 0x3c00, 0xc000, 0x7bff};
  const float expected_halves[] = {0, 0x1p-24f, 1, -2, 65504};
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(load_weight(WeightType::f16, reinterpret_cast<const std::byte*>(halves), i), expected_halves[i]);
  const uint8_t bytes[] = {0x00, 0x01, 0x38, 0xc0, 0x7e};
  const float expected_bytes[] = {0, 0x1p-9f, 1, -2, 448};
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(load_weight(WeightType::f8_e4m3, reinterpret_cast<const std::byte*>(bytes), i), expected_bytes[i]);
}

}  // namespace
}  // namespace zaya::ops
